"""What a camera on the hood of the car sees, drawn with polygons: 4 ms a picture of 640 x 360 px on one core."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pygame

from .track import FENCE_M, HALF_WIDTH_M, KERB_M, Array, Thing, Track

Colour = tuple[int, int, int]

_EYE_M = 1.25
_FIELD_OF_VIEW = math.radians(72)  # from left to right
_TILT = math.radians(-3.0)
_NEAR_M = 0.6
_SEEN_M = 260.0
_HAZE_STEPS = 12
_LINE_M = 0.16
_PANORAMA = 4  # how many pictures wide the surroundings are; they come round exactly once

# Offsets of the lines along the road whose points are projected. The outermost are each point's own.
_OFFSETS = (
    -HALF_WIDTH_M - KERB_M,
    -HALF_WIDTH_M,
    -HALF_WIDTH_M + 0.25,
    -HALF_WIDTH_M + 0.25 + _LINE_M,
    -_LINE_M / 2,
    _LINE_M / 2,
    HALF_WIDTH_M - 0.25 - _LINE_M,
    HALF_WIDTH_M - 0.25,
    HALF_WIDTH_M,
    HALF_WIDTH_M + KERB_M,
)


@dataclass(frozen=True)
class Colours:
    """What a place looks like; every track has its own."""

    sky: Colour
    haze: Colour
    far: Colour
    grass: tuple[Colour, Colour]
    asphalt: tuple[Colour, Colour]
    line: Colour
    kerb: tuple[Colour, Colour]
    leaves: tuple[Colour, Colour, Colour]


def colours_of(seed: int) -> Colours:
    """Return a track's colours."""
    rng = np.random.default_rng([seed, 1])

    def around(colour: Colour, spread: int) -> Colour:
        red, green, blue = (int(np.clip(value + rng.integers(-spread, spread + 1), 0, 255)) for value in colour)
        return red, green, blue

    ground: Colour = ((72, 118, 52), (106, 120, 62), (150, 134, 88))[int(rng.integers(3))]
    grass = around(ground, 14)
    grey = int(rng.integers(70, 112))
    return Colours(
        sky=around((96, 150, 214), 22),
        haze=around((190, 205, 216), 14),
        far=around((96, 118, 120), 16),
        grass=(grass, _mixed(grass, (0, 0, 0), 0.1)),
        asphalt=((grey, grey, grey + 3), (grey - 6, grey - 6, grey - 4)),
        line=(232, 232, 226),
        kerb=(around((196, 40, 36), 16), (230, 228, 224)),
        leaves=(around((38, 84, 40), 12), around((64, 104, 44), 14), around((92, 92, 40), 16)),
    )


class Painter:
    """Draws a track's pictures.

    Args:
        track: What there is to see.
        walls: Whether the fence stands.
    """

    def __init__(self, track: Track, walls: bool = True) -> None:
        self._track = track
        self._walls = walls
        self._colours = colours_of(track.seed)
        self._hazed: dict[tuple[Colour, int], Colour] = {}
        self._lines = _lines(track)
        self._fenced = track.ground >= FENCE_M
        everything = [(index, thing) for index, things in track.things.items() for thing in things]
        self._feet = np.array([_spots(track, thing.offset_m, 0.0)[index] for index, thing in everything])
        self._things: dict[int, list[tuple[int, Thing]]] = {}
        for number, (index, thing) in enumerate(everything):
            self._things.setdefault(index, []).append((number, thing))
        self._surroundings: pygame.Surface | None = None

    def draw(self, picture: pygame.Surface, ground: tuple[float, float, float], heading: float, tilt: float) -> None:
        """Draw what is seen.

        Args:
            picture: Of any size; is drawn over as a whole.
            ground: x, y and height of the ground below the camera, metres.
            heading: Where it looks, radians.
            tilt: How far it looks up, radians.
        """
        x_m, y_m, height_m = ground
        view = _View(picture.get_size(), (x_m, y_m, height_m + _EYE_M), heading, tilt + _TILT)
        self._draw_surroundings(picture, view)
        strips = self._strips(view)
        numbers = sorted({number for strip in strips for number in strip[1:]})
        turned = view.turned(self._lines[numbers])
        points = view.points(turned).tolist()
        feet = view.turned(self._feet)
        feet[:, :2] = view.points(feet)
        where = feet.tolist()
        ends = {number: _End(*end) for number, *end in zip(numbers, turned, points, strict=True)}
        for away_m, first, last in strips:
            haze = min(_HAZE_STEPS - 1, int(_HAZE_STEPS * 0.75 * away_m / _SEEN_M))
            self._draw_strip(_Strip(picture, view, ends[first], ends[last]), away_m, first, last, haze)
            for index in range(first, first + (last - first) % len(self._track.middle)):
                for number, thing in self._things.get(index, ()):
                    self._draw_thing(picture, view, thing, where[number], haze)

    def _strips(self, view: "_View") -> list[tuple[float, int, int]]:
        """Return how far away strips of ground are and the points between which they lie, the farthest first."""
        count = len(self._track.middle)
        to_x, to_y = self._track.middle[:, 0] - view.eye[0], self._track.middle[:, 1] - view.eye[1]
        ahead_m = to_x * view.ahead[0] + to_y * view.ahead[1]
        away = np.hypot(to_x, to_y)
        seen = ((away < _SEEN_M) & (ahead_m > -12.0) & (ahead_m > 0.35 * away - 80.0)).tolist()
        away_m: list[float] = away.tolist()
        strips = []
        index = 0
        while index < count:
            step = 1 if away_m[index] < 40 else 2 if away_m[index] < 100 else 4
            step = step if index % step == 0 else 1
            following = (index + step) % count
            if seen[index] or seen[following]:
                strips.append((max(away_m[index], away_m[following]), index, following))
            index += step
        strips.sort(reverse=True)
        return strips

    def _draw_strip(self, strip: "_Strip", away_m: float, first: int, last: int, haze: int) -> None:
        if strip.is_unseen:
            return
        colours = self._colours
        grass = self._haze(colours.grass[(first // 8) % 2], haze)
        kerbed = self._track.is_kerbed(first)
        strip.fill(0, 1 if kerbed else 2, grass)
        strip.fill(10 if kerbed else 9, 11, grass)
        if kerbed:
            kerb = self._haze(colours.kerb[(first // 2) % 2], haze)
            strip.fill(1, 2, kerb)
            strip.fill(9, 10, kerb)
        line = self._haze(colours.line, haze)
        if first == 0 or last == 0:
            strip.fill(2, 9, line)
        else:
            strip.fill(2, 9, self._haze(colours.asphalt[(first // 5) % 2], haze))
            if away_m < 110:
                strip.fill(3, 4, line)
                strip.fill(7, 8, line)
                if first % 6 < 3:
                    strip.fill(5, 6, line)
        if self._walls and away_m < 180:
            fence = self._haze((168, 172, 176) if (first // 2) % 2 else (150, 154, 160), haze)
            for side, low in enumerate((12, 14)):
                if self._fenced[first, side] and self._fenced[last, side]:
                    strip.fill(low, low + 1, fence)

    def _draw_thing(self, picture: pygame.Surface, view: "_View", thing: Thing, where: list[float], haze: int) -> None:
        x, y, away_m = where
        if away_m < 1.5:
            return
        high = thing.size_m * view.scale / away_m
        if high < 1.5 or x < -high * 2 or x > picture.get_width() + high * 2:
            return
        draw = {
            "tree": self._draw_tree,
            "bush": self._draw_bush,
            "post": self._draw_post,
            "arrow": self._draw_arrow,
            "house": self._draw_house,
            "board": self._draw_board,
        }[thing.kind]
        draw(picture, x, y, high, thing.shade, haze)

    def _draw_tree(self, picture: pygame.Surface, x: float, y: float, high: float, shade: float, haze: int) -> None:
        leaves = self._haze(self._colours.leaves[int(shade * 2.99)], haze)
        trunk = self._haze((74, 56, 40), haze)
        pygame.draw.rect(picture, trunk, (x - high * 0.04, y - high * 0.35, max(1.0, high * 0.08), high * 0.35))
        if shade < 0.5:
            for low, wide in ((0.2, 0.3), (0.5, 0.22)):
                foot = y - high * low
                pygame.draw.polygon(
                    picture, leaves, [(x - high * wide, foot), (x + high * wide, foot), (x, foot - high * 0.5)]
                )
        else:
            pygame.draw.circle(picture, leaves, (x, y - high * 0.65), max(1.0, high * 0.33))

    def _draw_bush(self, picture: pygame.Surface, x: float, y: float, high: float, shade: float, haze: int) -> None:
        leaves = self._haze(self._colours.leaves[int(shade * 2.99)], haze)
        pygame.draw.ellipse(picture, leaves, (x - high * 0.8, y - high, high * 1.6, high))

    def _draw_post(self, picture: pygame.Surface, x: float, y: float, high: float, shade: float, haze: int) -> None:
        wide = max(1.0, high * 0.12)
        pygame.draw.rect(picture, self._haze((226, 226, 222), haze), (x - wide / 2, y - high, wide, high))
        pygame.draw.rect(picture, self._haze((40, 40, 44), haze), (x - wide / 2, y - high * 0.8, wide, high * 0.2))

    def _draw_arrow(self, picture: pygame.Surface, x: float, y: float, high: float, shade: float, haze: int) -> None:
        sign = 1 if shade > 0.5 else -1
        wide = high * 0.55
        pygame.draw.rect(picture, self._haze((206, 44, 40), haze), (x - wide, y - high, 2 * wide, high * 0.7))
        if high > 8:
            tip, tail, middle = x + sign * wide * 0.6, x - sign * wide * 0.4, y - high * 0.65
            corners = [(tail, middle - high * 0.25), (tip, middle), (tail, middle + high * 0.25)]
            pygame.draw.lines(picture, self._haze((240, 240, 236), haze), False, corners, max(1, int(high * 0.12)))

    def _draw_house(self, picture: pygame.Surface, x: float, y: float, high: float, shade: float, haze: int) -> None:
        wide = high * 0.8
        walls: Colour = (200, 190, 168) if shade < 0.5 else (176, 150, 128)
        pygame.draw.rect(picture, self._haze(walls, haze), (x - wide, y - high * 0.6, 2 * wide, high * 0.6))
        roof = [(x - wide * 1.1, y - high * 0.6), (x + wide * 1.1, y - high * 0.6), (x, y - high)]
        pygame.draw.polygon(picture, self._haze((126, 66, 52), haze), roof)

    def _draw_board(self, picture: pygame.Surface, x: float, y: float, high: float, shade: float, haze: int) -> None:
        wide = high * 0.7
        face: Colour = ((40, 88, 160), (216, 176, 40), (60, 130, 80))[int(shade * 2.99)]
        pygame.draw.rect(picture, self._haze((90, 90, 94), haze), (x - high * 0.03, y - high, high * 0.06, high))
        pygame.draw.rect(picture, self._haze(face, haze), (x - wide, y - high, 2 * wide, high * 0.5))

    def _draw_surroundings(self, picture: pygame.Surface, view: "_View") -> None:
        width, height = picture.get_size()
        if self._surroundings is None or self._surroundings.get_width() != width * _PANORAMA:
            self._surroundings = _surroundings((width, height), self._colours, self._track.seed)
        panorama = self._surroundings
        left = int(view.heading / math.tau * panorama.get_width()) % panorama.get_width()
        horizon = round(view.horizon)
        picture.fill(self._colours.sky)
        picture.fill(self._haze(self._colours.grass[0], 7), (0, max(0, horizon), width, height))
        for shift in (0, panorama.get_width()):
            picture.blit(panorama, (shift - left, horizon - panorama.get_height() + 1))

    def _haze(self, colour: Colour, steps: int) -> Colour:
        key = (colour, steps)
        if key not in self._hazed:
            self._hazed[key] = _mixed(colour, self._colours.haze, steps / _HAZE_STEPS)
        return self._hazed[key]


class _View:
    """Where the camera is, and where the world's points are in its picture."""

    def __init__(self, size: tuple[int, int], eye: tuple[float, float, float], heading: float, tilt: float) -> None:
        self.width, self.height = size
        self.eye = eye
        self.heading = heading
        self.scale = self.width / 2 / math.tan(_FIELD_OF_VIEW / 2)
        self.ahead = (math.cos(heading), math.sin(heading))
        cos, sin = math.cos(tilt), math.sin(tilt)
        self.horizon = self.height / 2 + self.scale * math.tan(tilt)
        right = (-self.ahead[1], self.ahead[0], 0.0)
        forward = (self.ahead[0] * cos, self.ahead[1] * cos, sin)
        down = (self.ahead[0] * sin, self.ahead[1] * sin, -cos)
        self._turn = np.array([right, down, forward]).T
        self._middle = np.array([self.width / 2, self.height / 2])

    def turned(self, points: Array) -> Array:
        """Return points of the world, shape (..., 3), as metres to the right, down and ahead of the camera."""
        return np.asarray((points - self.eye) @ self._turn)

    def points(self, turned: Array) -> Array:
        """Return where turned points are in the picture, shape (..., 2); right only for those ahead."""
        return np.asarray(self._middle + self.scale * turned[..., :2] / np.maximum(turned[..., 2:], _NEAR_M))


class _End:
    """One of the two lines across the road that a strip lies between."""

    def __init__(self, turned: Array, points: list[list[float]]) -> None:
        self.turned = turned  # shape (lines, 3)
        self.points = points
        self.is_ahead = bool(turned[:, 2].min() > _NEAR_M)
        self.is_behind = bool(turned[:, 2].max() <= _NEAR_M)
        self.left = min(points[0][0], points[11][0])
        self.right = max(points[0][0], points[11][0])


class _Strip:
    """The ground between two lines across the road, and the fences on it."""

    def __init__(self, picture: pygame.Surface, view: _View, first: _End, last: _End) -> None:
        self._picture = picture
        self._view = view
        self._first, self._last = first, last
        self._is_ahead = first.is_ahead and last.is_ahead
        beside = max(first.right, last.right) < 0 or min(first.left, last.left) > view.width
        self.is_unseen = (first.is_behind and last.is_behind) or (self._is_ahead and beside)

    def fill(self, left: int, right: int, colour: Colour) -> None:
        """Fill it between two of its lines along the road; what is behind the camera is cut off."""
        first, last = self._first, self._last
        if self._is_ahead:
            points = [first.points[left], first.points[right], last.points[right], last.points[left]]
        else:
            corners = [first.turned[left], first.turned[right], last.turned[right], last.turned[left]]
            cut = _cut(corners)
            if not cut:
                return
            points = self._view.points(np.array(cut)).tolist()
        pygame.draw.polygon(self._picture, colour, points)


def _cut(corners: Sequence[Array]) -> list[Array]:
    """Return what of a polygon is ahead of the near plane."""
    kept: list[Array] = []
    for corner, following in zip(corners, [*corners[1:], corners[0]], strict=True):
        if corner[2] > _NEAR_M:
            kept.append(corner)
        if (corner[2] > _NEAR_M) != (following[2] > _NEAR_M):
            share = (_NEAR_M - corner[2]) / (following[2] - corner[2])
            kept.append(corner + share * (following - corner))
    return kept


def _lines(track: Track) -> Array:
    """Return the lines along the road whose points are drawn, float64 of shape (points, lines, 3), metres.

    From left to right: the ground's end, kerb, asphalt, the painted lines and so on; then feet and tops of the fences.
    """
    ground = track.ground
    lines = [_spots(track, -ground[:, 0], 0.0)]
    lines += [_spots(track, offset_m, 0.0) for offset_m in _OFFSETS]
    lines += [_spots(track, ground[:, 1], 0.0)]
    lines += [_spots(track, sign * FENCE_M, above_m) for sign in (-1.0, 1.0) for above_m in (0.35, 0.8)]
    return np.stack(lines, axis=1)


def _spots(track: Track, offset_m: Array | float, above_m: float) -> Array:
    """Return the spots at an offset from each of the road's points, shape (points, 3)."""
    ways = track.middle + np.reshape(offset_m, (-1, 1)) * track.right
    return np.concatenate([ways, track.height[:, None] + above_m], axis=1)


def _mixed(colour: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def _surroundings(size: tuple[int, int], colours: Colours, seed: int) -> pygame.Surface:
    """Return sky and mountains all round, down to the horizon."""
    width, height = size[0] * _PANORAMA, size[1] // 2 + 1
    panorama = pygame.Surface((width, height))
    for row in range(height):
        pygame.draw.line(panorama, _mixed(colours.sky, colours.haze, (row / height) ** 2), (0, row), (width, row))
    rng = np.random.default_rng([seed, 2])
    columns = np.arange(0, width + 1, 4)
    waves = np.arange(3, 40)
    for tone, most in ((0.55, 0.22), (0.25, 0.12)):
        phases, sizes = rng.uniform(0, math.tau, len(waves)), rng.normal(size=len(waves)) / waves
        ridge = (sizes * np.sin(np.outer(columns / width * math.tau, waves) + phases)).sum(axis=1)
        ridge = (ridge - ridge.min()) / np.ptp(ridge) * most * size[1] * 0.8 + 2
        outline = [(float(x), float(height - y)) for x, y in zip(columns, ridge, strict=True)]
        pygame.draw.polygon(panorama, _mixed(colours.far, colours.haze, tone), [*outline, (width, height), (0, height)])
    return panorama
