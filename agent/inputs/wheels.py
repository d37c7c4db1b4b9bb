"""How a game turns its steering wheel while a key is held."""

import math
from typing import Protocol

from agent.contract.profile import SteeringRamp


class Wheel(Protocol):
    """A steering wheel that two keys turn."""

    def steer(self, left: bool, right: bool, elapsed_s: float) -> float:
        """Return the steering, [-1, 1], after these keys were held for ``elapsed_s``."""


class GameWheel:
    """The wheel of a game that is driven by keys: the steering that the game makes of the keys a person presses.

    It is the inverse of :class:`agent.controllers.keyboard.Keyboard`, which turns a steering into key pulses: the mean
    of this wheel over some pulses is that steering. A key for the other side first returns the wheel to the middle.
    Both keys together let it return.

    Args:
        ramp: How the game turns its wheel while a key is held; None if it turns at once.
    """

    def __init__(self, ramp: SteeringRamp | None) -> None:
        self._ramp = ramp
        self._steering = 0.0

    def steer(self, left: bool, right: bool, elapsed_s: float) -> float:
        """Return the steering, [-1, 1], after these keys were held for ``elapsed_s``."""
        direction = right - left
        if self._ramp is None:
            return float(direction)
        onwards = direction * self._steering >= 0 and direction != 0
        deflection = self._ramp.turned(abs(self._steering), onwards, elapsed_s)
        self._steering = math.copysign(deflection, direction if onwards else self._steering)
        return self._steering


class KeySteering:
    """Turns keys into smooth steering, like a steady hand: the wheel turns while a key is held, then returns.

    Args:
        turn_per_s: How fast it turns, full deflections a second.
        return_per_s: How fast it returns to the middle.
    """

    def __init__(self, turn_per_s: float = 4.0, return_per_s: float = 6.0) -> None:
        self._turn_per_s = turn_per_s
        self._return_per_s = return_per_s
        self._steering = 0.0

    def steer(self, left: bool, right: bool, elapsed_s: float) -> float:
        """Return the steering, [-1, 1], after these keys were held for ``elapsed_s``."""
        direction = right - left
        if direction and direction * self._steering >= 0:
            self._steering += direction * self._turn_per_s * elapsed_s
            self._steering = min(1.0, max(-1.0, self._steering))
        else:
            back = self._return_per_s * elapsed_s
            self._steering = max(0.0, abs(self._steering) - back) * (1.0 if self._steering > 0 else -1.0)
        return self._steering
