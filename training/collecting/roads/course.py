"""The course of a road: bends and hills drawn from a seed, and a map of the ground around it."""

import math
from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt

STEP_M = 1.0
"""Distance between two stations of a road."""

_CELL_M = 2.0
_MARGIN_M = 70.0
_VERGE_M = 2.0  # flat ground beside the road
_ATTEMPTS = 60
_SHORTEST = 0.6  # a road that would meet itself may end at this share of the wanted length

Line = npt.NDArray[np.float64]
"""float64, shape (stations,)."""
Map = npt.NDArray[np.floating[Any]]
"""float32; one value or several for each point."""


@dataclass(frozen=True, slots=True)
class Road:
    """The middle of a road, station by station, ``STEP_M`` apart.

    x points right and y ahead where the heading is 0; headings and curvatures grow to the right, as steering does.

    Attributes:
        x: Metres.
        y: Metres.
        heading: rad.
        curvature: 1 / m, positive in a right bend.
        height: Metres.
        half_width: From the middle to the edge, metres.
    """

    x: Line
    y: Line
    heading: Line
    curvature: Line
    height: Line
    half_width: float

    @classmethod
    def from_curvature(cls, curvature: Line, half_width: float, height: Line | None = None) -> Self:
        """Lay a road from the origin, heading along y, through the given bends."""
        turned = np.concatenate(([0.0], np.cumsum((curvature[1:] + curvature[:-1]) / 2.0))) * STEP_M
        middle = (turned[1:] + turned[:-1]) / 2.0
        x = np.concatenate(([0.0], np.cumsum(np.sin(middle)))) * STEP_M
        y = np.concatenate(([0.0], np.cumsum(np.cos(middle)))) * STEP_M
        flat = np.zeros(len(curvature))
        return cls(x, y, turned, curvature, flat if height is None else height, half_width)

    @property
    def length_m(self) -> float:
        """The length from the first station to the last, metres."""
        return (len(self.x) - 1) * STEP_M

    def at(self, values: Line, s: float | Map) -> Line:
        """Return the stations' values at distances ``s`` along the road, metres; beyond an end, the end's value."""
        return np.asarray(np.interp(s, np.arange(len(values)) * STEP_M, values))

    def point(self, s: float | Map, lateral: float | Map = 0.0) -> tuple[Line, Line]:
        """Return x and y of points ``lateral`` metres right of the middle; the road goes on straight at its ends."""
        heading = self.at(self.heading, s)
        beyond = np.asarray(s) - np.clip(s, 0.0, self.length_m)
        sine, cosine = np.sin(heading), np.cos(heading)
        return (
            self.at(self.x, s) + beyond * sine + lateral * cosine,
            self.at(self.y, s) + beyond * cosine - lateral * sine,
        )

    def locate(self, x: float, y: float, near: float, reach_m: float = 25.0) -> tuple[float, float]:
        """Return where a point lies: metres along the road, and right of its middle.

        Args:
            x: Metres.
            y: Metres.
            near: Where along the road to search, metres.
            reach_m: How far from there to search.
        """
        first = int(np.clip(near - reach_m, 0, len(self.x) - 2))
        last = int(np.clip(near + reach_m, first + 2, len(self.x)))
        aside = np.hypot(self.x[first:last] - x, self.y[first:last] - y)
        station = first + int(aside.argmin())
        s = float(station) * STEP_M
        for _ in range(3):  # from the stations to the bend between them
            here_x, here_y = self.point(s)
            heading = float(self.at(self.heading, s))
            along = (x - float(here_x)) * math.sin(heading) + (y - float(here_y)) * math.cos(heading)
            right = (x - float(here_x)) * math.cos(heading) - (y - float(here_y)) * math.sin(heading)
            bend = 1.0 - float(self.at(self.curvature, s)) * right
            s += along / max(0.2, bend)
        return s, right


def read_map(values: Map, columns: Map, rows: Map) -> Map:
    """Return values between a map's cells, in the shape of ``columns``; beyond an edge, the edge's value."""
    found: Any = cv2.remap(
        values,
        columns.astype(np.float32, copy=False),
        rows.astype(np.float32, copy=False),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(found)


def make_road(rng: np.random.Generator, length_m: float) -> Road:
    """Draw a road that does not meet itself: straights and bends, hills, and a width.

    Args:
        rng: Source of the random numbers.
        length_m: Its length, roughly; at least 0.6 of this.
    """
    half_width = float(rng.uniform(2.5, 8.0))
    straightness = float(rng.beta(1.0, 1.5))  # 0: bend after bend, 1: a motorway
    clearance = 2.0 * half_width + 14.0
    longest: Road | None = None
    for _ in range(_ATTEMPTS):
        curvature = _draw_bends(rng, length_m, half_width, straightness)
        road = Road.from_curvature(curvature, half_width)
        free = _free_stations(road, clearance)
        if longest is None or free > len(longest.x):
            longest = Road.from_curvature(curvature[:free], half_width)
        if free >= _SHORTEST * len(curvature):
            break
    assert longest is not None
    height = _draw_hills(rng, len(longest.x))
    return Road.from_curvature(longest.curvature, half_width, height)


def _draw_bends(rng: np.random.Generator, length_m: float, half_width: float, straightness: float) -> Line:
    stations = round(length_m / STEP_M) + 1
    pieces: list[Line] = []
    count = 0
    tightest = half_width + 6.0
    while count < stations:
        straight = int(rng.exponential(15.0 + 120.0 * straightness))
        radius = math.exp(rng.uniform(math.log(tightest), math.log(80.0 + 500.0 * straightness)))
        angle = rng.uniform(0.15, min(2.6, 120.0 / radius + 0.3))
        side = 1.0 if rng.random() < 0.5 else -1.0
        bend = max(2, int(angle * radius / STEP_M))
        pieces += [np.zeros(straight), np.full(bend, side / radius)]
        count += straight + bend
    curvature = np.concatenate(pieces)[:stations]
    easing = int(rng.integers(5, 20))  # drivers turn the wheel gradually, and bends are built so
    window = np.hanning(easing + 2)[1:-1]
    padded = np.pad(curvature, (easing, easing), mode="edge")
    return np.convolve(padded, window / window.sum(), mode="same")[easing:-easing]


def _free_stations(road: Road, clearance_m: float) -> int:
    """Return how many stations, counted from the first, keep clear of all earlier ones."""
    every = 4
    x, y = road.x[::every], road.y[::every]
    apart = np.hypot(x[:, None] - x[None, :], y[:, None] - y[None, :])
    index = np.arange(len(x)) * every * STEP_M
    along = index[:, None] - index[None, :]
    meets = (apart < clearance_m) & (along > clearance_m * 2.2)
    rows = np.flatnonzero(meets.any(axis=1))
    return len(road.x) if len(rows) == 0 else int(rows[0] * every)


def _draw_hills(rng: np.random.Generator, stations: int) -> Line:
    s = np.arange(stations) * STEP_M
    height = np.zeros(stations)
    steepness = rng.choice([0.0, 0.03, 0.08, 0.14])
    for _ in range(4):
        wave = rng.uniform(60.0, 400.0)
        slope = steepness * rng.uniform(0.2, 1.0) / 2.0
        height += slope * wave / (2 * math.pi) * np.sin(2 * math.pi * s / wave + rng.uniform(0, 2 * math.pi))
    return height


class Ground:
    """The land around a road as a map of cells: how far along the road, how far aside, how high, how bright.

    Args:
        road: The road.
        rng: Source of the random numbers for the land's shape.
        banks: Slope of the land left and right of the road.
        roughness_m: Height of its bumps.
    """

    def __init__(
        self, road: Road, rng: np.random.Generator, banks: tuple[float, float] = (0.0, 0.0), roughness_m: float = 0.0
    ) -> None:
        self.road = road
        self._left = float(road.x.min()) - _MARGIN_M
        self._low = float(road.y.min()) - _MARGIN_M
        columns = math.ceil((float(road.x.max()) + _MARGIN_M - self._left) / _CELL_M) + 1
        rows = math.ceil((float(road.y.max()) + _MARGIN_M - self._low) / _CELL_M) + 1
        x = self._left + _CELL_M * np.arange(columns)[None, :].repeat(rows, axis=0)
        y = self._low + _CELL_M * np.arange(rows)[:, None].repeat(columns, axis=1)
        s, lateral = self._project(x, y)
        away = np.maximum(0.0, np.abs(lateral) - road.half_width - _VERGE_M)
        slope = np.where(lateral < 0.0, banks[0], banks[1])
        rise = slope * 25.0 * np.tanh(away / 25.0)
        coarse = rng.normal(0.0, 1.0, (max(2, rows // 8), max(2, columns // 8))).astype(np.float32)
        bumps = cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC)
        height = road.at(road.height, s) + rise + roughness_m * bumps * np.tanh(away / 12.0)
        slopes = np.gradient(height, _CELL_M)
        sun = rng.uniform(0.0, 2.0 * math.pi)
        shade = np.clip(1.0 + 0.8 * (slopes[1] * math.sin(sun) + slopes[0] * math.cos(sun)), 0.5, 1.5)
        self._maps: Map = np.dstack((s, lateral, shade)).astype(np.float32)
        self._height: Map = height.astype(np.float32)

    def look_up(self, x: Map, y: Map) -> Map:
        """Return metres along the road, metres right of it, and brightness, shape (..., 3), of points in metres."""
        columns, rows = self._cells(x, y)
        return read_map(self._maps, columns, rows)

    def height(self, x: Map, y: Map) -> Map:
        """Return heights in metres of points in metres, shape (rows, columns) as given."""
        columns, rows = self._cells(x, y)
        return read_map(self._height, columns, rows)

    def _cells(self, x: Map, y: Map) -> tuple[Map, Map]:
        return (x - self._left) / _CELL_M, (y - self._low) / _CELL_M

    def _project(self, x: Map, y: Map) -> tuple[Map, Map]:
        """Return metres along and right of the nearest stretch of road, for every cell."""
        road = self.road
        free = np.ones(x.shape, np.uint8)
        columns = np.round((road.x - self._left) / _CELL_M).astype(int)
        rows = np.round((road.y - self._low) / _CELL_M).astype(int)
        free[rows, columns] = 0
        _, labels = cv2.distanceTransformWithLabels(free, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL)
        stations = np.zeros(int(labels.max()) + 1)
        stations[labels[rows, columns]] = np.arange(len(road.x))
        s = stations[labels] * STEP_M
        lateral = np.zeros_like(s)
        for _ in range(4):  # from the nearest cell's station onto the line itself
            heading = road.at(road.heading, s)
            sine, cosine = np.sin(heading), np.cos(heading)
            dx, dy = x - road.at(road.x, s), y - road.at(road.y, s)
            lateral = dx * cosine - dy * sine
            bend = np.maximum(0.2, 1.0 - road.at(road.curvature, s) * lateral)
            s = np.clip(s + (dx * sine + dy * cosine) / bend, 0.0, road.length_m)
        return s, lateral
