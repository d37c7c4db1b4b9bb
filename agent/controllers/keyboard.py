"""Driving by keys, for games and systems without a virtual gamepad: a key is held for a control's share of the time."""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Protocol, Self

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import ControllerError
from agent.contract.profile import KeyMap, SteeringRamp
from agent.inputs.keyboard import import_keyboard
from agent.pacing import clock_ns

_STEP_S = 0.005  # how finely time is divided
_LEAST_SHARE = 0.05  # a key is not tapped for less than this share of the time, nor let go of for less

# Of a KeyRamp: over how long it looks back, and the most that counts. From a search on games of 30 to 60 pictures a
# second with SuperTuxKart's ramp, for the least error of the mean over 100 ms.
_OWED_OVER_S = 0.1
_MOST_OWED_S = 0.03
# The same of a wheel that is back in the middle within a pulse, as TORCS' is: with less, 0.7 asked for was 0.42 played.
_MOST_OWED_AT_ONCE_S = 0.07


class Keys(Protocol):
    """A keyboard to press keys on, by the names of a :class:`agent.contract.profile.KeyMap`."""

    def press(self, name: str) -> None:
        """Hold a key."""

    def release(self, name: str) -> None:
        """Let go of it."""


class KeyPulse:
    """Holds a key for a share of the time, in pulses that a game sees: each longer than one of its pictures.

    A game looks at the keyboard once a picture. A tenth of the throttle as 10 ms in every 100 would be seen half the
    time, or in step with the game's pictures always or never; as 35 ms in every 350 it is a tenth.

    Args:
        pulse_s: The shortest time the key is held or let go of between none and all of the time.
    """

    def __init__(self, pulse_s: float) -> None:
        self._pulse_s = pulse_s
        self._owed_s = 0.0  # how long it should have been down, less how long it was
        self._time_s: float | None = None
        self._changed_s = -math.inf
        self._share = 0.0
        self.down = False

    def step(self, share: float, time_s: float) -> bool:
        """Return whether the key is down from now on.

        Args:
            share: Of the time, from 0 to 1, from now on.
            time_s: Now, since anything fixed; never less than before.
        """
        if self._time_s is not None:
            self._pass(time_s - self._time_s)
        self._time_s, self._share = time_s, share
        if share < _LEAST_SHARE or share > 1.0 - _LEAST_SHARE:
            self._owed_s, wanted = 0.0, share > 0.5
        elif time_s - self._changed_s < self._pulse_s:
            return self.down
        else:
            wanted = self._is_owed()
        if wanted != self.down:
            self.down, self._changed_s = wanted, time_s
        return self.down

    def _pass(self, seconds: float) -> None:
        self._owed_s += (self._share - self.down) * seconds

    def _is_owed(self) -> bool:
        return self._owed_s > 0 or (self._owed_s == 0 and not self.down)


class KeyRamp(KeyPulse):
    """Holds a steering key so that a wheel which the game turns gradually is on average where it should be.

    Held for half of the time, in pulses, such a key does not give half of the steering: what a pulse turns, the game
    turns back before the next one. SuperTuxKart's kart has a tenth then. So the game's wheel is reckoned along, and the
    key is down while it is behind, and behind on average.

    Args:
        ramp: How the game turns its wheel.
        pulse_s: The shortest time the key is held or let go of between none and all of the time.
    """

    def __init__(self, ramp: SteeringRamp, pulse_s: float) -> None:
        super().__init__(pulse_s)
        self._ramp = ramp
        self._most_owed_s = _MOST_OWED_AT_ONCE_S if ramp.centre_s < pulse_s else _MOST_OWED_S
        self._value = 0.0  # where the game's wheel is by our reckoning

    def _pass(self, seconds: float) -> None:
        self._value = self._ramp.turned(self._value, self.down, seconds)
        owed_s = self._owed_s + (self._share - self._value) * seconds
        self._owed_s = min(self._most_owed_s, max(-self._most_owed_s, owed_s))

    def _is_owed(self) -> bool:
        return (self._share - self._value) * _OWED_OVER_S + self._owed_s > 0


class Keyboard:
    """Presses keys; all are released however its block is left.

    Args:
        keys: Which keys drive.
        open_keys: Opens the keyboard.
        clock: Monotonic time in nanoseconds.
    """

    def __init__(
        self, keys: KeyMap, open_keys: "Callable[[], Keys] | None" = None, clock: Callable[[], int] = clock_ns
    ) -> None:
        self._keys = keys
        self._open_keys = open_keys or _PynputKeys
        self._clock = clock
        self._keyboard: Keys | None = None
        self._down: set[str] = set()
        self._held: frozenset[str] = frozenset()
        self._pulses = {name: KeyPulse(keys.pulse_s) for name in (keys.left, keys.right, keys.throttle, keys.brake)}
        if keys.steering_ramp is not None:
            self._pulses |= {name: KeyRamp(keys.steering_ramp, keys.pulse_s) for name in (keys.left, keys.right)}
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
            self._keyboard = self._open_keys()
            self._stopping.clear()
            self._thread = threading.Thread(target=self._work, name="keyboard", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
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
        if not all(map(math.isfinite, (controls.steering, controls.throttle, controls.brake))):
            raise ControllerError(f"controls {controls} are no finite numbers, expected values to put on keys.")
        self._controls = controls.clip()
        self._act()

    def hold(self, name: str) -> None:
        """Hold a key down beside those that drive, until :meth:`release`.

        Raises:
            ControllerError: If there is none of that name, or it could not be pressed.
        """
        self._held |= {name}
        self._act()

    def release(self, name: str) -> None:
        """Let go of a key.

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
        """Press and release what is due now; called by a thread of its own, and at once when controls change."""
        with self._lock:
            assert self._keyboard is not None, "opened on entering"
            controls, keys, now_s = self._controls, self._keys, self._clock() / 1e9
            shares = {
                keys.left: max(0.0, -controls.steering),
                keys.right: max(0.0, controls.steering),
                keys.throttle: controls.throttle,
                keys.brake: controls.brake,
            }
            wanted = {name for name, share in shares.items() if self._pulses[name].step(share, now_s)} | self._held
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
            except Exception as exc:  # told by the next send
                self._failure = exc
                return
            time.sleep(_STEP_S)


def release_keys(keys: KeyMap, others: Iterable[str] = (), open_keys: "Callable[[], Keys] | None" = None) -> None:
    """Let go of the keys that drive, and of others, whoever pressed them: after a guard that was killed with keys down.

    Args:
        keys: Which keys drive.
        others: Names of more keys.
        open_keys: Opens the keyboard.
    """
    with contextlib.suppress(Exception):  # without a desktop there are no keys to be down
        keyboard = (open_keys or _PynputKeys)()
        for name in (keys.left, keys.right, keys.throttle, keys.brake, *others):
            with contextlib.suppress(Exception):  # one that is unknown here; the next may not be
                keyboard.release(name)


class _PynputKeys:
    def __init__(self) -> None:
        keyboard = import_keyboard()
        self._special: Any = keyboard.Key
        self._controller: Any = keyboard.Controller()

    def press(self, name: str) -> None:
        self._controller.press(self._key(name))

    def release(self, name: str) -> None:
        self._controller.release(self._key(name))

    def _key(self, name: str) -> Any:
        if len(name) == 1:
            return name
        try:
            return self._special[name]
        except KeyError:
            raise ControllerError(
                f"key {name!r} is unknown, expected a single character or one of: "
                f"{', '.join(key.name for key in self._special)}. Correct [keys] in the game's profile."
            ) from None
