"""Closed roads made from a seed: straights and bends, hills, kerbs where it bends, and what stands beside them.

The ground's axes: x to the east, y to the south, headings in radians growing to the right, offsets from the middle of
the road in metres, right positive.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

SPACING_M = 2.0
"""Between two points of the middle of the road; the lap is stretched to a whole number of them."""

HALF_WIDTH_M = 4.5
KERB_M = 0.8
"""How far a kerb reaches beyond the asphalt. Kerbs belong to the road."""

FENCE_M = 14.0
"""From the middle of the road to the fence, where there is one."""

LAP_M = 1500.0
_SMOOTH_M = 6.0
_LEAST_RADIUS_M = 17.0
_LEAST_APART_M = 2 * FENCE_M + 8.0
_LEAST_STRAIGHT_M = 70.0
_STEEPEST = 0.07
_KERBED = 1 / 130.0  # 1/m; bends that are sharper have kerbs
_WIDEST_GROUND_M = 70.0


@dataclass(frozen=True)
class Thing:
    """Something beside the road.

    Attributes:
        kind: ``tree``, ``bush``, ``post``, ``arrow``, ``house`` or ``board``.
        offset_m: From the middle of the road.
        size_m: Its height.
        shade: From 0 to 1, which of the colours of its kind.
    """

    kind: str
    offset_m: float
    size_m: float
    shade: float


@dataclass(frozen=True)
class Place:
    """Where something is, seen from the road.

    Attributes:
        index: The nearest of the road's points.
        position_m: Along the lap, from the line.
        offset_m: From the middle of the road, right positive.
        heading: Of the road there, in radians.
        height_m: Of the ground there.
        slope: Of the road there, in metres up for each metre along.
        curvature: Of the road there, 1/m, right positive.
    """

    index: int
    position_m: float
    offset_m: float
    heading: float
    height_m: float
    slope: float
    curvature: float


class Track:
    """A closed road.

    Args:
        seed: Any number from 0; the same one gives the same road.

    Attributes:
        seed: As given.
        middle: Float64 of shape (points, 2), metres.
        height: Float64 of shape (points,), metres.
        heading: Float64 of shape (points,), radians, growing along the lap without jumps.
        curvature: Float64 of shape (points,), 1/m, right positive.
        slope: Float64 of shape (points,).
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        rng = np.random.default_rng(seed)
        middle = _usable_loop(rng)
        self.middle = middle
        count = len(middle)
        step = np.roll(middle, -1, axis=0) - np.roll(middle, 1, axis=0)
        self.heading: Array = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
        self.curvature = _curvature(middle)
        along = 2 * np.pi * np.arange(count) / count
        waves = np.arange(1, 8)
        sizes, phases = rng.normal(size=7) / waves, rng.uniform(0, 2 * np.pi, 7)
        hills = (sizes * np.sin(np.outer(along, waves) + phases)).sum(axis=1)
        steepest = np.abs(_slope(hills)).max()
        self.height: Array = hills * (_STEEPEST / steepest)
        self.slope = _slope(self.height)
        self.things = _things(self, rng)

    @property
    def lap_m(self) -> float:
        """The length of a lap along the middle of the road."""
        return len(self.middle) * SPACING_M

    @cached_property
    def right(self) -> Array:
        """Unit vectors to the right of the road, float64 of shape (points, 2)."""
        return np.stack([-np.sin(self.heading), np.cos(self.heading)], axis=1)

    @cached_property
    def ground(self) -> Array:
        """How far the ground left and right of every point belongs to it, float64 of shape (points, 2), metres."""
        reach = np.full((len(self.middle), 2), _WIDEST_GROUND_M)
        numbers = np.arange(len(self.middle))
        every = 3  # a point of three is near enough, and soon done
        milestones = self.middle[::every]
        for side, sign in enumerate((-1.0, 1.0)):
            for offset_m in np.arange(_WIDEST_GROUND_M, HALF_WIDTH_M + KERB_M, -4.0):
                spots = self.middle + sign * offset_m * self.right
                gaps = np.square(spots[:, None, 0] - milestones[:, 0]) + np.square(spots[:, None, 1] - milestones[:, 1])
                apart = np.abs(gaps.argmin(axis=1) * every - numbers)
                foreign = np.minimum(apart, len(numbers) - apart) * SPACING_M > 12.0
                reach[foreign, side] = offset_m - 4.0
        return reach

    def is_kerbed(self, index: int) -> bool:
        """Return whether there is a kerb at a point."""
        return bool(abs(self.curvature[index]) > _KERBED)

    def locate(self, x_m: float, y_m: float, near: int | None = None) -> Place:
        """Return where a spot is.

        Args:
            x_m: To the east.
            y_m: To the south.
            near: The point it was at a moment ago; None looks along the whole lap.
        """
        count = len(self.middle)
        candidates = np.arange(count) if near is None else np.arange(near - 15, near + 16) % count
        gaps = self.middle[candidates] - (x_m, y_m)
        index = int(candidates[(gaps * gaps).sum(axis=1).argmin()])
        from_x, from_y = x_m - self.middle[index, 0], y_m - self.middle[index, 1]
        heading = float(self.heading[index])
        ahead_m = float(from_x * np.cos(heading) + from_y * np.sin(heading))
        ahead_m = min(SPACING_M / 2, max(-SPACING_M / 2, ahead_m))
        offset_m = float(-from_x * np.sin(heading) + from_y * np.cos(heading))
        position_m = (index * SPACING_M + ahead_m) % self.lap_m
        return Place(
            index,
            position_m,
            offset_m,
            heading + float(self.curvature[index]) * ahead_m,
            float(self.height[index] + self.slope[index] * ahead_m),
            float(self.slope[index]),
            float(self.curvature[index]),
        )

    def at(self, position_m: float) -> tuple[float, float, float]:
        """Return x, y and heading of the middle of the road at a position along the lap."""
        exact = position_m / SPACING_M
        index = int(exact) % len(self.middle)
        share = exact - int(exact)
        following = (index + 1) % len(self.middle)
        x_m, y_m = (1 - share) * self.middle[index] + share * self.middle[following]
        heading = float(self.heading[index] + share * self.curvature[index] * SPACING_M)
        return float(x_m), float(y_m), heading


# --- the road's course ------------------------------------------------------------------------------------------------


def _usable_loop(rng: np.random.Generator) -> Array:
    """Return points two metres apart, the first on a straight; loops that are too tight or touch are thrown away."""
    while True:
        loop = _loop(rng)
        if loop is None:
            continue
        curvature = _curvature(loop)
        first = _longest_straight(curvature)
        turned_left = -curvature[curvature < 0].sum() * SPACING_M
        turned_right = curvature[curvature > 0].sum() * SPACING_M
        if (
            np.abs(curvature).max() < 1 / _LEAST_RADIUS_M
            and first is not None
            and min(turned_left, turned_right) > np.pi / 2
            and _nearest_approach_m(loop) > _LEAST_APART_M
        ):
            return np.roll(loop, -first, axis=0)


def _loop(rng: np.random.Generator) -> Array | None:
    """Return a polygon with its corners rounded, of a lap's length; None if the corners do not fit."""
    count = int(rng.integers(8, 13))
    angles = 2 * np.pi * (np.arange(count) + rng.uniform(-0.3, 0.3, count)) / count
    if rng.random() < 0.5:
        angles = -angles
    corners = rng.uniform(0.5, 1.0, count)[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    radii = rng.uniform(22.0, 75.0, count)
    scale = 250.0
    points: Array | None = corners
    for _ in range(6):
        points = _rounded(corners * scale, radii)
        if points is None:
            return None
        scale *= LAP_M / _length_m(points)
    assert points is not None
    resampled = _resampled(points, round(LAP_M / SPACING_M))
    waves = np.fft.rfftfreq(len(resampled), SPACING_M)
    smoothing = np.exp(-2 * (np.pi * waves * _SMOOTH_M) ** 2)[:, None]
    smooth = np.fft.irfft(np.fft.rfft(resampled, axis=0) * smoothing, len(resampled), axis=0)
    smooth *= LAP_M / _length_m(smooth)
    return _resampled(smooth, len(smooth))


def _rounded(corners: Array, radii: Array) -> Array | None:
    before, after = np.roll(corners, 1, axis=0) - corners, np.roll(corners, -1, axis=0) - corners
    lengths = np.linalg.norm(after, axis=1)
    room = 0.48 * np.minimum(lengths, np.roll(lengths, 1))
    points: list[Array] = []
    for corner, to_before, to_after, radius, most in zip(corners, before, after, radii, room, strict=True):
        back, forth = to_before / np.linalg.norm(to_before), to_after / np.linalg.norm(to_after)
        turn = np.pi - np.arccos(np.clip(back @ forth, -1, 1))
        if turn > 2.4:
            return None
        tangent = min(most, radius * np.tan(turn / 2))
        if turn < 0.02:
            points.append(corner[None])
            continue
        radius = tangent / np.tan(turn / 2)
        inwards = (back + forth) / np.linalg.norm(back + forth)
        centre = corner + inwards * np.hypot(radius, tangent)
        first, last = corner + back * tangent - centre, corner + forth * tangent - centre
        start = np.arctan2(first[1], first[0])
        swept = np.arctan2(first[0] * last[1] - first[1] * last[0], first @ last)
        bows = start + swept * np.linspace(0, 1, 24)
        points.append(centre + radius * np.stack([np.cos(bows), np.sin(bows)], axis=1))
    return np.concatenate(points)


def _length_m(points: Array) -> float:
    return float(np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1).sum())


def _resampled(points: Array, count: int) -> Array:
    closed = np.concatenate([points, points[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    wanted = np.linspace(0, along[-1], count, endpoint=False)
    return np.stack([np.interp(wanted, along, closed[:, axis]) for axis in (0, 1)], axis=1)


def _curvature(points: Array) -> Array:
    back, forth = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turn = np.arctan2(back[:, 0] * forth[:, 1] - back[:, 1] * forth[:, 0], (back * forth).sum(axis=1))
    return np.asarray(turn / SPACING_M)


def _slope(height: Array) -> Array:
    return np.asarray((np.roll(height, -1) - np.roll(height, 1)) / (2 * SPACING_M))


def _longest_straight(curvature: Array) -> int | None:
    """Return the point a quarter into the longest straight, None if it is short."""
    straight = np.abs(curvature) < 1 / 400.0
    bends = np.flatnonzero(~straight)
    gaps = np.diff(np.concatenate([bends, bends[:1] + len(curvature)]))
    longest = int(gaps.argmax())
    if gaps[longest] * SPACING_M < _LEAST_STRAIGHT_M:
        return None
    return int(bends[longest] + gaps[longest] // 4) % len(curvature)


def _nearest_approach_m(points: Array) -> float:
    """Return how near the road comes to a part of itself that is more than 80 m away along the lap."""
    points = points[::3]
    numbers = np.arange(len(points))
    apart = np.abs(numbers[:, None] - numbers[None])
    apart = np.minimum(apart, len(points) - apart) * 3 * SPACING_M
    gaps = np.linalg.norm(points[:, None] - points[None], axis=2)
    return float(gaps[apart > 80.0].min())


# --- beside the road --------------------------------------------------------------------------------------------------


def _things(track: Track, rng: np.random.Generator) -> dict[int, list[Thing]]:
    """Return what stands beside the road, by the point it stands at."""
    things: dict[int, list[Thing]] = {}
    wooded = np.convolve(rng.random(len(track.middle)), np.ones(25) / 25, "same") > 0.5
    for index in range(len(track.middle)):
        here: list[Thing] = []
        for side, sign in enumerate((-1.0, 1.0)):
            room_m = float(track.ground[index, side])
            near_m = FENCE_M + 1.0
            if room_m > near_m + 1.0 and rng.random() < (0.3 if wooded[index] else 0.05):
                kind = str(rng.choice(["tree", "tree", "tree", "bush", "house"], p=[0.3, 0.3, 0.2, 0.17, 0.03]))
                offset_m = sign * float(rng.uniform(near_m, min(room_m, 45.0)))
                size_m = {"tree": rng.uniform(4, 11), "bush": rng.uniform(0.8, 2), "house": rng.uniform(5, 8)}[kind]
                here.append(Thing(kind, offset_m, float(size_m), float(rng.random())))
        curvature = float(track.curvature[index])
        outside = -1.0 if curvature > 0 else 1.0
        if abs(curvature) > 1 / 60.0 and index % 6 == 0:
            here.append(Thing("arrow", outside * (HALF_WIDTH_M + 3.5), 1.4, 1.0 if curvature > 0 else 0.0))
        elif index % 15 == 0:
            here += [Thing("post", sign * (HALF_WIDTH_M + 1.6), 1.0, 0.0) for sign in (-1.0, 1.0)]
        if index % 90 == 45:
            here.append(Thing("board", float(rng.choice([-1.0, 1.0])) * (HALF_WIDTH_M + 6.0), 3.0, float(rng.random())))
        if here:
            things[index] = sorted(here, key=lambda thing: -abs(thing.offset_m))
    return things
