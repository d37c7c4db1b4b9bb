"""Injects faults into a real drive, and measures how long the gamepad stays away from neutral.

::

    this process                     the driving process                      the guard's process
    harms, watches       ------->    loop.drive(ScreenSource, engine)  --->   a pad that tells what it shows
         <--------------------- what the pad shows, and when; that it is unplugged -------------------'

The loop, the screen source and the guard are those of every drive. Three things are made here, so that this runs
anywhere: the window, whose picture always changes; the network, which presses full throttle and turns the wheel; and
the gamepad's far end.
"""

import itertools
import math
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any, Self

import psutil

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import ControllerError
from agent.measuring.faults.catalogue import (
    BUSY_PER_CORE,
    IN_THE_LOOP,
    NUMBERS,
    OVERLOADS,
    PERSONS,
    RATE_HZ,
    Fault,
    Outcome,
)
from agent.measuring.faults.victim import Harm, drive_on
from agent.system.pacing import clock_ns

_READY_TIMEOUT_S = 120.0
_RECOVERY_TIMEOUT_S = 5.0
_LINES = 12  # the end of what a drive wrote: a traceback's last lines, or a few of the drive's own


def inject(faults: Sequence[Fault], times: int) -> Iterator[Outcome]:
    """Inject each fault several times, in turns, and yield the results.

    A drive that survives a fault gets the next one, too; otherwise a new drive is started.

    Args:
        faults: Some of :data:`FAULTS`.
        times: How often to inject each.

    Raises:
        AgentError: If a drive does not start.
    """
    with ExitStack() as stack:
        victim: _Drive | None = None
        for fault in itertools.chain.from_iterable(itertools.repeat(faults, times)):
            if victim is not None and victim.as_user != fault.as_user:
                stack.close()
                victim = None
            if victim is None:
                victim = stack.enter_context(_Drive(fault.as_user))
            outcome = victim.harm(fault)
            yield outcome if outcome.kept else replace(outcome, said=victim.said())
            if not outcome.drove_on:
                stack.close()
                victim = None


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a pad shows from a moment on; without controls, it was unplugged."""

    at_ns: int
    controls: Controls | None

    @property
    def neutral(self) -> bool:
        return self.controls is None or self.controls == NEUTRAL


class _PadLog:
    """Notes what the gamepads of the drives show."""

    def __init__(self) -> None:
        self.shown: list[_Shown] = []
        self.guard_pid = 0
        self._listener = Listener()  # a socket in the file system, or a pipe on Windows: nothing on the network
        self.address = self._listener.address
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._follow(self._listener.accept())

    def _follow(self, pad: "Connection[Any, Any]") -> None:
        try:
            self.guard_pid = pad.recv()
            while True:
                at_ns, *values = pad.recv()
                self.shown.append(_Shown(at_ns, Controls(*values)))
        except (EOFError, OSError):
            self.shown.append(_Shown(clock_ns(), None))


class _Drive:
    """A drive for faults to be injected into; a context manager.

    Args:
        as_user: Whether it gives up the right to real time first.
    """

    def __init__(self, as_user: bool = False) -> None:
        self.as_user = as_user
        self._harm = Harm()
        self._log = _PadLog()
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._said = Path(self._folder.name) / "said"
        context = multiprocessing.get_context("spawn")
        # Not a daemon: a daemon could not start a guard. It ends by itself when this process ends.
        arguments = self._log.address, self._harm, as_user, self._said
        self._process = context.Process(target=drive_on, args=arguments, name="harmed drive")

    def __enter__(self) -> Self:
        self._said.touch()
        self._process.start()
        if not self._wait(self._is_driving, _READY_TIMEOUT_S):
            said = " ".join(self.said().split())
            self.__exit__(None, None, None)
            raise ControllerError(
                f"the drive to be harmed did not get going within {_READY_TIMEOUT_S:.0f} s, expected a second or two. "
                f"Close other programs and start again.{f' It said: {said}' if said else ''}"
            )
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._process.close()
        self._log.close()
        self._folder.cleanup()

    def said(self) -> str:
        """Return the last lines that the drive wrote."""
        return "\n".join(self._said.read_text(errors="replace").splitlines()[-_LINES:])

    def harm(self, fault: Fault) -> Outcome:
        """Inject a fault at a random moment of a period, and watch the pad; end the fault if it is one that passes."""
        time.sleep(random.random() / RATE_HZ)
        with _from_outside(fault, self._process.pid or 0, self._log.guard_pid):
            began_ns = clock_ns()
            self._harm.began_ns.value = 0
            self._harm.number.value = NUMBERS[fault.name]
            if fault.name in IN_THE_LOOP:
                if not self._wait(lambda: self._harm.began_ns.value != 0, _RECOVERY_TIMEOUT_S):
                    return Outcome(fault.name, math.inf, None)
                began_ns = self._harm.began_ns.value
            ends_ns = began_ns + round(fault.lasts_s * 1e9)
            time.sleep(max(0.0, (ends_ns - clock_ns()) / 1e9))
            self._harm.number.value = 0
            ended_ns = min(ends_ns, clock_ns())
        noticed_ns = began_ns + round(fault.noticed_s * 1e9)
        if fault.name in OVERLOADS:
            away_s = _longest_hold_s(self._log.shown, began_ns, ended_ns)
        elif fault.name == "pad-asleep":
            away_s = _away_s(self._log.shown, noticed_ns, ended_ns, lambda state: state.controls != PERSONS)
        else:
            away_s = _away_s(self._log.shown, noticed_ns, ended_ns)
        return Outcome(fault.name, away_s, self._wait(self._is_driving, _RECOVERY_TIMEOUT_S) if fault.passes else None)

    def _is_driving(self) -> bool:
        newest = self._log.shown[-1:]
        return bool(newest) and not newest[0].neutral and self._process.is_alive()

    def _wait(self, happened: Callable[[], bool], timeout_s: float) -> bool:
        give_up_s = time.monotonic() + timeout_s
        while not happened():
            if time.monotonic() > give_up_s or not self._process.is_alive():
                return happened()
            time.sleep(0.002)
        return True


def _away_s(
    shown: Sequence[_Shown],
    from_ns: int,
    to_ns: int,
    harmless: Callable[[_Shown], bool] = lambda state: state.neutral,
) -> float:
    """Return how long after ``from_ns`` the pad was last away from neutral; only times before ``to_ns`` count."""
    states = [state for state in shown if state.at_ns <= to_ns]
    if not states or not harmless(states[-1]):
        return math.inf
    became_neutral_ns = states[-1].at_ns
    for before, after in itertools.pairwise(reversed(states)):
        if not harmless(after):
            became_neutral_ns = before.at_ns
            break
    return max(0.0, (became_neutral_ns - from_ns) / 1e9)


def _longest_hold_s(shown: Sequence[_Shown], from_ns: int, to_ns: int) -> float:
    """Return the longest time that controls away from neutral were held without new ones."""
    holds = [0.0]
    for before, after in itertools.pairwise(shown):
        if not before.neutral and after.at_ns >= from_ns and before.at_ns <= to_ns:
            holds.append((after.at_ns - max(before.at_ns, from_ns)) / 1e9)
    return max(holds)


@contextmanager
def _from_outside(fault: Fault, pid: int, guard_pid: int) -> Iterator[None]:
    """Do to a process what the fault does from outside; undo it at the end."""
    with ExitStack() as stack:
        if fault.name == "stopped":
            process = psutil.Process(pid)
            process.suspend()
            stack.callback(process.resume)
        elif fault.name == "ctrl-z":
            os.killpg(pid, signal.SIGTSTP)
            stack.callback(os.killpg, pid, signal.SIGCONT)
        elif fault.name in OVERLOADS:
            for _ in range(BUSY_PER_CORE * (os.cpu_count() or 1)):
                busy = stack.enter_context(subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]))
                stack.callback(busy.kill)
        elif fault.name == "killed":
            psutil.Process(pid).kill()
        elif fault.name == "guard-killed":
            psutil.Process(guard_pid).kill()
        elif fault.name == "guard-stopped":
            psutil.Process(guard_pid).suspend()
        yield
