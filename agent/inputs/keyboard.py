"""Keys as a steering wheel, and hotkeys; both are heard in whichever window has the focus, through pynput."""

import contextlib
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any, Self

from agent.contract.controls import AXIS_BY_NAME, Controls
from agent.contract.errors import ControllerError
from agent.contract.profile import KeyMap
from agent.inputs.wheels import KeySteering, Wheel
from agent.system.pacing import clock_ns

_REPEAT_NS = 40_000_000
"""A press this soon after the key's release is the desktop's key repeat: no finger presses again within 40 ms."""


class _Listening:
    """Hears keys from the beginning of its block to the end, in whichever window has the focus."""

    _listener: Any = None

    def __enter__(self) -> Self:
        """Start listening.

        Raises:
            ControllerError: If keys cannot be heard here.
        """
        self._listener = import_keyboard().Listener(on_press=self.press, on_release=self.release)
        self._listener.run = partial(_until_the_desktop_ends, self._listener.run)
        self._listener.start()
        self._listener.wait()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._listener is not None:
            with contextlib.suppress(Exception):  # the desktop may be gone, and then there is nothing to stop
                self._listener.stop()
            self._listener = None

    def press(self, key: Any) -> None:
        """Handle a key press; called by pynput's thread."""

    def release(self, key: Any) -> None:
        """Handle a key release; called by pynput's thread."""


class KeyboardInput(_Listening):
    """The keys that drive a game, as controls.

    Args:
        keys: Which keys drive.
        clock: Monotonic time in nanoseconds: the wheel turns while a key is held.
        wheel: What the steering keys turn; None means a steady hand, for a game that is driven by a pad.
    """

    def __init__(self, keys: KeyMap, clock: Callable[[], int] = clock_ns, wheel: Wheel | None = None) -> None:
        self._keys = keys
        self._clock = clock
        self._wheel: Wheel = wheel or KeySteering()
        self._down: set[str] = set()
        self._read_ns: int | None = None

    def press(self, key: Any) -> None:
        """Note that a key is down; called by pynput's thread."""
        self._down.add(key_name(key))

    def release(self, key: Any) -> None:
        """Take a key for up; called by pynput's thread."""
        self._down.discard(key_name(key))

    def __enter__(self) -> Self:
        """Start listening.

        Raises:
            ControllerError: If keys cannot be heard here, or the keyboard's layout lacks one of the driving keys.
        """
        for _, name, _ in self._keys.pressed:
            check_layout(name)
        return super().__enter__()

    def unheard(self) -> str | None:
        """Return None: without a keyboard, opening it would have failed."""
        return None

    def read(self) -> Controls:
        """Return the controls of this moment."""
        now_ns = self._clock()
        elapsed_s = 0.0 if self._read_ns is None else (now_ns - self._read_ns) / 1e9
        self._read_ns = now_ns
        down, keys = self._down, self._keys
        steering = self._wheel.steer(keys.left in down, keys.right in down, elapsed_s)
        others = {axis: AXIS_BY_NAME[axis].high for axis, key in keys.others if key in down}
        return Controls(steering, float(keys.throttle in down), float(keys.brake in down), **others)


class Hotkeys(_Listening):
    """Calls functions when keys are pressed, in whichever window has the focus; a context manager.

    One press is one action, however long the key is held. The desktop repeats a held key: X11 sends releases and
    presses in turn, each press right after a release.

    Args:
        actions: Functions by pynput's name of the key.
        clock: Monotonic time in nanoseconds.
    """

    def __init__(self, actions: dict[str, Callable[[], None]], clock: Callable[[], int] = clock_ns) -> None:
        self._actions = {name.lower(): action for name, action in actions.items()}
        self._clock = clock
        self._down: set[str] = set()
        self._released_ns: dict[str, int] = {}

    def press(self, key: Any) -> None:
        """Call the key's function; called by pynput's thread."""
        name = key_name(key)
        action = self._actions.get(name)
        if action is None:
            return
        since_ns = self._clock() - self._released_ns.get(name, -_REPEAT_NS)
        is_repeated = name in self._down or since_ns < _REPEAT_NS
        self._down.add(name)
        if not is_repeated:
            action()

    def release(self, key: Any) -> None:
        """Take a key for up; called by pynput's thread."""
        name = key_name(key)
        if name in self._actions:
            self._down.discard(name)
            self._released_ns[name] = self._clock()


def _until_the_desktop_ends(listen: Callable[[], None]) -> None:
    """Listen in pynput's thread. If the X server is gone, print no traceback: the capture reports that error."""
    if sys.platform != "linux":
        listen()
        return
    from Xlib.error import ConnectionClosedError

    with contextlib.suppress(ConnectionClosedError):
        listen()


def x11_keysym(character: str) -> int:
    """Return X11's number for a character, by X11's rule for Unicode."""
    return ord(character) if ord(character) < 0x100 else 0x1000000 + ord(character)


def check_layout(name: str) -> None:
    """Refuse a character that no key of this keyboard's layout makes: it could be neither heard nor pressed.

    Raises:
        ControllerError: If no key makes it.
    """
    if len(name) != 1 or sys.platform != "linux":
        return
    import_keyboard()  # its error says what is missing
    from Xlib import display

    connection = display.Display()
    connection.close()  # the connection has already sent the layout
    if not connection.keysym_to_keycode(x11_keysym(name)):
        raise ControllerError(
            f"no key of this keyboard's layout makes {name!r}, expected one. Name another key in [keys] of the game's "
            "profile, or choose a layout that has it, such as `setxkbmap us`."
        )


def key_name(key: Any) -> str:
    """Return a key's name: its character, in lower case, or pynput's name for a special key."""
    character = getattr(key, "char", None)
    return character.lower() if character else str(getattr(key, "name", key))


def import_keyboard() -> Any:
    """Return pynput's keyboard module.

    Raises:
        ControllerError: If it is not installed, or there is no desktop to hear or press keys on.
    """
    try:
        from pynput import keyboard
    except ImportError as exc:
        said = " ".join(str(exc).split())[:120]
        if find_spec("pynput") is not None:  # pynput is installed, but finds no desktop to press keys on
            raise ControllerError(
                f"keys cannot be pressed or heard ({said}), expected a desktop that lets this user in. Run it "
                "where the game is shown, as the user who is logged in (without sudo); on a Linux server, under Xvfb."
            ) from exc
        raise ControllerError(
            f"pynput cannot be used ({said}), expected it and a desktop for everything with keys. Install it: "
            "`pip install '.[keyboard]'`."
        ) from exc
    return keyboard
