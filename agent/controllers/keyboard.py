"""Driving by keys, for games and systems without a virtual gamepad: a control of 0.3 holds its key 30 % of the time."""

import contextlib
import math
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, Self

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import ControllerError
from agent.contract.profile import KeyMap
from agent.controllers.key_pulses import KeyPulses
from agent.inputs.keyboard import check_layout, import_keyboard, unknown_key, x11_keysym
from agent.system.pacing import clock_ns

_STEP_S = 0.005  # time between two updates of the keys


class Keys(Protocol):
    """A keyboard whose keys can be pressed, by the names of a :class:`agent.contract.profile.KeyMap`."""

    def check(self, name: str) -> None:
        """Check that there is such a key.

        Raises:
            ControllerError: If there is no such key.
        """

    def press(self, name: str) -> None:
        """Hold a key."""

    def release(self, name: str) -> None:
        """Let go of it."""


class Keyboard:
    """Presses keys; all are released however its block is left.

    Args:
        keys: Which keys drive.
        open_keys: Opens the keyboard.
        clock: Monotonic time in nanoseconds.
        further: More keys that :meth:`hold` will be called with.
    """

    def __init__(
        self,
        keys: KeyMap,
        open_keys: "Callable[[], Keys] | None" = None,
        clock: Callable[[], int] = clock_ns,
        further: Sequence[str] = (),
    ) -> None:
        self._keys = keys
        self._further = tuple(further)
        self._open_keys = open_keys or _PynputKeys
        self._clock = clock
        self._keyboard: Keys | None = None
        self._down: set[str] = set()
        self._held: frozenset[str] = frozenset()
        self._pulses = KeyPulses(keys)
        self._controls = NEUTRAL
        self._failure: Exception | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Open the keyboard.

        Raises:
            ControllerError: If keys cannot be pressed here, or the profile names an unknown one.
        """
        if self._keyboard is None:
            keyboard = self._open_keys()
            for name in (*(key for _, key, _ in self._keys.pressed), *self._further):
                keyboard.check(name)  # now, not when the network first brakes
            self._keyboard = keyboard
            self._stopping.clear()
            self._thread = threading.Thread(target=self._work, name="keyboard", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._keyboard is None:
            return
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        self._controls, self._held = NEUTRAL, frozenset()
        with contextlib.suppress(Exception):
            self.step()
        self._keyboard = self._thread = None

    def send(self, controls: Controls) -> None:
        """Apply controls until the next call.

        Raises:
            ControllerError: If a value is not finite, or a key could not be pressed.
        """
        if not all(map(math.isfinite, controls.values)):
            raise ControllerError(f"controls {controls} are not finite numbers, expected values for the keys.")
        self._controls = controls.clip()
        self._act()

    def hold(self, name: str) -> None:
        """Hold a key down beside those that drive, until :meth:`release`.

        Raises:
            ControllerError: If no key has that name, or it could not be pressed.
        """
        self._held |= {name}
        self._act()

    def release(self, name: str) -> None:
        """Release a key.

        Raises:
            ControllerError: If it could not be released.
        """
        self._held -= {name}
        self._act()

    def _act(self) -> None:
        try:
            if self._failure is not None:
                raise self._failure
            self.step()
        except ControllerError:
            raise
        except Exception as exc:
            raise ControllerError(
                f"keys cannot be pressed any more ({exc}), expected the desktop to take them. Start again."
            ) from exc

    def step(self) -> None:
        """Press and release the keys that are due now; called by a separate thread, and when controls change."""
        with self._lock:
            assert self._keyboard is not None, "opened on entering"
            wanted = self._pulses.step(self._controls, self._clock() / 1e9) | self._held
            for name in sorted(self._down - wanted):
                self._keyboard.release(name)
                self._down.discard(name)
            for name in sorted(wanted - self._down):
                self._keyboard.press(name)
                self._down.add(name)

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                self.step()
            except Exception as exc:  # raised by the next send
                self._failure = exc
                return
            time.sleep(_STEP_S)


def release_keys(keys: KeyMap, others: Iterable[str] = (), open_keys: "Callable[[], Keys] | None" = None) -> None:
    """Release the driving keys and others, no matter who pressed them: for a guard that was killed with keys down.

    Args:
        keys: Which keys drive.
        others: Names of more keys.
        open_keys: Opens the keyboard.
    """
    with contextlib.suppress(Exception):  # without a desktop, no key can be down
        keyboard = (open_keys or _PynputKeys)()
        for name in (*(key for _, key, _ in keys.pressed), *others):
            with contextlib.suppress(Exception):  # this key is unknown here; the next may be known
                keyboard.release(name)


class _PynputKeys:
    def __init__(self) -> None:
        keyboard = import_keyboard()
        self._special: Any = keyboard.Key
        self._codes: Any = keyboard.KeyCode
        self._controller: Any = _quiet(keyboard.Controller)()

    def check(self, name: str) -> None:
        self._key(name)
        check_layout(name)

    def press(self, name: str) -> None:
        self._controller.press(self._key(name))

    def release(self, name: str) -> None:
        self._controller.release(self._key(name))

    def _key(self, name: str) -> Any:
        if len(name) == 1:
            # By number: pynput sends a character only to the window, and a game that reads the keyboard itself (GLFW,
            # SDL's state, XQueryKeymap) never sees that event. A number goes through XTEST, as arrow keys do.
            return self._codes.from_vk(x11_keysym(name), char=name) if sys.platform == "linux" else name
        try:
            return self._special[name]
        except KeyError:
            raise unknown_key(name, self._special) from None


def _quiet(controller: Any) -> Any:
    """Return pynput's class, changed so that it prints no traceback where it finds its X server gone at the end."""

    class Controller(controller):  # type: ignore[misc]
        def __del__(self) -> None:
            with contextlib.suppress(Exception):
                super().__del__()

    return Controller
