"""How a game turns its steering wheel while a key is held."""

import math
from typing import Protocol

from agent.contract.profile import SteeringRamp


class Wheel(Protocol):
    """What two keys make of a steering wheel."""

    def steer(self, left: bool, right: bool, elapsed_s: float) -> float:
        """Return the steering, [-1, 1], after these keys were held for ``elapsed_s``."""


class GameWheel:
    """The wheel of a game that is driven by keys: what the game makes of them, and so what pressing them meant.

    It is what :class:`agent.controllers.keyboard.Keyboard` reckons with the other way round: its mean over some pulses
    is the steering that those pulses play. Against the way it is turned, it first returns to the middle; both keys at
    once let it return.

    Args:
        ramp: How the game turns its wheel while a key is held; None: at once.
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
    """Makes a steady hand out of keys, which know only all or nothing: the wheel turns while one is held, and returns.

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
