"""A person who drives the game by its four keys: late, with unsteady hands, not always on the line; and gets back.

What they know of road and car they know from the game's log. No picture is looked at.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .car import WHEEL_BACK_PER_S, WHEEL_PER_S, WHEELBASE_M, lock_at
from .track import HALF_WIDTH_M, SPACING_M, Track

Row = Mapping[str, Any]
"""A line of the game's log."""

_GRAVITY = 9.81
_STANDS = 0.5  # m/s


@dataclass(frozen=True)
class Manner:
    """How somebody drives.

    Attributes:
        cruise: Speed on a straight, m/s.
        sideways: Acceleration to the side that bends are taken with, m/s^2. The road gives about 9.
        late_s: From seeing to doing.
        decide_s: A key is held or let go of at least so long.
        unsteady: Standard deviation of the hands' error, of the steering wheel's way.
        wander_m: Standard deviation of where on the road is driven.
        swerves_per_minute: How often the car is driven off its line on purpose.
        swerve_m: How far at most.
        wait_s: Before the first move of a race, from and to.
    """

    cruise: float = 21.0
    sideways: float = 5.0
    late_s: float = 0.12
    decide_s: float = 0.07
    unsteady: float = 0.12
    wander_m: float = 0.5
    swerves_per_minute: float = 2.0
    swerve_m: float = 5.0
    wait_s: tuple[float, float] = (0.5, 2.5)


CAREFUL = Manner(cruise=16.0, unsteady=0.06, wander_m=0.2, swerves_per_minute=0.0, wait_s=(0.2, 0.4))


class Driver:
    """Decides which of the keys ``left``, ``right``, ``up`` and ``down`` are held.

    Args:
        track: Where they drive.
        manner: How.
        seed: Of their errors.
    """

    def __init__(self, track: Track, manner: Manner, seed: int) -> None:
        self._track = track
        self._manner = manner
        self._rng = np.random.default_rng([seed, 7])
        self._seen: deque[tuple[float, Row]] = deque()
        self._held: frozenset[str] = frozenset()
        self._decided_s = -math.inf
        self._began_s: float | None = None
        self._waits_s = 0.0
        self._error = self._line_m = 0.0
        self._swerve_until_s = -math.inf
        self._swerve_m = 0.0
        self._stood_since_s: float | None = None
        self._reverse_until_s = -math.inf
        self._reversed_at_s = -math.inf

    def sit_down(self, now_s: float) -> None:
        """Begin anew: nothing is held or remembered, and the first move takes a moment."""
        self._seen.clear()
        self._held = frozenset()
        self._began_s = now_s
        self._waits_s = float(self._rng.uniform(*self._manner.wait_s))
        self._stood_since_s = None
        self._swerve_until_s = self._reverse_until_s = self._decided_s = -math.inf

    def decide(self, row: Row, now_s: float) -> frozenset[str]:
        """Return the keys that are held from now on.

        Args:
            row: The newest line of the log.
            now_s: Seconds since anything fixed.
        """
        if self._began_s is None:
            self.sit_down(now_s)
        assert self._began_s is not None
        self._seen.append((now_s, row))
        while len(self._seen) > 1 and self._seen[1][0] <= now_s - self._manner.late_s:
            self._seen.popleft()
        if now_s - self._decided_s < self._manner.decide_s or now_s - self._began_s < self._waits_s:
            return self._held
        elapsed_s = min(0.5, now_s - self._decided_s) if math.isfinite(self._decided_s) else self._manner.decide_s
        self._decided_s = now_s
        self._err(elapsed_s, now_s)
        seen_s, old = self._seen[0]
        self._held = self._reversing(old, now_s) or self._keys(old, float(row["steering"]), now_s - seen_s, now_s)
        return self._held

    def _err(self, elapsed_s: float, now_s: float) -> None:
        """Let the hands and the line wander, and begin or end a swerve."""
        for name, spread, slowness_s in (
            ("_error", self._manner.unsteady, 0.4),
            ("_line_m", self._manner.wander_m, 4.0),
        ):
            kept = math.exp(-elapsed_s / slowness_s)
            fresh = spread * math.sqrt(1 - kept * kept) * float(self._rng.normal())
            setattr(self, name, kept * getattr(self, name) + fresh)
        if now_s > self._swerve_until_s:
            self._swerve_m = 0.0
            if self._rng.random() < self._manner.swerves_per_minute / 60 * elapsed_s:
                most = self._manner.swerve_m
                self._swerve_m = float(self._rng.uniform(0.5 * most, most) * self._rng.choice([-1, 1]))
                self._swerve_until_s = now_s + float(self._rng.uniform(1.0, 1.8))

    def _reversing(self, row: Row, now_s: float) -> frozenset[str]:
        """Return the keys that back the car off what it stands at; none if it does not stand."""
        if now_s < self._reverse_until_s:
            # Backwards the nose goes the other way; it is to point along the road again.
            angle = row["road_angle"]
            return frozenset({"down", "right" if angle > 0 else "left"} if abs(angle) > 0.15 else {"down"})
        if abs(row["speed"]) > _STANDS or "up" not in self._held:
            self._stood_since_s = None
            return frozenset()
        if self._stood_since_s is None:
            self._stood_since_s = now_s
        if now_s - self._stood_since_s > 1.2:
            self._stood_since_s = None
            self._reverse_until_s = now_s + float(self._rng.uniform(2.0, 3.2))
        return frozenset()

    def _keys(self, row: Row, wheel: float, late_s: float, now_s: float) -> frozenset[str]:
        speed = float(row["speed"])
        position_m = row["position_m"] + max(0.0, speed) * late_s
        offset_m = row["offset_m"] + speed * late_s * math.sin(row["road_angle"])
        wanted = self._wanted_wheel(row, position_m, offset_m, speed) + self._error
        keys = {self._steering_key(wheel, wanted)} - {""}
        target = self._target_speed(row, position_m, speed)
        if speed < target - (0.2 if "up" in self._held else 0.9):
            keys.add("up")
        elif speed > target + (0.8 if "down" in self._held else 2.0) and speed > 2.0:
            keys.add("down")
        return frozenset(keys)

    def _wanted_wheel(self, row: Row, position_m: float, offset_m: float, speed: float) -> float:
        """Return where the steering wheel should be for the car to pass through a point ahead on its line."""
        look_m = 5.0 + 0.55 * max(0.0, speed)
        x_m, y_m, heading = self._track.at(position_m % self._track.lap_m)
        here_x, here_y = x_m - offset_m * math.sin(heading), y_m + offset_m * math.cos(heading)
        there_x, there_y, there = self._track.at((position_m + look_m) % self._track.lap_m)
        line_m = self._line_m + self._swerve_m
        to_x = there_x - line_m * math.sin(there) - here_x
        to_y = there_y + line_m * math.cos(there) - here_y
        bearing = math.remainder(math.atan2(to_y, to_x) - heading - row["road_angle"], math.tau)
        if abs(bearing) > 1.5:
            return math.copysign(1.0, bearing)
        curvature = 2 * math.sin(bearing) / max(3.0, math.hypot(to_x, to_y))
        angle = math.atan(curvature * WHEELBASE_M) * (1 + speed * speed / 900)  # tyres slip more the faster
        return max(-1.0, min(1.0, angle / lock_at(speed)))

    def _steering_key(self, wheel: float, wanted: float) -> str:
        """Return which key, or none, brings the wheel nearest to where it should be until the next decision."""
        span_s = self._manner.decide_s
        after = {"": math.copysign(max(0.0, abs(wheel) - WHEEL_BACK_PER_S * span_s), wheel)}
        for key, sign in (("left", -1.0), ("right", 1.0)):
            rate = WHEEL_BACK_PER_S if sign * wheel < 0 else WHEEL_PER_S
            after[key] = max(-1.0, min(1.0, wheel + sign * rate * span_s))
        return min(after, key=lambda key: abs(after[key] - wanted) + (0.03 if key else 0.0))

    def _target_speed(self, row: Row, position_m: float, speed: float) -> float:
        manner = self._manner
        if abs(row["offset_m"]) > HALF_WIDTH_M + 1.0 or abs(row["road_angle"]) > 0.5:
            return 7.0
        ahead_m = np.arange(0.0, 15.0 + speed * speed / 8.0, SPACING_M)
        points = ((position_m + ahead_m) / SPACING_M).astype(int) % len(self._track.middle)
        bends = np.maximum(np.abs(self._track.curvature[points]), 1e-4)
        could = np.sqrt(manner.sideways / bends + 2 * 4.5 * np.maximum(0.0, ahead_m - 4.0))
        return float(min(manner.cruise, could.min()))
