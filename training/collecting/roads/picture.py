"""The camera's picture, drawn in software: the land pixel by pixel, then the things that stand on it."""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from agent.contract.observation import Pixels
from training.collecting.roads.course import Ground, Map, Road, read_map
from training.collecting.roads.scenery import Band, Rail, Scenery, Surface
from training.collecting.roads.textures import TEXTURE_PX, Sprite

_NEAREST_M, _FARTHEST_M, _STEPS = 1.0, 300.0, 96
_RAILS_M = 90.0  # how far rails are drawn
_THINGS_M = 160.0
_CLEAR_M = 0.2  # of walls
_LEAST_PX = 2.0
_LARGEST_PX = 150
_MOST_THINGS = 40


@dataclass(frozen=True, slots=True)
class _Piece:
    """A piece of a rail: its distance, its corners in eighths of a pixel (int32, shape (4, 2)), and its colour."""

    distance_m: float
    corners: npt.NDArray[np.int32]
    colour: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """The ground in the picture, pixel by pixel: where it is, and how much of it a pixel covers, in metres.

    All have the shape (pixels,).
    """

    s: Map
    lateral: Map
    across: Map
    along: Map


@dataclass(frozen=True, slots=True)
class _Thing:
    """How far away, and which."""

    distance_m: float
    index: int


class Painter:
    """Draws one road.

    How it works: rays fan out from below the camera, one for every column of the picture. Along each ray, the ground's
    height is read at 96 distances. Ground hides what is behind it and lower. So a pixel's distance is the number of
    distances that are hidden there. Each pixel then looks up how far along the road and how far aside its ground is.
    This says what is there: land, road, a kerb or a line. Edges are blurred over the ground that the pixel covers.

    Args:
        road: The road.
        ground: The land around it.
        scenery: What it looks like.
        width_px: Width of the pictures.
        height_px: Height of the pictures.
    """

    def __init__(self, road: Road, ground: Ground, scenery: Scenery, width_px: int = 160, height_px: int = 90) -> None:
        self._road = road
        self._ground = ground
        self._scenery = scenery
        self._width, self._height = width_px, height_px
        self._focal = width_px / 2.0 / scenery.eye.width
        self._across = ((np.arange(width_px) + 0.5 - width_px / 2.0) / self._focal).astype(np.float32)
        self._away = np.geomspace(_NEAREST_M, _FARTHEST_M, _STEPS).astype(np.float32)
        self._fan = self._away[:, None] * self._across[None, :]
        self._columns = np.arange(width_px)
        self._rows = np.arange(height_px, dtype=np.float32)[:, None] + 0.5
        x, y = road.point(scenery.things.s, scenery.things.lateral)
        self._things_x, self._things_y = x, y
        self._things_z = self._heights(x, y)
        self._overlay = cv2.resize(scenery.overlay, (width_px, height_px), interpolation=cv2.INTER_LINEAR)
        covered = self._overlay[..., 3] > 0
        self._overlaid = covered, self._overlay[covered][:, 3:].astype(np.uint16)
        light = scenery.light
        self._gain = light.gain * self._draw_vignette()
        self._curve = np.round(255.0 * (np.arange(256) / 255.0) ** light.gamma).astype(np.uint8)
        noise = np.random.default_rng(scenery.seed).normal(0.0, light.noise, (2 * height_px, 2 * width_px, 1))
        self._noise: Map = noise.astype(np.float32)  # every picture shows a part of it

    def draw(self, x: float, y: float, heading: float, time_s: float = 0.0) -> Pixels:
        """Return the picture from a car at a place: uint8, shape (height_px, width_px, 3), BGR.

        Args:
            x: Metres.
            y: Metres.
            heading: rad, positive to the right of the y axis.
            time_s: Seeds the picture's noise.
        """
        view = _View(self, x, y, heading)
        picture, depth = self._draw_land(view)
        self._draw_standing(picture, depth, view)
        return self._finish(picture, time_s)

    def _draw_land(self, view: "_View") -> tuple[Map, Map]:
        """Return a picture of the ground and the sky (float32, BGR), and the distance of every pixel in metres."""
        depth = view.depths()
        sky = np.asarray(depth >= _FARTHEST_M)
        with_land = np.flatnonzero(np.logical_not(sky).any(axis=1))
        with_sky = np.flatnonzero(sky.any(axis=1))
        top = int(with_land[0]) if len(with_land) else self._height
        end = int(with_sky[-1]) + 1 if len(with_sky) else 0
        picture: Map = np.empty((self._height, self._width, 3), np.float32)
        if top < self._height:
            picture[top:] = self._look_at_land(view, depth[top:], self._rows[top:])
        if end:
            above = self._look_up_sky(view, self._rows[:end])
            picture[:top] = above[:top]
            picture[top:end] = np.where(sky[top:end, :, None], above[top:end], picture[top:end])
        return picture, depth

    def _look_at_land(self, view: "_View", reach: Map, rows: Map) -> Map:
        """Return the colours of the ground at some rows' distances."""
        x = view.x + reach * (view.sine + self._across * view.cosine)
        y = view.y + reach * (view.cosine - self._across * view.sine)
        found = self._ground.look_up(x, y)
        s, lateral, shade = found[..., 0], found[..., 1], found[..., 2:]
        blur_across = reach / self._focal + 1e-3  # metres of ground that a pixel covers, across and along
        blur_along = blur_across * np.maximum(1.0, reach / self._scenery.eye.height_m)
        colours = self._fill(self._scenery.land, x, y, blur_along)
        flat = colours.reshape(-1, 3)
        seen = _Seen(s.ravel(), lateral.ravel(), blur_across.ravel(), blur_along.ravel())
        self._pave(flat, seen, view, np.broadcast_to(rows, s.shape).ravel())
        for band in self._scenery.bands:
            self._paint(flat, seen, band)
        if self._scenery.shadows:
            dark = self._sample(self._scenery.patches, x, y, 45.0)
            colours *= 1.0 - self._scenery.shadows * np.clip(dark * 3.0, 0.0, 1.0)[..., None]
        colours *= shade
        self._shine(colours, reach)
        return colours

    def _fill(self, surface: Surface, x: Map, y: Map, blur: Map) -> Map:
        grain = self._sample(self._scenery.grain, x, y, surface.grain_m)
        grain *= np.clip(surface.grain_m / TEXTURE_PX * 6.0 / blur, 0.0, 1.0) * surface.grain
        colours = np.broadcast_to(surface.colour, (*grain.shape, 3))
        if surface.patch_share:
            level = 1.0 - 2.0 * surface.patch_share
            share = np.clip((self._sample(self._scenery.patches, y, x, surface.patch_m) * 2.0 - level) * 3.0, 0, 1)
            colours = colours + (surface.patches - surface.colour) * share[..., None]
        filled: Map = colours + grain[..., None]
        return filled

    @staticmethod
    def _sample(texture: Map, x: Map, y: Map, size_m: float) -> Map:
        scale = np.float32(TEXTURE_PX / size_m)
        return read_map(texture, np.remainder(x * scale, TEXTURE_PX - 1.0), np.remainder(y * scale, TEXTURE_PX - 1.0))

    def _pave(self, colours: Map, seen: "_Seen", view: "_View", rows: Map) -> None:
        """Paint the road over the land; colours have the shape (pixels, 3)."""
        width = self._road.half_width
        share = _cover(seen.lateral, -width, width, seen.across)
        where = np.flatnonzero(share)
        if len(where) == 0:
            return
        s, lateral, along = (values[where, None] for values in (seen.s, seen.lateral, seen.along))
        surface = self._fill(self._scenery.road, lateral, s, along)[:, 0]
        if self._scenery.light.wet:
            self._mirror_sky(surface, view, rows[where])
        colours[where] += share[where, None] * (surface - colours[where])

    def _paint(self, colours: Map, seen: "_Seen", band: Band) -> None:
        """Paint a stripe over the colours, which have the shape (pixels, 3)."""
        share = _cover(seen.lateral, band.inner_m, band.outer_m, seen.across)
        where = np.flatnonzero(share)
        if len(where) == 0:
            return
        share, s, along = share[where], seen.s[where], seen.along[where]
        if band.least_curvature:
            share = share * (self._road.at(np.abs(self._road.curvature), s) > band.least_curvature)
        colour: Map = band.colour
        if band.gap_m:
            period = band.dash_m + band.gap_m
            place, blur = np.remainder(s, period), np.minimum(along, band.dash_m)
            dash = _cover(place, 0.0, band.dash_m, blur) + _cover(place, period, period + band.dash_m, blur)
            far = np.clip(along / period - 0.5, 0.0, 1.0)
            dash = dash + far * (band.dash_m / period - dash)
            if band.second is None:
                share = share * dash
            else:
                colour = band.second + dash[:, None] * (band.colour - band.second)
        colours[where] += share[:, None] * (colour - colours[where])

    def _mirror_sky(self, surface: Map, view: "_View", rows: Map) -> None:
        """Mirror the sky in a wet road, shape (pixels, 3): as far above the horizon as the pixel is below it."""
        sky = self._scenery.sky
        mirrored = np.clip(2.0 * view.horizon - rows, 0, self._height - 1)
        above = np.clip(63.0 - (view.horizon - mirrored) / self._focal * 45.0, 0, 63).astype(int)
        column = int(view.heading / (2.0 * math.pi) * sky.shape[1]) % sky.shape[1]
        grazing = np.clip(1.0 - (rows - view.horizon) / (self._height * 0.7), 0.1, 1.0)
        share = (self._scenery.light.wet * grazing).astype(np.float32)[:, None]
        surface += share * (sky[above, column] - surface)

    def _look_up_sky(self, view: "_View", rows: Map) -> Map:
        sky = self._scenery.sky
        bearing = np.arctan(self._across) + np.float32(view.heading % (2.0 * math.pi))
        columns = np.remainder(bearing / (2.0 * math.pi) * sky.shape[1], sky.shape[1] - 1.0)
        places = 63.0 - (view.horizon - rows) / self._focal * 45.0
        shape = (len(rows), self._width)
        return read_map(sky, np.broadcast_to(columns, shape), np.broadcast_to(places, shape))

    def _shine(self, colours: Map, distance: Map) -> None:
        """Add the light of the lamps, and the fog, to colours, in place."""
        light = self._scenery.light
        if light.beam_m is not None:
            lit = np.exp(-((distance / light.beam_m) ** 1.5)) + 0.12
            colours *= np.minimum(1.6, lit * 1.8)[..., None]
        clear = np.exp(-distance / light.fog_m)[..., None]
        colours *= clear
        colours += (1.0 - clear) * light.fog

    def _draw_standing(self, picture: Map, depth: Map, view: "_View") -> None:
        """Paste rails and things onto the picture, from far to near."""
        standing: list[_Piece | _Thing] = [
            piece for rail in self._scenery.rails for piece in self._rail_pieces(rail, view)
        ]
        standing += self._visible_things(view)
        for one in sorted(standing, key=lambda one: -one.distance_m):
            if isinstance(one, _Piece):
                cv2.fillConvexPoly(picture, one.corners, one.colour, shift=3)
            else:
                self._draw_thing(picture, depth, view, one)

    def _rail_pieces(self, rail: Rail, view: "_View") -> "list[_Piece]":
        here = view.s
        numbers = np.arange(math.floor((here - 8.0) / rail.piece_m), math.ceil((here + _RAILS_M) / rail.piece_m) + 1)
        s = numbers * rail.piece_m
        x, y = self._road.point(s, rail.lateral_m)
        columns, foot, away = view.project(x, y, self._heights(x, y))
        low = foot - self._focal * rail.low_m / away
        high = foot - self._focal * rail.high_m / away
        across = np.stack((columns[:-1], columns[:-1], columns[1:], columns[1:]), axis=1)
        down = np.stack((low[:-1], high[:-1], high[1:], low[1:]), axis=1)
        corners = (np.clip(np.dstack((across, down)), -2000, 2000) * 8).astype(np.int32)
        nearer, farther = np.minimum(away[:-1], away[1:]), np.maximum(away[:-1], away[1:])
        seen = (farther >= 0.6) & (nearer <= _RAILS_M) & (across.max(axis=1) > 0) & (across.min(axis=1) < self._width)
        colours = np.array(rail.colours, np.float32)[numbers[:-1] % len(rail.colours)]
        self._shine(colours, farther.astype(np.float32))
        return [_Piece(float(farther[k]), corners[k], tuple(colours[k].tolist())) for k in np.flatnonzero(seen)]

    def _visible_things(self, view: "_View") -> "list[_Thing]":
        ahead = (self._things_x - view.x) * view.sine + (self._things_y - view.y) * view.cosine
        aside = (self._things_x - view.x) * view.cosine - (self._things_y - view.y) * view.sine
        seen = (ahead > 1.5) & (ahead < _THINGS_M) & (np.abs(aside) < ahead * self._scenery.eye.width + 12.0)
        nearest = np.flatnonzero(seen)[np.argsort(ahead[seen])][:_MOST_THINGS]
        return [_Thing(float(ahead[index]), int(index)) for index in nearest]

    def _draw_thing(self, picture: Map, depth: Map, view: "_View", thing: "_Thing") -> None:
        things, index = self._scenery.things, thing.index
        place = slice(index, index + 1)
        columns, foot, away = view.project(self._things_x[place], self._things_y[place], self._things_z[place])
        high = self._focal * float(things.height_m[index]) / float(away[0])
        sprite = things.sprites[int(things.kind[index])]
        wide = high * (0.8 if things.kind[index] % 2 else 1.1)
        if not _LEAST_PX <= high <= _LARGEST_PX:
            return
        left, top = round(float(columns[0]) - wide / 2.0), round(float(foot[0]) - high)
        size = (max(1, round(wide)), max(1, round(high)))
        pasted: Any = cv2.resize(sprite, size, interpolation=cv2.INTER_LINEAR)
        self._paste(picture, depth, np.asarray(pasted), left, top, float(away[0]))

    def _paste(self, picture: Map, depth: Map, sprite: Sprite, left: int, top: int, distance: float) -> None:
        first_row, first_column = max(0, top), max(0, left)
        last_row, last_column = min(self._height, top + sprite.shape[0]), min(self._width, left + sprite.shape[1])
        if first_row >= last_row or first_column >= last_column:
            return
        part = sprite[first_row - top : last_row - top, first_column - left : last_column - left]
        under = picture[first_row:last_row, first_column:last_column]
        in_front = depth[first_row:last_row, first_column:last_column] > distance - 3.0
        share = (part[..., 3] * in_front).astype(np.float32)[..., None] / 255.0
        colours = part[..., :3].astype(np.float32)
        self._shine(colours, np.full((1, 1), distance, np.float32))
        under += share * (colours - under)

    def _finish(self, picture: Map, time_s: float) -> Pixels:
        """Add the effects of lens and sensor to the picture, and the overlay."""
        light = self._scenery.light
        picture *= self._gain
        if light.blur_px:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), light.blur_px), np.float32)
        if light.noise:
            rng = np.random.default_rng([self._scenery.seed, round(time_s * 1000.0)])
            row, column = rng.integers(0, self._height), rng.integers(0, self._width)
            picture += self._noise[row : row + self._height, column : column + self._width]
        pixels = self._curve[np.clip(picture, 0, 255).astype(np.uint8)]
        where, share = self._overlaid
        covered = pixels[where].astype(np.uint16)
        pixels[where] = ((covered * (255 - share) + self._overlay[where][:, :3] * share) // 255).astype(np.uint8)
        finished: Pixels = pixels
        return finished

    def _draw_vignette(self) -> Map:
        row, column = np.mgrid[-1 : 1 : self._height * 1j, -1 : 1 : self._width * 1j]
        dark: Map = (1.0 - self._scenery.light.vignette * np.minimum(1.0, (row**2 + column**2) / 2.0)).astype(
            np.float32
        )
        return dark[..., None]

    def _heights(self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        if len(x) == 0:
            return np.empty(0)
        return np.asarray(self._ground.height(x[None], y[None])[0], np.float64)


class _View:
    """The place and the direction of the camera."""

    def __init__(self, painter: Painter, x: float, y: float, heading: float) -> None:
        eye = painter._scenery.eye
        self._painter = painter
        self.heading = heading
        self.sine, self.cosine = math.sin(heading), math.cos(heading)
        ground = painter._ground
        left, right = painter._scenery.walls_m
        for share in (1.0, 0.6, 0.3, 0.0):  # a camera does not look through the wall behind it
            back_m = share * eye.back_m
            self.x, self.y = x - back_m * self.sine, y - back_m * self.cosine
            here = np.full((1, 1), self.x), np.full((1, 1), self.y)
            self.s, self.lateral = (float(value) for value in ground.look_up(*here)[0, 0, :2])
            if -left + _CLEAR_M < self.lateral < right - _CLEAR_M:
                break
        feet = np.array(((-1.5, 0.0, 1.5),))
        heights = ground.height(x + feet * self.sine, y + feet * self.cosine)[0]
        self.z = max(float(heights[1]), float(ground.height(*here)[0, 0])) + eye.height_m
        self.pitch = math.atan((float(heights[2]) - float(heights[0])) / 3.0) + eye.pitch
        self.horizon = painter._height / 2.0 + painter._focal * math.tan(self.pitch)

    def depths(self) -> Map:
        """Return each pixel's distance ahead in metres, float32, shape (rows, columns); the sky has the largest."""
        painter = self._painter
        away, width, height = painter._away, painter._width, painter._height
        x = (self.x + away[:, None] * self.sine + painter._fan * self.cosine).astype(np.float32)
        y = (self.y + away[:, None] * self.cosine - painter._fan * self.sine).astype(np.float32)
        rise = painter._ground.height(x, y) - np.float32(self.z)
        rows = np.float32(self.horizon) - painter._focal * rise / away[:, None]
        highest = np.minimum.accumulate(rows, axis=0)
        # A pixel above the row of a ray's k-th distance sees beyond that distance: count these distances.
        ends = np.clip(np.ceil(highest - 0.5), 0, height).astype(np.int64)
        counts = np.bincount((ends * width + painter._columns).ravel(), minlength=(height + 1) * width)
        passed = _STEPS - np.cumsum(counts.reshape(height + 1, width)[:height], axis=0)
        after = np.clip(passed, 1, _STEPS - 1)
        flat = after * width + painter._columns
        below, above = highest.ravel()[flat - width], highest.ravel()[flat]
        part = np.clip((below - painter._rows) / np.maximum(below - above, 1e-3), -4.0, 1.0)
        near, far = 1.0 / away[after - 1], 1.0 / away[after]
        depth = 1.0 / (near + part * (far - near))
        return np.where(passed >= _STEPS, np.float32(_FARTHEST_M), np.maximum(0.3, depth)).astype(np.float32)

    def project(
        self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], z: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return columns, rows and distances ahead of points; a point behind the camera counts as close in front."""
        painter = self._painter
        ahead = np.maximum(0.5, (x - self.x) * self.sine + (y - self.y) * self.cosine)
        aside = (x - self.x) * self.cosine - (y - self.y) * self.sine
        columns = painter._width / 2.0 + painter._focal * aside / ahead
        return columns, self.horizon - painter._focal * (z - self.z) / ahead, ahead


def _cover(values: Map, low: float, high: float, blur: Map) -> Map:
    """Return which share of a stretch of length ``blur`` around each value lies between two limits, [0, 1]."""
    half = blur / 2.0
    share: Map = np.clip((np.minimum(values + half, high) - np.maximum(values - half, low)) / blur, 0.0, 1.0)
    return share
