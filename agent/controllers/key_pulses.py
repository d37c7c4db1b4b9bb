"""Analogue controls on keys, which are only up or down: how long each key is held."""

import math

from agent.contract.controls import AXIS_BY_NAME, Controls
from agent.contract.profile import KeyMap, SteeringRamp

_LEAST_SHARE = 0.05  # a key is neither held nor released for a smaller share of the time than this

# For a KeyRamp: how far it looks back, and the largest debt that counts. Found by a search for the smallest error of
# the mean over 100 ms, with games of 30 to 60 pictures a second and SuperTuxKart's ramp.
_OWED_OVER_S = 0.1
_MOST_OWED_S = 0.03
# The same for a wheel that returns to the middle within a pulse, as in TORCS. With less, a steering of 0.7 became 0.42.
_MOST_OWED_AT_ONCE_S = 0.07


class KeyPulse:
    """Holds a key for a share of the time, in pulses that a game can see: each is longer than one of its pictures.

    A game reads the keyboard once a picture. For a tenth of the throttle, it would see only about half of the pulses of
    10 ms in every 100 ms, and all or none of them if they are in step with its pictures. Pulses of 35 ms in every 350
    ms give a tenth.

    Args:
        pulse_s: The shortest time for which the key is held or released, unless the share is 0 or 1.
    """

    def __init__(self, pulse_s: float) -> None:
        self._pulse_s = pulse_s
        self._owed_s = 0.0  # how long the key should have been down, minus how long it was
        self._time_s: float | None = None
        self._changed_s = -math.inf
        self._share = 0.0
        self.down = False

    def step(self, share: float, time_s: float) -> bool:
        """Return whether the key is down from now on.

        Args:
            share: Share of the time that the key is to be down from now on, from 0 to 1.
            time_s: The time now, in seconds from any fixed moment; never less than before.
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
    """Holds a steering key so that a wheel which the game turns gradually has the right position on average.

    A key held in pulses for half of the time does not give half of the steering, because the game turns the wheel back
    between two pulses. SuperTuxKart gives a tenth then. So this class computes where the game's wheel is. The key is
    down while the wheel is behind the wanted position, both now and on average.

    Args:
        ramp: How the game turns its wheel.
        pulse_s: The shortest time for which the key is held or released, unless the share is 0 or 1.
    """

    def __init__(self, ramp: SteeringRamp, pulse_s: float) -> None:
        super().__init__(pulse_s)
        self._ramp = ramp
        self._most_owed_s = _MOST_OWED_AT_ONCE_S if ramp.centre_s < pulse_s else _MOST_OWED_S
        self._value = 0.0  # where the game's wheel should be now

    def _pass(self, seconds: float) -> None:
        self._value = self._ramp.turned(self._value, self.down, seconds)
        owed_s = self._owed_s + (self._share - self._value) * seconds
        self._owed_s = min(self._most_owed_s, max(-self._most_owed_s, owed_s))

    def _is_owed(self) -> bool:
        return (self._share - self._value) * _OWED_OVER_S + self._owed_s > 0


class KeyPulses:
    """All keys that drive a game.

    Args:
        keys: Which keys drive, and what the game makes of them.
    """

    def __init__(self, keys: KeyMap) -> None:
        self._pressed = keys.pressed
        self._pulses = {key: KeyPulse(keys.pulse_s) for _, key, _ in keys.pressed}
        if keys.steering_ramp is not None:
            self._pulses |= {name: KeyRamp(keys.steering_ramp, keys.pulse_s) for name in (keys.left, keys.right)}

    def step(self, controls: Controls, time_s: float) -> set[str]:
        """Return the keys that are down from now on.

        Args:
            controls: What is wanted from now on, on average.
            time_s: The time now, in seconds from any fixed moment; never less than before.
        """
        shares = {
            key: max(0.0, direction * AXIS_BY_NAME[axis].share(getattr(controls, axis)))
            for axis, key, direction in self._pressed
        }
        return {key for key, share in shares.items() if self._pulses[key].step(share, time_s)}
