"""Keys as a steering wheel, and hotkeys; both are heard in whichever window has the focus, through pynput."""

import contextlib
import sys
from collections.abc import Callable, Iterable
from functools import partial
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any, Self

from agent.contract.controls import AXIS_BY_NAME, Controls
from agent.contract.errors import ControllerError
from agent.contract.profile import KeyMap
from agent.inputs.wheels import KeySteering, Wheel
from agent.system.pacing import clock_ns

_REPEAT_NS = 40_000_000
"""A press this soon after the key's release is the desktop's key repeat: no finger presses again within 40 ms."""


_NUM_LOCK = 1 << 4  # in the state of X11's events; it tells the keypad's digits from its arrows


class _Listening:
    """Hears keys from the beginning of its block to the end, in whichever window has the focus.

    A key has one name, what it makes by itself: a comma is no semicolon while Shift is held beside it.

    Args:
        names: The keys that it hears.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(name.lower() for name in names)
        self._listener: Any = None
        self._held: dict[int, str] = {}  # names of the keys that are down, by their numbers

    def __enter__(self) -> Self:
        """Start listening.

        Raises:
            ControllerError: If keys cannot be heard here, or the keyboard's layout lacks one of them.
        """
        keyboard = import_keyboard()
        for name in self._names:
            if len(name) > 1 and sys.platform != "darwin" and name not in keyboard.Key.__members__:  # macOS has fewer
                raise unknown_key(name, keyboard.Key)
            check_layout(name)
        self._listener = keyboard.Listener(on_press=self.press, on_release=self.release)
        if sys.platform == "linux":
            self._listener._event_to_key = partial(_key_by_itself, self._listener._event_to_key)
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

    def _name_down(self, key: Any) -> str:
        """Return the name of a key that is pressed, or repeated while it is down."""
        number = getattr(key, "vk", None)
        return key_name(key) if number is None else self._held.setdefault(number, key_name(key))

    def _name_up(self, key: Any) -> str:
        """Return the name that a key which comes up was pressed by: on Windows it may have another by now."""
        return self._held.pop(getattr(key, "vk", None) or 0, None) or key_name(key)


class KeyboardInput(_Listening):
    """The keys that drive a game, as controls.

    Args:
        keys: Which keys drive.
        clock: Monotonic time in nanoseconds: the wheel turns while a key is held.
        wheel: What the steering keys turn; None means a steady hand, for a game that is driven by a pad.
    """

    def __init__(self, keys: KeyMap, clock: Callable[[], int] = clock_ns, wheel: Wheel | None = None) -> None:
        super().__init__(key for _, key, _ in keys.pressed)
        self._keys = keys
        self._clock = clock
        self._wheel: Wheel = wheel or KeySteering()
        self._down: set[str] = set()
        self._read_ns: int | None = None

    def press(self, key: Any) -> None:
        """Note that a key is down; called by pynput's thread."""
        self._down.add(self._name_down(key))

    def release(self, key: Any) -> None:
        """Take a key for up; called by pynput's thread."""
        self._down.discard(self._name_up(key))

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
        super().__init__(actions)
        self._actions = {name.lower(): action for name, action in actions.items()}
        self._clock = clock
        self._down: set[str] = set()
        self._released_ns: dict[str, int] = {}

    def press(self, key: Any) -> None:
        """Call the key's function; called by pynput's thread."""
        name = self._name_down(key)
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
        name = self._name_up(key)
        if name in self._actions:
            self._down.discard(name)
            self._released_ns[name] = self._clock()


def _key_by_itself(event_to_key: Callable[[Any, Any], Any], display: Any, event: Any) -> Any:
    """Return pynput's key of one of X11's events, as if no other key were held beside it."""
    return event_to_key(display, SimpleNamespace(detail=event.detail, state=event.state & _NUM_LOCK))


def _until_the_desktop_ends(listen: Callable[[], None]) -> None:
    """Listen in pynput's thread. If the X server is gone, print no traceback: the capture reports that error."""
    if sys.platform != "linux":
        listen()
        return
    from Xlib.error import ConnectionClosedError

    with contextlib.suppress(ConnectionClosedError):
        listen()


def x11_keysym(character: str) -> int:
    """Return X11's number for a character: the older one, which layouts use, or one by its rule for Unicode."""
    if ord(character) < 0x100:
        return ord(character)
    with contextlib.suppress(ImportError, KeyError):
        from pynput._util.xorg_keysyms import CHARS, SYMBOLS  # Cyrillic, Greek, Polish, the euro

        return int(SYMBOLS[CHARS[character]][0])
    return 0x1000000 + ord(character)


def unknown_key(name: str, known: Any) -> ControllerError:
    """Return the error for a key's name that pynput does not have.

    Args:
        name: The key's name.
        known: pynput's special keys.
    """
    return ControllerError(
        f"key {name!r} is unknown, expected a single character or one of: {', '.join(key.name for key in known)}. "
        "Correct [keys], [hotkeys] or [stuck] in the game's profile."
    )


def _quoted(keysym: int) -> str:
    """Return a character of Latin-1 as the end of a phrase; nothing for another of X11's numbers."""
    return f", {chr(keysym)!r}" if keysym < 0x100 and chr(keysym).isprintable() else ""


def check_layout(name: str) -> None:
    """Refuse a character that no key of this keyboard's layout makes by itself: it could be neither heard nor pressed.

    Raises:
        ControllerError: If no key makes it, or one does only beside Shift or AltGr.
    """
    if len(name) != 1 or sys.platform != "linux":
        return
    import_keyboard()  # its error says what is missing
    from Xlib import display

    connection = display.Display()
    connection.close()  # the connection has already sent the layout
    keysym = x11_keysym(name.lower())
    code = connection.keysym_to_keycode(keysym)
    if code and (by_itself := connection.keycode_to_keysym(code, 0)) != keysym:
        raise ControllerError(
            f"a key of this keyboard's layout makes {name!r} only beside Shift or AltGr, expected a key of its own. "
            f"Name the key in the game's profile by what it makes by itself{_quoted(by_itself)}, or name another one."
        )
    if not code:
        raise ControllerError(
            f"no key of this keyboard's layout makes {name!r}, expected one. Name another key in the game's "
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
