"""Harms a real drive on purpose, and measures how long the gamepad stays away from neutral.

::

    this process                     the driving process                      the guard's process
    harms, watches       ------->    loop.drive(ScreenSource, engine)  --->   a pad that tells what it shows
         <--------------------- what the pad shows, and when; that it is unplugged -------------------'

The loop, the screen source and the guard are those of every drive. What they look at is made here (a window whose
picture always changes), as is the network (full throttle, wheel turned) and the gamepad's far end: so it runs anywhere.
"""

import ctypes
import functools
import itertools
import json
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
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import psutil

from agent.capture.desktop import Window, WindowState
from agent.capture.screen import FROZEN_S, ScreenSource
from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import CaptureError, ControllerError, EngineError
from agent.contract.observation import Observation, Pixels
from agent.contract.profile import Capture, Region
from agent.contract.spec import ModelSpec
from agent.controllers.base import expiry_for
from agent.controllers.guard import GuardedController
from agent.engines.base import Prediction
from agent.loop import drive
from agent.pacing import Pacer, clock_ns

LIMIT_S = 0.2
"""Neutral within this time of anything going wrong; docs/safety.md."""

RATE_HZ = 30.0
_SPEC = ModelSpec("full-lock", "none", "none", width_px=48, height_px=27)
_REGION = Region(0, 0, 96, 54)
_FAULT = 0.6  # seconds that a fault lasts after which driving goes on: longer than anything takes to be noticed
_READY_TIMEOUT_S = 30.0
_RECOVERY_TIMEOUT_S = 5.0
_BUSY_PER_CORE = 4


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to harm a drive.

    Attributes:
        name: Key on the command line.
        what: What is done.
        passes: Whether it passes, and driving is to go on by itself then.
        noticed_s: How long it has to last before it is one at all; counted before the limit.
        lasts_s: How long it lasts, if it passes.
    """

    name: str
    what: str
    passes: bool = False
    noticed_s: float = 0.0
    lasts_s: float = _FAULT


FAULTS = (
    Fault("black", "the picture turns black", passes=True),
    Fault("frozen", f"the picture stays the same for {FROZEN_S:g} s", True, FROZEN_S, FROZEN_S + _FAULT),
    Fault("minimised", "the window is minimised", passes=True),
    Fault("focus", "another window comes into use", passes=True),
    Fault("outside", "the window is pushed off the screen", passes=True),
    Fault("slow-network", "a forward pass takes 2 s", passes=True, lasts_s=2.0),
    Fault("hang", "the loop hangs in native code for 2 s, holding the interpreter's lock", passes=True, lasts_s=2.0),
    Fault("stopped", "the process is stopped (SIGSTOP), and goes on later", passes=True),
    Fault("ctrl-z", "the process and all that it started are stopped from the terminal (SIGTSTP)", passes=True),
    Fault("overload", f"{_BUSY_PER_CORE} busy processes a core beside it", passes=True, lasts_s=2.0),
    Fault("capture", "the screen cannot be read any more"),
    Fault("closed", "the window is closed: the game has ended"),
    Fault("nan", "the network returns NaN"),
    Fault("infinite", "the network returns infinity"),
    Fault("shape", "the network returns two values"),
    Fault("engine", "the network's runtime fails"),
    Fault("bug", "an exception that nobody expects in the loop"),
    Fault("crash", "the process crashes in native code (SIGSEGV)"),
    Fault("exit", "the process ends without leaving its blocks"),
    Fault("killed", "the process is killed (SIGKILL)"),
    Fault("pad", "the gamepad takes no more controls"),
    Fault("guard-killed", "the guard is killed (SIGKILL)"),
    Fault("guard-stopped", "the guard is stopped (SIGSTOP)"),
)
_NUMBERS = {fault.name: number for number, fault in enumerate(FAULTS, 1)}
# Those that begin when the loop comes by: until then nothing is wrong. The others begin when they are done.
_IN_THE_LOOP = ("slow-network", "hang", "nan", "infinite", "shape", "engine", "bug", "crash", "exit", "pad")
_NOT_ON_WINDOWS = ("hang", "ctrl-z", "crash")  # no usleep there, no such signal, and a crash shows a dialog


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one injected fault led to.

    Attributes:
        fault: Its name.
        neutral_s: Seconds from the fault until the pad was neutral or unplugged, and stayed so; of an overload, the
            longest time that controls were held without new ones. Infinite if it never was neutral.
        drove_on: Whether driving went on after a fault that passes; None for one that ends the drive.
    """

    fault: str
    neutral_s: float
    drove_on: bool | None

    @property
    def kept(self) -> bool:
        """Whether the promise was kept."""
        return self.neutral_s <= LIMIT_S and self.drove_on is not False


def available() -> tuple[Fault, ...]:
    """Return the faults that can be injected on this system."""
    return tuple(fault for fault in FAULTS if sys.platform != "win32" or fault.name not in _NOT_ON_WINDOWS)


def inject(faults: Sequence[Fault], times: int) -> Iterator[Outcome]:
    """Inject every fault so many times, in turns, and yield what each led to.

    A drive that outlives a fault is harmed again; otherwise the next one has a drive of its own.

    Args:
        faults: Some of :data:`FAULTS`.
        times: How often each.

    Raises:
        AgentError: If the drive to be harmed does not get going.
    """
    with ExitStack() as stack:
        victim: _Drive | None = None
        for fault in itertools.chain.from_iterable(itertools.repeat(faults, times)):
            if victim is None:
                victim = stack.enter_context(_Drive())
            outcome = victim.harm(fault)
            yield outcome
            if not outcome.drove_on:
                stack.close()
                victim = None


def guard_latencies_s(sends: int) -> list[float]:
    """Return the seconds from handing controls to the guard until its pad has them, at the rate of a drive.

    A controller without a guard would have them at once: this is what the guard costs.

    Args:
        sends: How many to measure; the first, which finds both processes cold, is left out.

    Returns:
        One for each, but for controls that expired on their way.

    Raises:
        ControllerError: If the guard ends.
    """
    handed_ns = dict[float, int]()
    with tempfile.TemporaryDirectory() as folder:
        arrivals = Path(folder) / "arrivals"
        with GuardedController(functools.partial(_ClockPad, arrivals)) as controller:
            for tick in Pacer(1.0 / RATE_HZ).ticks():
                if tick.index > sends:
                    break
                controls = Controls(steering=(tick.index + 1) / (sends + 1))
                handed_ns[controls.steering] = clock_ns()
                controller.send(controls)
        arrived_ns: dict[float, int] = dict(json.loads(arrivals.read_text()))
    handed_ns.pop(min(handed_ns))
    return [(arrived_ns[steering] - at_ns) / 1e9 for steering, at_ns in handed_ns.items() if steering in arrived_ns]


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a pad shows from a moment on; no controls once it is unplugged."""

    at_ns: int
    controls: Controls | None

    @property
    def neutral(self) -> bool:
        return self.controls is None or self.controls == NEUTRAL


class _PadLog:
    """Takes down what every gamepad of the drives shows."""

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


class _Harm:
    """What goes wrong at present, shared by all processes.

    Attributes:
        number: Place of the fault in :data:`FAULTS`, from 1; 0 for none.
        began_ns: When the drive first met it; 0 while it has not yet.
    """

    def __init__(self) -> None:
        self.number = RawValue(ctypes.c_int, 0)
        self.began_ns = RawValue(ctypes.c_longlong, 0)

    def is_on(self, *names: str) -> bool:
        """Return whether it is one of these, and note when that was first asked."""
        if self.number.value not in [_NUMBERS[name] for name in names]:
            return False
        if not self.began_ns.value:
            self.began_ns.value = clock_ns()
        return True


class _Drive:
    """A drive to be harmed; a context manager."""

    def __init__(self) -> None:
        self._harm = _Harm()
        self._log = _PadLog()
        context = multiprocessing.get_context("spawn")
        # No daemon: that could have no guard. It ends by itself when this process does.
        self._process = context.Process(target=_drive_on, args=(self._log.address, self._harm), name="harmed drive")

    def __enter__(self) -> Self:
        self._process.start()
        if not self._wait(self._is_driving, _READY_TIMEOUT_S):
            self.__exit__(None, None, None)
            raise ControllerError(
                f"the drive to be harmed did not get going within {_READY_TIMEOUT_S:.0f} s, expected a second or two. "
                "Close other programs and start again."
            )
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._process.close()
        self._log.close()

    def harm(self, fault: Fault) -> Outcome:
        """Inject a fault at any moment of a period, watch the pad, and let a fault that passes pass."""
        time.sleep(random.random() / RATE_HZ)
        with _from_outside(fault, self._process.pid or 0, self._log.guard_pid):
            began_ns = clock_ns()
            self._harm.began_ns.value = 0
            self._harm.number.value = _NUMBERS[fault.name]
            if fault.name in _IN_THE_LOOP:
                if not self._wait(lambda: self._harm.began_ns.value != 0, _RECOVERY_TIMEOUT_S):
                    return Outcome(fault.name, math.inf, None)
                began_ns = self._harm.began_ns.value
            ends_ns = began_ns + round(fault.lasts_s * 1e9)
            time.sleep(max(0.0, (ends_ns - clock_ns()) / 1e9))
            self._harm.number.value = 0
            ended_ns = min(ends_ns, clock_ns())
        noticed_ns = began_ns + round(fault.noticed_s * 1e9)
        if fault.name == "overload":
            away_s = _longest_hold_s(self._log.shown, began_ns, ended_ns)
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


def _away_s(shown: Sequence[_Shown], from_ns: int, to_ns: int) -> float:
    """Return how long after ``from_ns`` the pad was away from neutral for the last time before ``to_ns``."""
    states = [state for state in shown if state.at_ns <= to_ns]
    if not states or not states[-1].neutral:
        return math.inf
    became_neutral_ns = states[-1].at_ns
    for before, after in itertools.pairwise(reversed(states)):
        if not after.neutral:
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
    """Do what is done to a process from outside; undo it in the end."""
    with ExitStack() as stack:
        if fault.name == "stopped":
            process = psutil.Process(pid)
            process.suspend()
            stack.callback(process.resume)
        elif fault.name == "ctrl-z":
            os.killpg(pid, signal.SIGTSTP)
            stack.callback(os.killpg, pid, signal.SIGCONT)
        elif fault.name == "overload":
            for _ in range(_BUSY_PER_CORE * (os.cpu_count() or 1)):
                busy = stack.enter_context(subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]))
                stack.callback(busy.kill)
        elif fault.name == "killed":
            psutil.Process(pid).kill()
        elif fault.name == "guard-killed":
            psutil.Process(guard_pid).kill()
        elif fault.name == "guard-stopped":
            psutil.Process(guard_pid).suspend()
        yield


def _drive_on(address: Any, harm: _Harm) -> None:
    """Drive until harmed; the main function of the process that is."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what it has to say of its end is not what is measured here
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # as a shell starts a program, so that Ctrl-Z reaches it and its guard alone
    parent = multiprocessing.parent_process()
    controller = GuardedController(functools.partial(_TracingPad, address, harm))
    pacer = Pacer(1.0 / RATE_HZ)
    controller.expiry_s = expiry_for(pacer.period_s)
    source = ScreenSource(Capture("game"), lambda: _Screen(harm), lambda: _Desktop(harm))
    drive(source, controller, _FullLock(harm), pacer, until=lambda: parent is None or not parent.is_alive())


class _Screen:
    """A screen whose picture always changes."""

    def __init__(self, harm: _Harm) -> None:
        self._harm = harm
        self._pixels = np.random.default_rng(0).integers(50, 256, (_REGION.height, _REGION.width, 4), np.uint8)
        self.monitors = [_REGION, _REGION]

    def grab(self, region: Region) -> Pixels:
        if self._harm.is_on("capture"):
            raise CaptureError("the screen cannot be read")
        if self._harm.is_on("black"):
            return np.zeros_like(self._pixels)
        if not self._harm.is_on("frozen"):
            self._pixels = np.roll(self._pixels, 4)
        return self._pixels.copy()

    def close(self) -> None:
        pass


class _Desktop:
    """A desktop with one window."""

    def __init__(self, harm: _Harm) -> None:
        self._harm = harm

    def windows(self) -> list[Window]:
        return [Window(1, "game", _REGION)]

    def look(self, handle: int) -> WindowState | None:
        if self._harm.is_on("closed"):
            return None
        region = Region(-20, 0, 96, 54) if self._harm.is_on("outside") else _REGION
        return WindowState(region, self._harm.is_on("minimised"), not self._harm.is_on("focus"))

    def close(self) -> None:
        pass


class _FullLock:
    """A network that always turns the wheel and presses the throttle, until it is harmed."""

    name = "full-lock"
    spec = _SPEC

    def __init__(self, harm: _Harm) -> None:
        self._harm = harm

    def infer(self, observation: Observation) -> Prediction:
        is_on = self._harm.is_on
        if is_on("slow-network"):
            self._harm.number.value = 0
            time.sleep(2.0)
        elif is_on("hang"):
            self._harm.number.value = 0
            ctypes.PyDLL(None).usleep(2_000_000)
        elif is_on("nan", "infinite"):
            return np.array((math.nan if is_on("nan") else math.inf, 1.0, 0.0), np.float32)
        elif is_on("shape"):
            return np.ones(2, np.float32)
        elif is_on("engine"):
            raise EngineError("the runtime failed")
        elif is_on("bug"):
            raise RuntimeError("nobody expected this")
        elif is_on("crash"):
            ctypes.string_at(0)
        elif is_on("exit"):
            os._exit(1)
        return np.array((1.0, 1.0, 0.0), np.float32)

    def close(self) -> None:
        pass


class _ClockPad:
    """A gamepad that notes when it is sent what, and says so in the end: meanwhile it keeps nobody busy."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._sent: list[tuple[float, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.write_text(json.dumps(self._sent))

    def send(self, controls: Controls) -> None:
        self._sent.append((controls.steering, clock_ns()))

    def hold(self, name: str) -> None:
        pass

    def release(self, name: str) -> None:
        pass


class _TracingPad:
    """A gamepad that tells what it shows, and by its end that it is unplugged."""

    def __init__(self, address: Any, harm: _Harm) -> None:
        self._address = address
        self._harm = harm
        self._link: Connection[Any, Any]

    def __enter__(self) -> Self:
        self._link = Client(self._address)
        self._link.send(os.getpid())
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._show(NEUTRAL)
        self._link.close()

    def send(self, controls: Controls) -> None:
        if self._harm.is_on("pad"):
            raise ControllerError("the gamepad takes no more controls")
        self._show(controls)

    def hold(self, name: str) -> None:
        pass

    def release(self, name: str) -> None:
        pass

    def _show(self, controls: Controls) -> None:
        self._link.send((clock_ns(), controls.steering, controls.throttle, controls.brake))
