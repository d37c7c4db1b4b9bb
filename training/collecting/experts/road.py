"""Steering along the middle of SuperTuxKart's road: geometry alone, without the game."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

BEARINGS_M = (10, 20, 30, 45)
"""How far ahead along the road the telemetry ``bearing_10`` to ``bearing_45`` looks, metres."""


@dataclass(frozen=True, slots=True)
class Pursuit:
    """Pure pursuit of the middle of the road.

    It drove one lap from the grid on each of the 15 tracks that may be trained on. With the defaults, this took 8,359
    decisions and 1 rescue; with a gain of 1.0, 8,519 and 3; with 2.5, 8,319 and none. The built-in driver without
    drift took 8,283 and 2. The gain is 2, not 2.5: a wheel that is not always at its stop is easier to learn.

    Attributes:
        reach_m: Distance to the point that the kart steers at, when it stands.
        reach_s: What each metre per second adds to it.
        gain: Factor on the steering that the arc to that point needs.
        radius_m: Radius of the tightest arc, when the kart stands.
        radius_s: What each metre per second adds to it (the game lets a fast kart turn its wheels less).
    """

    reach_m: float = 8.0
    reach_s: float = 0.5
    gain: float = 2.0
    radius_m: float = 3.0
    radius_s: float = 0.8

    def steer(self, telemetry: Mapping[str, float], speed: float) -> float:
        """Return the steering, [-1, 1], positive to the right.

        Args:
            telemetry: ``bearing_10`` to ``bearing_45``: where the middle of the road lies, rad, positive to the right.
            speed: m/s; backwards counts as standing.
        """
        speed = max(0.0, speed)
        reach = min(max(self.reach_m + self.reach_s * speed, BEARINGS_M[0]), BEARINGS_M[-1])
        bearing = float(np.interp(reach, BEARINGS_M, [telemetry[f"bearing_{metres}"] for metres in BEARINGS_M]))
        bearing = min(max(bearing, -math.pi / 2), math.pi / 2)  # to a point behind the kart, it turns at full lock
        asked = (self.radius_m + self.radius_s * speed) * 2.0 * math.sin(bearing) / reach
        return min(1.0, max(-1.0, self.gain * asked))
