"""Another network takes over while the car drives.

::

    any thread                    a thread of its own              the loop's thread
    load(make)  ------------->    make(), checked, warmed up
                                  waits until due    ------------>  swapped in before the next decision, or at swap()
    swap(), back()  ----------------------------------------------> before the next decision

Each decision comes from one network, never from half of each. The loop takes no lock between swaps. The previous
network stays loaded: :meth:`HotSwapPolicy.back` brings it back.

Loading still costs the drive something: it takes processor time, and parts of it hold Python's global lock. Compiling,
the longest part, does not hold it. Reading the graph and the weights does. While twenty processes competed for two
cores, it held the drive up for as much as 0.9 s at a time (full network, OpenVINO); without it, the worst was 0.05 s.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np

from agent.contract.controls import Controls
from agent.contract.errors import AgentError, EngineError
from agent.contract.observation import Frame
from agent.contract.spec import ModelSpec
from agent.policies.base import Decision, Policy, Section, untimed

_log = logging.getLogger(__name__)

When = Literal["ready", "reset", "asked"]
"""When a loaded network takes over. ``ready``: at once. ``reset``: when the next episode begins. ``asked``: when
:meth:`HotSwapPolicy.swap` is called. ``swap`` also works on a network that waits for the next episode."""

WARM_UP_DECISIONS = 3
"""Decisions of a new policy before it drives: the first compiles, the second allocates, the third has full speed."""


class HotSwapPolicy:
    """Drives with a policy that can be replaced while it drives.

    A new policy is made and checked in a separate thread. Opening a model folder verifies its checksums and, for int8,
    the network's answer to a known picture. Then the new policy must decide a few times on the newest picture of the
    drive: with finite results, the same outputs, and within ``limit_s``. Only then is it ready. If it cannot be made,
    or fails a check, it is closed, a warning is logged, and the old policy keeps driving.

    ``load``, ``swap`` and ``back`` may be called from any thread; only the loop calls ``decide`` and ``reset``.

    Args:
        policy: Drives first. It is closed with this one, as are all later policies.
        check: A further check of a loaded policy, such as how it drives on a validation track; raises ``AgentError`` to
            refuse it.
        limit_s: The longest a warm decision of a new policy may take; None accepts any.

    Attributes:
        swaps: How often another policy took over, going back included.
        problem: Why the policy loaded last does not drive; None if nothing is wrong with it.
    """

    def __init__(
        self, policy: Policy, check: Callable[[Policy], None] = lambda policy: None, limit_s: float | None = None
    ) -> None:
        self.swaps = 0
        self.problem: str | None = None
        self._check = check
        self._limit_s = limit_s
        self._current = policy
        self._previous: Policy | None = None
        self._ready: tuple[Policy, When] | None = None
        self._due: Policy | None = None  # takes over before the next decision
        self._frame: Frame | None = None  # the newest picture of the drive
        self._wanted: tuple[Callable[[], Policy], When] | None = None
        self._closed = False
        self._changed = threading.Condition()  # held for a few assignments at a time, never while a policy is made
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """The name of the policy that is driving now."""
        return self._current.name

    @property
    def driver(self) -> str:
        """What the policy that is driving now calls itself in recordings; see :attr:`Policy.driver`."""
        return self._current.driver

    @property
    def spec(self) -> ModelSpec:
        """The description of the policy that is driving now."""
        return self._current.spec

    @property
    def folder(self) -> Path | None:
        """The model folder of the policy that drives; None where the policy does not say it."""
        return getattr(self._current, "folder", None)

    @property
    def is_loading(self) -> bool:
        """Whether a policy is being made or checked."""
        return self._thread is not None

    @property
    def is_ready(self) -> bool:
        """Whether a policy is ready and waits to take over."""
        return self._ready is not None or self._due is not None

    def load(self, make: Callable[[], Policy], when: When = "ready") -> None:
        """Make and check another policy, and have it take over; returns at once.

        If a policy is being loaded, this one comes next. It replaces any other policy that waits to be loaded.

        Args:
            make: Makes the policy, in a separate thread; raises ``AgentError`` or ``ImportError`` if it cannot.
            when: When the policy takes over.

        Raises:
            ValueError: If this policy is closed.
        """
        with self._changed:
            if self._closed:
                raise ValueError("the policy is closed, expected an open one. Make a new one.")
            self._wanted = make, when
            if self._thread is None:
                self._thread = threading.Thread(target=self._load_all, name="new weights", daemon=True)
                self._thread.start()

    def swap(self) -> bool:
        """Have the ready policy take over before the next decision; return whether there is one."""
        with self._changed:
            if self._ready is None:
                return self._due is not None
            self._due, self._ready = self._ready[0], None
            return True

    def back(self) -> bool:
        """Have the previous policy take over again before the next decision; return whether there is one."""
        with self._changed:
            if self._previous is None:
                return False
            due, self._due = self._due, self._previous
            unused = self._unused(due)
        if unused is not None:
            unused.close()
        return True

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing is being loaded; return False if that takes longer than the timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None, timeout_s)

    def reset(self) -> None:
        """Begin an episode, with the policy that waits for it if there is one."""
        with self._changed:
            if self._ready is not None and self._ready[1] == "reset":
                self._due, self._ready = self._ready[0], None
        if self._due is None:
            self._current.reset()
        else:
            self._take_over()

    def decide(self, frame: Frame, section: Section) -> Decision:
        if self._due is not None:
            self._take_over()
        self._frame = frame
        return self._current.decide(frame, section)

    def close(self) -> None:
        """Wait until nothing is being loaded, then close all policies."""
        with self._changed:
            self._closed = True
            self._wanted = None
        self.wait()
        with self._changed:
            ready = None if self._ready is None else self._ready[0]
            policies = {id(policy): policy for policy in (self._current, self._previous, self._due, ready) if policy}
            self._previous = self._due = self._ready = None
        for policy in policies.values():
            policy.close()

    def _take_over(self) -> None:
        """Let the waiting policy drive; called in the loop's thread, between two decisions."""
        with self._changed:
            new, self._due = self._due, None
            if new is None:
                return
            oldest = None if new is self._previous else self._previous
            self._previous, self._current = self._current, new
            self.swaps += 1
        new.reset()
        _log.warning("%s (%s) drives now; %s is kept", new.spec.name, new.name, self._previous.spec.name)
        if oldest is not None:  # freeing a network's memory takes milliseconds
            threading.Thread(target=oldest.close, name="old weights", daemon=True).start()

    def _load_all(self) -> None:
        while True:
            with self._changed:
                if self._wanted is None:
                    self._thread = None
                    self._changed.notify_all()
                    return
                (make, when), self._wanted = self._wanted, None
            started_s = time.monotonic()
            policy = self._load(make)
            if policy is not None:
                took_s = time.monotonic() - started_s
                loaded = f"{policy.spec.name} is loaded and checked ({took_s:.1f} s)"
                _log.warning("%s; it takes over %s", loaded, _THEN[when])
                self._offer(policy, when)

    def _load(self, make: Callable[[], Policy]) -> Policy | None:
        """Make and check a policy; return None, and say why, if it must not drive."""
        policy: Policy | None = None
        try:
            policy = make()
            self._examine(policy)
            self._check(policy)
        except (Exception, SystemExit) as exc:  # whatever the error, the car drives on with the policy that it has
            said = str(exc) if isinstance(exc, AgentError) else f"{type(exc).__name__}: {exc}"
            self.problem = said
            _log.warning("the new weights do not drive, the old ones go on: %s", said)
            _log.debug("why not", exc_info=exc)
            if policy is not None:
                with suppress(Exception):  # it is refused whether or not it can be closed
                    policy.close()
            return None
        self.problem = None
        return policy

    def _examine(self, policy: Policy) -> None:
        """Have a policy decide until it is warm, on the newest picture of the drive.

        Raises:
            EngineError: If its outputs differ from those of the driving policy, or it is too slow.
            ControlsError: If its prediction is not finite.
        """
        spec, driving = policy.spec, self._current.spec
        if spec.outputs != driving.outputs:
            raise EngineError(
                f"{spec.name} predicts {', '.join(spec.output_names)}, expected {', '.join(driving.output_names)} as "
                f"{driving.name} does. Start a separate drive with it."
            )
        noise = np.random.default_rng(0).integers(0, 256, (spec.height_px, spec.width_px, 3), np.uint8)
        frame = self._frame or Frame(noise, 0)
        decided_s = 0.0
        for _ in range(WARM_UP_DECISIONS):
            started_s = time.perf_counter()
            prediction, _ = policy.decide(frame, untimed)
            decided_s = time.perf_counter() - started_s
            Controls.from_prediction(prediction, spec.output_names)
        if self._limit_s is not None and decided_s > self._limit_s:
            raise EngineError(
                f"{spec.name} takes {decided_s * 1e3:.0f} ms for a decision, expected at most "
                f"{self._limit_s * 1e3:.0f} ms. Drive slower with it, or use another --engine."
            )

    def _offer(self, policy: Policy, when: When) -> None:
        with self._changed:
            replaced = [] if self._ready is None else [self._ready[0]]
            if when == "ready":
                replaced += [] if self._due is None else [self._due]
                self._due, self._ready = policy, None
            else:
                self._ready = policy, when
            unused = [each for each in map(self._unused, replaced) if each is not None]
        for each in unused:
            each.close()

    def _unused(self, policy: Policy | None) -> Policy | None:
        """Return the policy if it may be closed: it neither drives nor drove before. Call with the lock held."""
        return None if policy is self._current or policy is self._previous else policy


_THEN: dict[When, str] = {"ready": "now", "reset": "with the next episode", "asked": "when asked"}
