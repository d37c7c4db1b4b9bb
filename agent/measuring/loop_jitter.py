"""Measures how evenly the loop keeps its rate, idle and with every core busy, and compares it with another loop."""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol, Self

import numpy as np

from agent.contract.errors import MeasurementError
from agent.contract.observation import Frame, Observation
from agent.contract.spec import ModelSpec
from agent.controllers.memory import MemoryController
from agent.driving.loop import drive
from agent.engines.base import Prediction
from agent.policies.network import NetworkPolicy
from agent.settings.pace import PaceSettings
from agent.system.child import start_child
from agent.system.pacing import Pacer, clock_ns
from agent.system.priority import raise_priority

OURS = "hoodcam"
CONDITIONS = ("idle", "loaded")

_LOOPS = "hoodcam.loops"  # entry points of packages with loops to compare with
_SETTLING_S = 1.0  # the beginning of a turn that is left out
_BUSY = "while True: pass"
_TIMEOUT_S = 60.0


class Loop(Protocol):
    """A control loop, ours or another package's."""

    def __call__(self, period_s: float, ticks: int, think: Callable[[], None]) -> list[int]:
        """Run the loop; return when each tick captured its picture, on ``agent.system.pacing.clock_ns``.

        Args:
            period_s: Control period.
            ticks: Number of ticks.
            think: Called in every tick in place of the network.
        """


@dataclass(frozen=True, slots=True)
class Pace:
    """How evenly a loop kept its rate under one condition; all turns together.

    Attributes:
        loop: Name of the loop.
        condition: ``idle``, or ``loaded`` with one busy process on each core.
        ticks: Intervals measured.
        period_mean_s: Mean interval.
        period_sd_s: Its standard deviation.
        error_p99_s: 99th percentile of the distance from the nominal period.
        error_max_s: The largest distance.
        missed_share: Share of slots that passed without a tick; an interval of more than one and a half periods counts
            for all slots that it covers.
    """

    loop: str
    condition: str
    ticks: int
    period_mean_s: float
    period_sd_s: float
    error_p99_s: float
    error_max_s: float
    missed_share: float


def summarise(loop: str, condition: str, period_s: float, intervals_s: Sequence[float]) -> Pace:
    """Return the statistics of some intervals."""
    intervals = np.array(intervals_s)
    errors = np.abs(intervals - period_s)
    missed = int(np.maximum(0, np.rint(intervals / period_s) - 1).sum())
    return Pace(
        loop,
        condition,
        intervals.size,
        float(intervals.mean()),
        float(intervals.std()),
        float(np.percentile(errors, 99)),
        float(errors.max()),
        missed / (intervals.size + missed),
    )


def run_turns(
    loops: Sequence[str],
    rate_hz: float,
    seconds: float,
    rounds: int,
    think_s: float,
    high_priority: bool,
    advance: Callable[[], None] = lambda: None,
) -> Iterator[Pace]:
    """Let loops take turns, idle and loaded; yield the statistics of each loop and condition.

    Args:
        loops: Their names; see :func:`loop_names`.
        rate_hz: Control rate.
        seconds: Length of a turn.
        rounds: Turns of each loop in each condition.
        think_s: Processor time of every tick, in place of the network.
        high_priority: Whether our loop runs at high priority; the others have no such option.
        advance: Called after every turn.

    Raises:
        MeasurementError: If a loop cannot be imported, or its process ends.
    """
    intervals: dict[tuple[str, str], list[float]] = {}
    ticks = round((seconds + _SETTLING_S) * rate_hz)
    for _, condition, name in itertools.product(range(rounds), CONDITIONS, loops):
        with _busy_cores(condition == "loaded"):
            looked_ns = _run_apart(name, 1.0 / rate_hz, ticks, think_s, high_priority and name == OURS)
        settled = looked_ns[round(_SETTLING_S * rate_hz) :]
        found = intervals.setdefault((name, condition), [])
        found.extend((after - before) / 1e9 for before, after in itertools.pairwise(settled))
        advance()
    for (name, condition), found in sorted(intervals.items(), key=lambda item: CONDITIONS.index(item[0][1])):
        yield summarise(name, condition, 1.0 / rate_hz, found)


def loop_names() -> tuple[str, ...]:
    """Return the names of the loops that can run here, ours first."""
    return (OURS, *(entry.name for entry in entry_points(group=_LOOPS)))


def hoodcam(period_s: float, ticks: int, think: Callable[[], None]) -> list[int]:
    """Run our own loop, which is the loop of every drive."""
    source = _Eyes()
    pacer = Pacer(period_s)
    drive(source, MemoryController(), NetworkPolicy(_Thinking(think)), pacer, until=lambda: pacer.stats.ticks >= ticks)
    return source.looked_ns


@contextmanager
def _busy_cores(wanted: bool) -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range((os.cpu_count() or 1) if wanted else 0):
            busy = stack.enter_context(subprocess.Popen([sys.executable, "-S", "-c", _BUSY]))
            stack.callback(busy.kill)
        yield


def _run_apart(name: str, period_s: float, ticks: int, think_s: float, high_priority: bool) -> list[int]:
    """Run a loop in a new process, in which nothing else was loaded."""
    child = start_child(_run, (name, period_s, ticks, think_s, high_priority), name)
    try:
        if not child.link.poll(ticks * period_s * 4 + _TIMEOUT_S):
            raise MeasurementError(f"the loop {name} does not end, expected {ticks} ticks of {period_s:g} s.")
        answer = child.link.recv()
    except EOFError:
        answer = "its process ended"
    finally:
        child.end()
    if isinstance(answer, str):
        raise MeasurementError(f"the loop {name} cannot be run ({answer}), expected {ticks} ticks. Leave it out.")
    looked_ns: list[int] = answer
    return looked_ns


def _run(link: Any, name: str, period_s: float, ticks: int, think_s: float, high_priority: bool) -> None:
    if high_priority:
        raise_priority()

    def think() -> None:
        ends_s = time.thread_time() + think_s
        while time.thread_time() < ends_s:
            pass

    try:
        loop: Loop = hoodcam if name == OURS else next(e for e in entry_points(group=_LOOPS) if e.name == name).load()
        link.send(loop(period_s, ticks, think))
    except Exception as exc:
        link.send(f"{type(exc).__name__}: {exc}")


class _Eyes:
    """Delivers empty frames, and notes when each was asked for."""

    def __init__(self) -> None:
        self.looked_ns: list[int] = []
        self._pixels = np.zeros((27, 48, 4), np.uint8)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def read(self) -> Frame:
        self.looked_ns.append(clock_ns())
        return Frame(self._pixels, self.looked_ns[-1], len(self.looked_ns))


class _Thinking:
    """A stand-in for a network that only uses processor time."""

    name = "thinking"
    spec = ModelSpec("thinking", "none", "none", width_px=48, height_px=27)

    def __init__(self, think: Callable[[], None]) -> None:
        self._think = think

    def infer(self, observation: Observation) -> Prediction:
        self._think()
        return np.zeros(3, np.float32)

    def close(self) -> None:
        pass


def measure_pace(settings: PaceSettings, progress: Callable[[int], None] = lambda turns: None) -> list[Pace]:
    """Measure the loop's rate, as ``python -m agent pace`` does.

    Args:
        settings: The control rate, the duration, and the loops to compare with.
        progress: Called after every turn with the number of all turns.

    Raises:
        MeasurementError: If there is no other loop to compare with, or a loop's process ends.
    """
    loops = loop_names() if settings.with_others else (OURS,)
    if settings.with_others and len(loops) == 1:
        raise MeasurementError(
            "there is no other loop to compare with, expected the training package beside the agent."
        )
    turns = settings.rounds * len(loops) * len(CONDITIONS)
    think_s = settings.think_ms / 1e3
    return list(
        run_turns(
            loops,
            settings.rate,
            settings.seconds,
            settings.rounds,
            think_s,
            settings.high_priority,
            lambda: progress(turns),
        )
    )
