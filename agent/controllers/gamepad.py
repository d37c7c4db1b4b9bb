"""A virtual Xbox 360 gamepad: uinput on Linux, ViGEmBus on Windows, both through vgamepad."""

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import ControllerError
from agent.contract.profile import BUTTONS, Button, PadMap
from agent.controllers.pad import PadState, SlewLimit, to_pad
from agent.system.pacing import clock_ns

UINPUT = Path("/dev/uinput")
UDEV_RULE = 'KERNEL=="uinput", SUBSYSTEM=="misc", TAG+="uaccess", OPTIONS+="static_node=uinput"'

_BUTTON_NAMES: dict[Button, str] = {
    "a": "A",
    "b": "B",
    "x": "X",
    "y": "Y",
    "start": "START",
    "back": "BACK",
    "guide": "GUIDE",
    "left_shoulder": "LEFT_SHOULDER",
    "right_shoulder": "RIGHT_SHOULDER",
    "left_thumb": "LEFT_THUMB",
    "right_thumb": "RIGHT_THUMB",
    "up": "DPAD_UP",
    "down": "DPAD_DOWN",
    "left": "DPAD_LEFT",
    "right": "DPAD_RIGHT",
}


class Gamepad:
    """Sends controls to a gamepad that games take for a real one; neutral however its block is left.

    vgamepad sets a fuzz of 16. Linux hides stick changes below half of the fuzz and softens those below twice the fuzz
    (drivers/input/input.c, ``input_defuzz_abs_event``). The error is at most 16 of 32767, 0.05 %, too little to feel.
    Games on Linux' older js interface do not see the innermost 128 steps, 0.4 %.

    Args:
        pad: Which axis lies where.
        clock: Monotonic time in nanoseconds, for the slew limit.
    """

    def __init__(self, pad: PadMap, clock: Callable[[], int] = clock_ns) -> None:
        self._pad = pad
        self._clock = clock
        self._slew = SlewLimit(pad.steering_slew_per_s)
        self._device: Any = None
        self._held: set[Button] = set()
        self._shown = PadState()

    def __enter__(self) -> Self:
        """Plug the pad in, neutral.

        Raises:
            ControllerError: If the driver is missing or permission is denied; the message says what to do.
        """
        if self._device is None:
            self._device = _plug_in()
            self._shown = PadState()  # the state of a pad that has just been plugged in
            self.send(NEUTRAL)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._device is None:
            return
        self._held.clear()
        with contextlib.suppress(ControllerError):  # the device goes away next, which is neutral too
            self._show(PadState())
        self._device = None  # its last reference: vgamepad unplugs the pad

    def send(self, controls: Controls) -> None:
        """Apply controls until the next call; neutral at once, whatever the slew limit.

        Raises:
            ControllerError: If a value is not finite, or the pad is gone.
        """
        if controls == NEUTRAL:
            self._slew.reset()
        steering = self._slew.limit(controls.steering, self._clock())
        state = to_pad(replace(controls, steering=steering), self._pad)
        state.buttons |= self._held
        self._show(state)

    def hold(self, name: str) -> None:
        """Hold a button down, from the next :meth:`send` until :meth:`release`.

        Raises:
            ControllerError: If the pad has no button of that name.
        """
        if name not in BUTTONS:
            raise ControllerError(f"button {name!r} is unknown, expected one of: {', '.join(BUTTONS)}.")
        self._held.add(name)

    def release(self, name: str) -> None:
        """Release a button with the next :meth:`send`."""
        self._held = {held for held in self._held if held != name}

    def _show(self, state: PadState) -> None:
        device = self._device
        if device is None:
            raise ControllerError("the gamepad is not plugged in, expected to be used inside its `with` block.")
        if state == self._shown:
            return  # vgamepad always writes all 19 values of a pad, and the kernel drops the unchanged ones
        try:
            device.left_joystick(state.left_x, state.left_y)
            device.right_joystick(state.right_x, state.right_y)
            device.left_trigger(state.left_trigger)
            device.right_trigger(state.right_trigger)
            for name in self._shown.buttons - state.buttons:
                device.release_button(_button(name))
            for name in state.buttons - self._shown.buttons:
                device.press_button(_button(name))
            device.update()
            self._shown = state
        except Exception as exc:  # vgamepad, libevdev and ctypes each raise their own
            raise ControllerError(
                f"the gamepad takes no more controls ({type(exc).__name__}: {exc}), expected it to stay plugged in. "
                "Start again."
            ) from exc


def _button(name: Button) -> Any:
    import vgamepad

    return vgamepad.XUSB_BUTTON[f"XUSB_GAMEPAD_{_BUTTON_NAMES[name]}"]


def _plug_in() -> Any:
    try:
        import vgamepad
    except ImportError as exc:
        raise ControllerError(
            f"vgamepad cannot be imported ({exc}), expected it with the agent (it does not exist for {sys.platform}). "
            "Drive by keys: --controller keyboard."
        ) from exc
    except (
        Exception
    ) as exc:  # a missing shared library is an OSError; a missing ViGEmBus an Exception of vgamepad's own
        raise ControllerError(f"{_missing_driver(exc)} Or drive by keys: --controller keyboard.") from exc
    try:
        return vgamepad.VX360Gamepad()
    except Exception as exc:
        raise ControllerError(f"{_missing_driver(exc)} Or drive by keys: --controller keyboard.") from exc


def _missing_driver(exc: Exception) -> str:
    """Say why the pad cannot be plugged in, what was expected, and what to do."""
    if sys.platform == "win32":
        return (
            f"the virtual gamepad cannot be plugged in ({exc}), expected the ViGEmBus driver. Install it: run the "
            "ViGEmBusSetup that came with vgamepad (its folder win/vigem/install), then start again."
        )
    if "libevdev" in str(exc):
        return (
            f"the virtual gamepad needs libevdev ({exc}), expected the library libevdev.so.2. Install it: "
            "`sudo apt install libevdev2` (Debian, Ubuntu), `sudo dnf install libevdev` (Fedora)."
        )
    if not UINPUT.exists():
        return (
            f"the virtual gamepad needs {UINPUT}, which does not exist: expected the kernel's uinput module. Load it: "
            "`sudo modprobe uinput` (containers and some cloud kernels have none)."
        )
    if not os.access(UINPUT, os.W_OK):
        return (
            f"{UINPUT} cannot be written ({exc}), expected permission to plug in a gamepad. Grant it: "
            f"`echo '{UDEV_RULE}' | sudo tee /etc/udev/rules.d/60-hoodcam.rules`, then "
            "`sudo udevadm control --reload && sudo udevadm trigger /dev/uinput`."
        )
    return f"the virtual gamepad cannot be plugged in ({type(exc).__name__}: {exc}), expected {UINPUT} to accept it."
