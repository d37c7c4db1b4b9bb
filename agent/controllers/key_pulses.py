"""Analogue controls on keys that are up or down: how long each is held."""

import math

from agent.contract.profile import SteeringRamp

_LEAST_SHARE = 0.05  # a key is not tapped for less than this share of the time, nor let go of for less

# Of a KeyRamp: over how long it looks back, and the most that counts. From a search on games of 30 to 60 pictures a
# second with SuperTuxKart's ramp, for the least error of the mean over 100 ms.
_OWED_OVER_S = 0.1
_MOST_OWED_S = 0.03
# The same of a wheel that is back in the middle within a pulse, as TORCS' is: with less, 0.7 asked for was 0.42 played.
_MOST_OWED_AT_ONCE_S = 0.07


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
