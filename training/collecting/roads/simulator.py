"""The roads as a game that waits. Each seed is one road, driven once from its start to its end."""

import math
from pathlib import Path
from typing import Literal

import numpy as np

from agent.contract.controls import Controls
from agent.contract.observation import Pixels
from agent.games.base import DriveState, Outcome
from agent.games.profile_files import load_profile
from training.collecting.roads.car import TICK_S, Car
from training.collecting.roads.course import Ground, Road, make_road
from training.collecting.roads.picture import Painter
from training.collecting.roads.scenery import draw_scenery

FRAME_WIDTH_PX = 160
FRAME_HEIGHT_PX = 90
HOLD_TICKS = 5  # a decision is held for five ticks of 20 ms: ten decisions a second

PROFILE = load_profile(Path(__file__).with_name("roads.toml"))

Start = Literal["line", "anywhere"]
"""``line``: standing at the road's beginning. ``anywhere``: on it or beside it, at any heading and speed."""

_FIRST_M = 20.0  # of road before the start line
_LAST_M = 60.0  # ... and behind the finish, so that the road is seen to go on
_EDGE_M = 1.0  # the tyres grip this far beside the road
_LOST_M = 6.0  # a car that is this far beside the road, or this slow, for this long is put back onto it
_LOST_S = 3.0
_STANDING_M_S = 0.5
_RAIL_M = 0.8  # half of the car


class Roads:
    """One car on a road of its own, as a :class:`agent.games.base.Simulator`.

    Frames are uint8, shape (height_px, width_px, 3), BGR. The return is that of SuperTuxKart: 1000 for the whole
    road, less 5 for each second. A car that is lost for 3 s (6 m beside the road, or standing) is put back onto it.
    This counts as a rescue.

    Args:
        start: Where episodes begin.
        length_m: About how long a road is.
        limit_s: Seconds after which an episode ends.
        width_px: Width of the pictures.
        height_px: Height of the pictures.
    """

    profile = PROFILE
    tick_s = TICK_S

    def __init__(
        self,
        start: Start = "line",
        length_m: float = 900.0,
        limit_s: float = 120.0,
        width_px: int = FRAME_WIDTH_PX,
        height_px: int = FRAME_HEIGHT_PX,
    ) -> None:
        self._start = start
        self._length_m = length_m
        self._limit_s = limit_s
        self._size = (width_px, height_px)

    road: Road
    """Privileged: the road."""
    car: Car
    """Privileged: the car."""
    s: float
    """How far along the road the car is, metres; for experts and reports alone."""
    lateral: float
    """How far right of the road's middle the car is, metres; for experts and reports alone."""

    @property
    def state(self) -> DriveState:
        time_s = self._ticks * TICK_S
        return DriveState(
            time_s=time_s,
            episode_return=1000.0 * self._progress - 5.0 * time_s,
            progress=self._progress,
            outcome=self._outcome,
            speed=self.car.speed,
            telemetry={"yaw_rate": self.car.yaw_rate},
            figures={
                "rescues": float(self._rescues),
                "off_road_share": self._ticks_off_road / max(1, self._ticks),
            },
        )

    def reset(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 0])
        self.road = make_road(rng, self._length_m + _FIRST_M + _LAST_M)
        scenery = draw_scenery(self.road, np.random.default_rng([seed, 1]))
        self._ground = Ground(self.road, np.random.default_rng([seed, 2]), scenery.banks, scenery.roughness_m)
        self._painter = Painter(self.road, self._ground, scenery, *self._size)
        self._walls = scenery.walls_m
        self._finish_m = self.road.length_m - _LAST_M
        self._ticks = self._ticks_off_road = self._ticks_lost = self._rescues = 0
        self._progress = 0.0
        self._outcome: Outcome = "driving"
        self._place(np.random.default_rng([seed, 3]))

    def advance(self, controls: Controls, ticks: int = 1) -> None:
        for _ in range(ticks):
            if self._outcome != "driving":
                return
            self.car.step(controls, self._is_on_road(), self._slope())
            self._ticks += 1
            self._look()

    def render(self) -> Pixels:
        return self._painter.draw(self.car.x, self.car.y, self.car.heading, self._ticks * TICK_S)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def put(self, s: float, lateral: float, heading_error: float = 0.0, speed: float = 0.0) -> None:
        """Put the car at a place on the road, turned by ``heading_error`` rad to the right; for experts and tests."""
        x, y = self.road.point(s, lateral)
        heading = float(self.road.at(self.road.heading, s)) + heading_error
        self.car = Car(float(x), float(y), heading, speed)
        self.s, self.lateral = s, lateral

    def _place(self, rng: np.random.Generator) -> None:
        if self._start == "line":
            self.put(_FIRST_M, 0.0)
            return
        widths = self.road.half_width
        s = float(rng.uniform(_FIRST_M, max(_FIRST_M + 1.0, self._finish_m - 150.0)))
        kind = rng.choice(3, p=(0.3, 0.5, 0.2))
        if kind == 0:  # a standing start, somewhere on the road
            self.put(s, float(rng.uniform(-0.7, 0.7)) * widths, float(rng.normal(0.0, 0.1)))
        elif kind == 1:  # rolling, off the line
            self.put(s, float(rng.normal(0.0, 0.7)) * widths, float(rng.normal(0.0, 0.25)), float(rng.uniform(3, 24)))
        else:  # off the road, or turned across it
            lateral = float(rng.uniform(-1.0, 1.0)) * (widths + 6.0)
            self.put(s, lateral, float(rng.uniform(-1.4, 1.4)), float(rng.uniform(0.0, 12.0)))
        self._hold_by_walls()

    def _is_on_road(self) -> bool:
        return abs(self.lateral) < self.road.half_width + _EDGE_M

    def _slope(self) -> float:
        along = math.cos(self.car.heading - float(self.road.at(self.road.heading, self.s)))
        behind, ahead = self.road.at(self.road.height, np.array((self.s - 1.0, self.s + 1.0)))
        return float(ahead - behind) / 2.0 * along

    def _look(self) -> None:
        """Update the state of the drive for the car's new place."""
        self.s, self.lateral = self.road.locate(self.car.x, self.car.y, self.s)
        self._hold_by_walls()
        off_road = not self._is_on_road()
        self._ticks_off_road += off_road
        lost = abs(self.lateral) > self.road.half_width + _LOST_M or self.car.speed < _STANDING_M_S
        self._ticks_lost = self._ticks_lost + 1 if lost else 0
        if self._ticks_lost * TICK_S >= _LOST_S:
            self.put(self.s, 0.0)
            self._ticks_lost = 0
            self._rescues += 1
        self._progress = min(1.0, max(self._progress, (self.s - _FIRST_M) / (self._finish_m - _FIRST_M)))
        if self._progress >= 1.0:
            self._outcome = "lap"
        elif self._ticks * TICK_S >= self._limit_s - 1e-6:
            self._outcome = "timeout"

    def _hold_by_walls(self) -> None:
        left, right = self._walls
        held = min(right - _RAIL_M, max(_RAIL_M - left, self.lateral))
        if held != self.lateral:
            x, y = self.road.point(self.s, held)
            self.car.x, self.car.y, self.lateral = float(x), float(y), held
            self.car.scrape(float(self.road.at(self.road.heading, self.s)))
