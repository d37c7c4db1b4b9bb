"""Sampling a person's controls between two pictures."""

import threading
from bisect import bisect_right
from collections import deque
from typing import Self

import numpy as np

from agent.contract.controls import NEUTRAL, Controls
from agent.inputs.base import InputDevice
from agent.system.pacing import clock_ns

SAMPLES_PER_S = 250
"""Time between two readings of the device: a frame is never paired with controls more than 4 ms away from it."""

KEYS_AVERAGED_S = 0.15
"""Over how long a person's keys are averaged. A key is all or nothing, so a person who wants a little taps it. The time
begins with the picture, so it holds the person's answer to the picture. Several pulses of :class:`KeyMap`'s 35 ms fit
into it."""

_REMEMBERED_S = 2.0


class ControlTrack:
    """A person's controls over the last two seconds; returns the controls of any moment in that time."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, Controls]] = deque(maxlen=round(_REMEMBERED_S * SAMPLES_PER_S))
        self._lock = threading.Lock()
        self.unheard: str | None = None
        """Why the device cannot be read now; None if it can."""

    def add(self, stamp_ns: int, controls: Controls) -> None:
        """Add a sample; its stamp must not be older than the last one."""
        with self._lock:
            self._samples.append((stamp_ns, controls))

    def at(self, stamp_ns: int) -> Controls:
        """Return the controls of a moment: interpolated between two samples, else the nearest sample."""
        with self._lock:
            samples = list(self._samples)
        return _at(samples, stamp_ns)

    def mean(self, from_ns: int, seconds: float) -> Controls:
        """Return the mean of the samples from a moment on, over ``seconds``; without samples, the moment's controls."""
        with self._lock:
            samples = list(self._samples)
        until_ns = from_ns + round(seconds * 1e9)
        those = [controls.values for stamp_ns, controls in samples if from_ns <= stamp_ns < until_ns]
        return Controls(*map(float, np.mean(those, axis=0))) if those else _at(samples, from_ns)


def _at(samples: list[tuple[int, Controls]], stamp_ns: int) -> Controls:
    after = bisect_right(samples, stamp_ns, key=lambda sample: sample[0])
    if not samples:
        return NEUTRAL
    if after == 0 or after == len(samples):
        return samples[min(after, len(samples) - 1)][1]
    (first_ns, first), (second_ns, second) = samples[after - 1 : after + 1]
    share = (stamp_ns - first_ns) / (second_ns - first_ns)

    pairs = zip(first.values, second.values, strict=True)
    return Controls(*(before + share * (afterwards - before) for before, afterwards in pairs))


class Sampler:
    """Reads a person's device at a steady rate in a separate thread; a context manager.

    Args:
        person: The device; only this thread opens and reads it, because SDL must be used from one thread.
        track: Receives the samples.
    """

    def __init__(self, person: InputDevice, track: ControlTrack) -> None:
        self._person = person
        self._track = track
        self._stopping = threading.Event()
        self._opened = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="input sampler", daemon=True)

    def __enter__(self) -> Self:
        """Start reading.

        Raises:
            ControllerError: If the device cannot be opened.
        """
        self._thread.start()
        self._opened.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopping.set()
        self._thread.join()

    def check(self) -> None:
        """Raise the thread's error, if it had one."""
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        try:
            with self._person as person:
                self._track.unheard = person.unheard()
                self._opened.set()
                while not self._stopping.wait(1 / SAMPLES_PER_S):
                    controls = person.read()
                    self._track.unheard = person.unheard()  # first: then the sample means nothing
                    self._track.add(clock_ns(), controls)
        except Exception as exc:
            self._failure = exc
        finally:
            self._opened.set()
