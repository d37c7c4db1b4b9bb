"""The drive that faults are injected into."""

import ctypes
import functools
import math
import multiprocessing
import os
import sys
import time
from multiprocessing.connection import Client, Connection
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import Any, Self

import numpy as np

from agent.capture.desktop_base import Window, WindowState
from agent.capture.screen import ScreenSource
from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import CaptureError, ControllerError, EngineError
from agent.contract.observation import Observation, Pixels
from agent.contract.profile import Capture, Region
from agent.contract.spec import ModelSpec
from agent.controllers.base import expiry_for
from agent.controllers.guard.client import GuardedController
from agent.driving.loop import drive
from agent.driving.takeover import Takeover
from agent.engines.base import Prediction
from agent.inputs.intention import Intention
from agent.inputs.keyboard import Hotkeys
from agent.measuring.faults.catalogue import NUMBERS, PERSONS, RATE_HZ
from agent.policies.network import NetworkPolicy
from agent.system.pacing import Pacer, clock_ns
from agent.system.priority import give_up_rights

_SPEC = ModelSpec("full-lock", "none", "none", width_px=48, height_px=27)
_REGION = Region(0, 0, 96, 54)
_HELD_NS = 200_000_000  # how long the person drives with a gamepad before it falls asleep
_REPEATS = 5  # an odd number: if they counted as presses, the network would drive again


class Harm:
    """The present fault, shared by all processes.

    Attributes:
        number: Place of the fault in :data:`FAULTS`, counted from 1; 0 for none.
        began_ns: When the drive first met it; 0 before that.
    """

    def __init__(self) -> None:
        self.number = RawValue(ctypes.c_int, 0)
        self.began_ns = RawValue(ctypes.c_longlong, 0)

    def is_wanted(self, *names: str) -> bool:
        """Return whether the present fault is one of these."""
        return self.number.value in [NUMBERS[name] for name in names]

    def is_on(self, *names: str) -> bool:
        """Return whether the present fault is one of these, and note when the drive first met it."""
        if not self.is_wanted(*names):
            return False
        if not self.began_ns.value:
            self.began_ns.value = clock_ns()
        return True


def drive_on(address: Any, harm: Harm, as_user: bool, said: Path) -> None:
    """Drive until a fault ends it; the main function of the driving process.

    Args:
        address: Where the pad tells what it shows.
        harm: The present fault.
        as_user: Whether to give up the right to real time first.
        said: A file for what would go to a terminal.
    """
    os.dup2(os.open(said, os.O_WRONLY | os.O_APPEND), 2)
    if as_user:
        give_up_rights()
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # as a shell does it: so Ctrl-Z reaches only this process and its guard
    parent = multiprocessing.parent_process()
    controller = GuardedController(functools.partial(_TracingPad, address, harm), functools.partial(_Person, harm))
    pacer = Pacer(1.0 / RATE_HZ)
    controller.expiry_s = expiry_for(pacer.period_s)
    source = ScreenSource(Capture("game"), lambda: _Screen(harm), lambda: _Desktop(harm))
    policy = NetworkPolicy(_FullLock(harm))
    drive(
        source,
        controller,
        policy,
        pacer,
        until=lambda: parent is None or not parent.is_alive(),
        takeover=controller.by_hand,
    )


class _Screen:
    """A screen whose picture always changes."""

    def __init__(self, harm: Harm) -> None:
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
    """A desktop with one window, which may be replaced by another."""

    def __init__(self, harm: Harm) -> None:
        self._harm = harm
        self._handle = 1

    def windows(self) -> list[Window]:
        return [] if self._harm.is_on("closed", "window-anew") else [Window(self._handle, "game", _REGION)]

    def look(self, handle: int) -> WindowState | None:
        if self._harm.is_on("window-anew") and handle == self._handle:
            self._handle += 1
        if self._harm.is_on("closed") or handle != self._handle:
            return None
        region = Region(-20, 0, 96, 54) if self._harm.is_on("outside") else _REGION
        return WindowState(region, self._harm.is_on("minimised"), not self._harm.is_on("focus"))

    def covering(self, handle: int) -> list[Window]:
        return []

    def close(self) -> None:
        pass


class _Person:
    """A person who takes over by holding the hotkey, and gives the wheel back after letting go of it."""

    def __init__(self, harm: Harm) -> None:
        self._harm = harm
        self._holds = False
        self._takeover = Takeover(pad=_SleepyPad(harm), keys=Intention())
        self._hotkeys = Hotkeys({"f8": self._takeover.change_hands})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    @property
    def reach_the_game(self) -> bool:
        return self._takeover.reach_the_game

    def __call__(self) -> Controls | None:
        held_before, self._holds = self._holds, self._harm.is_on("hotkey-held")
        if self._holds and not held_before:
            self._hotkeys.press("f8")
            for _ in range(_REPEATS):
                self._hotkeys.release("f8")  # X11 sends a release before each repeat of a held key
                self._hotkeys.press("f8")
        elif held_before and not self._holds:
            self._hotkeys.release("f8")
            self._takeover.give_back()
        return self._takeover()


class _SleepyPad:
    """The person's gamepad: at rest, or held for a moment and then asleep. Asleep, it is unplugged for the system."""

    def __init__(self, harm: Harm) -> None:
        self._harm = harm
        self._held_since_ns: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def unheard(self) -> str | None:
        return "no gamepad is plugged in" if self._is_asleep() else None

    def read(self) -> Controls:
        if not self._harm.is_wanted("pad-asleep"):
            self._held_since_ns = None
        elif self._held_since_ns is None:
            self._held_since_ns = clock_ns()
        return NEUTRAL if self._held_since_ns is None or self._is_asleep() else PERSONS

    def _is_asleep(self) -> bool:
        held_since_ns = self._held_since_ns
        return held_since_ns is not None and clock_ns() - held_since_ns > _HELD_NS and self._harm.is_on("pad-asleep")


class _FullLock:
    """A network that always turns the wheel and presses the throttle, until a fault changes that."""

    name = "full-lock"
    spec = _SPEC

    def __init__(self, harm: Harm) -> None:
        self._harm = harm

    def infer(self, observation: Observation) -> Prediction:
        is_on = self._harm.is_on
        if is_on("slow-network"):
            self._harm.number.value = 0
            time.sleep(2.0)
        elif is_on("hang"):
            self._harm.number.value = 0
            _hold_the_interpreter()
        elif is_on("nan", "infinite"):
            return np.array((math.nan if is_on("nan") else math.inf, 1.0, 0.0), np.float32)
        elif is_on("shape"):
            return np.ones(2, np.float32)
        elif is_on("engine"):
            raise EngineError("the runtime failed")
        elif is_on("bug"):
            raise RuntimeError("nobody expected this")
        elif is_on("crash"):
            _crash()
        elif is_on("exit"):
            os._exit(1)
        return np.array((1.0, 1.0, 0.0), np.float32)

    def close(self) -> None:
        pass


def _hold_the_interpreter() -> None:
    """Sleep for 2 s in native code, with the interpreter's lock."""
    if sys.platform == "win32":
        ctypes.PyDLL("kernel32").Sleep(2_000)
    else:
        ctypes.PyDLL(None).usleep(2_000_000)


def _crash() -> None:
    if sys.platform == "win32":  # there, ctypes makes an exception of an access violation
        ctypes.windll.kernel32.SetErrorMode(0x3)  # winbase.h: no dialog, which would keep the process
        os.abort()
    ctypes.string_at(0)


class _TracingPad:
    """A gamepad that tells what it shows; when it closes, it counts as unplugged."""

    def __init__(self, address: Any, harm: Harm) -> None:
        self._address = address
        self._harm = harm
        self._link: Connection[Any, Any]

    def __enter__(self) -> Self:
        self._link = Client(self._address)
        self._link.send(os.getpid())
        return self

    def __exit__(self, *exc_info: object) -> None:
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
        self._link.send((clock_ns(), *controls.values))
