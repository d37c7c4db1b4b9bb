"""The look of a road: everything that is drawn at random for a seed's pictures, from the asphalt to the fog."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.collecting.roads.course import Road
from training.collecting.roads.textures import (
    Colour,
    Sprite,
    Texture,
    any_colour,
    draw_noise,
    draw_overlay,
    draw_sky,
    draw_sprite,
    make_colour,
)

_NO_WALL_M = 1e6


@dataclass(frozen=True, slots=True)
class Eye:
    """The camera.

    Attributes:
        height_m: Height above the ground.
        back_m: Distance behind the car's middle.
        pitch: Angle, rad; positive looks up.
        width: How far to the side it sees at a distance of 1: the tangent of half its angle.
    """

    height_m: float
    back_m: float
    pitch: float
    width: float


@dataclass(frozen=True, slots=True)
class Surface:
    """A surface: a colour, a second one in patches, and a fine pattern.

    Attributes:
        colour: The colour.
        patches: The colour of the patches.
        patch_share: Which share of the surface they cover, [0, 1].
        grain: Strength of the fine pattern, of 255.
        grain_m: Length after which the fine pattern repeats.
        patch_m: Length after which the patches repeat.
    """

    colour: Colour
    patches: Colour
    patch_share: float
    grain: float
    grain_m: float
    patch_m: float


@dataclass(frozen=True, slots=True)
class Band:
    """A stripe along the road, between two distances from its middle.

    Attributes:
        inner_m: Its left edge, from the road's middle; negative is left of it.
        outer_m: Its right edge, larger than ``inner_m``.
        colour: The colour.
        second: The colour between its dashes; None leaves the road there.
        dash_m: Length of a dash.
        gap_m: Length of a gap; 0 for none.
        least_curvature: The stripe is only where the road bends at least this much, 1 / m.
    """

    inner_m: float
    outer_m: float
    colour: Colour
    second: Colour | None = None
    dash_m: float = 4.0
    gap_m: float = 0.0
    least_curvature: float = 0.0


@dataclass(frozen=True, slots=True)
class Rail:
    """What stands along a side: a rail, a wall, a fence.

    Attributes:
        lateral_m: Distance from the road's middle; negative is left of it.
        low_m: Height of its lower edge.
        high_m: Height of its upper edge.
        colours: The colours of its pieces, in turns.
        piece_m: Length of a piece.
    """

    lateral_m: float
    low_m: float
    high_m: float
    colours: tuple[Colour, ...]
    piece_m: float


@dataclass(frozen=True, slots=True)
class Things:
    """What stands about: trees, bushes, posts, houses.

    Attributes:
        s: Metres along the road, shape (things,).
        lateral: Metres right of it.
        height_m: Heights.
        kind: Indices into ``sprites``.
        sprites: Their pictures.
    """

    s: npt.NDArray[np.float64]
    lateral: npt.NDArray[np.float64]
    height_m: npt.NDArray[np.float64]
    kind: npt.NDArray[np.int64]
    sprites: tuple[Sprite, ...]


@dataclass(frozen=True, slots=True)
class Light:
    """The air, the lamps and the lens.

    Attributes:
        fog_m: Distance at which the picture is two thirds fog.
        fog: Colour of the fog.
        gain: Factor on every colour, shape (3,).
        beam_m: How far the lamps reach at night; None by day.
        wet: How much the road mirrors the sky, [0, 1].
        noise: Noise of the picture, of 255.
        blur_px: Blur of the picture.
        vignette: Darkening of the picture's corners, [0, 1].
        gamma: Gamma of the picture.
    """

    fog_m: float
    fog: Colour
    gain: Colour
    beam_m: float | None
    wet: float
    noise: float
    blur_px: float
    vignette: float
    gamma: float


@dataclass(frozen=True, slots=True)
class Scenery:
    """All that is drawn at random for the pictures of a road."""

    eye: Eye
    road: Surface
    land: Surface
    bands: tuple[Band, ...]
    rails: tuple[Rail, ...]
    things: Things
    light: Light
    sky: npt.NDArray[np.float32]
    """The sky in all directions: float32, shape (64, 512, 3); its lowest row is the horizon."""
    grain: Texture
    patches: Texture
    shadows: float
    """Depth of the shadows on the ground, [0, 1]."""
    banks: tuple[float, float]
    roughness_m: float
    walls_m: tuple[float, float]
    """How far left and right of the middle the car can go."""
    overlay: Sprite
    """What lies over every picture: a bonnet, instruments. It does not move. Shape (90, 160, 4)."""
    seed: int
    """Of the picture's noise."""


def draw_scenery(road: Road, rng: np.random.Generator) -> Scenery:
    """Draw the scenery of a road at random; the same ``rng`` gives the same scenery."""
    surface, land = _draw_surfaces(rng)
    light = _draw_light(rng)
    rails, walls = _draw_rails(road, rng)
    return Scenery(
        eye=Eye(
            height_m=float(rng.choice((rng.uniform(0.7, 1.6), rng.uniform(1.4, 3.2)))),
            back_m=float(rng.choice((0.0, rng.uniform(0.0, 4.5)))),
            pitch=float(rng.normal(-0.06, 0.06)),
            width=math.tan(math.radians(rng.uniform(50.0, 100.0)) / 2.0),
        ),
        road=surface,
        land=land,
        bands=_draw_bands(road, rng),
        rails=rails,
        things=_draw_things(road, rng, walls),
        light=light,
        sky=draw_sky(rng, light.fog),
        grain=draw_noise(rng, float(rng.uniform(0.4, 1.0))),
        patches=draw_noise(rng, 1.6),
        shadows=float(rng.choice((0.0, rng.uniform(0.2, 0.7)), p=(0.6, 0.4))),
        banks=(float(rng.normal(0.0, 0.25)), float(rng.normal(0.0, 0.25))),
        roughness_m=float(rng.uniform(0.0, 2.0)),
        walls_m=walls,
        overlay=draw_overlay(rng),
        seed=int(rng.integers(2**31)),
    )


def _draw_surfaces(rng: np.random.Generator) -> tuple[Surface, Surface]:
    """Draw the surfaces of road and land; they differ, because otherwise nobody could see the road."""
    while True:
        road = rng.choice(5, p=(0.5, 0.15, 0.1, 0.05, 0.2))
        land = 5 + rng.choice(5, p=(0.45, 0.15, 0.1, 0.1, 0.2))
        colours = [_made_of(int(kind), rng) for kind in (road, land)]
        if np.abs(colours[0] - colours[1]).max() > 28.0:
            break
    surfaces = []
    for colour in colours:
        patches = np.clip(colour * rng.uniform(0.7, 1.3) + rng.normal(0.0, 8.0, 3), 0, 255).astype(np.float32)
        surfaces.append(
            Surface(
                colour,
                patches,
                patch_share=float(rng.choice((0.0, rng.uniform(0.1, 0.6)))),
                grain=float(rng.uniform(2.0, 28.0)),
                grain_m=float(math.exp(rng.uniform(math.log(6.0), math.log(40.0)))),
                patch_m=float(rng.uniform(30.0, 150.0)),
            )
        )
    return surfaces[0], surfaces[1]


def _made_of(kind: int, rng: np.random.Generator) -> Colour:
    makers = (
        lambda: make_colour(rng.uniform(0.5, 0.7), rng.uniform(0.0, 0.12), rng.uniform(0.18, 0.6)),  # asphalt
        lambda: make_colour(rng.uniform(0.05, 0.12), rng.uniform(0.15, 0.5), rng.uniform(0.3, 0.7)),  # earth
        lambda: make_colour(rng.uniform(0.08, 0.14), rng.uniform(0.05, 0.3), rng.uniform(0.5, 0.85)),  # gravel, stone
        lambda: make_colour(rng.uniform(0.5, 0.65), rng.uniform(0.0, 0.1), rng.uniform(0.75, 0.95)),  # snow, ice
        lambda: any_colour(rng),
        lambda: make_colour(rng.uniform(0.2, 0.38), rng.uniform(0.25, 0.7), rng.uniform(0.2, 0.65)),  # grass
        lambda: make_colour(rng.uniform(0.08, 0.13), rng.uniform(0.2, 0.55), rng.uniform(0.45, 0.85)),  # sand
        lambda: make_colour(rng.uniform(0.5, 0.65), rng.uniform(0.0, 0.12), rng.uniform(0.75, 0.97)),  # snow
        lambda: make_colour(rng.uniform(0.5, 0.7), rng.uniform(0.0, 0.15), rng.uniform(0.2, 0.6)),  # stone
        lambda: any_colour(rng),
    )
    return makers[kind]()


def _draw_bands(road: Road, rng: np.random.Generator) -> tuple[Band, ...]:
    """Draw the markings, kerbs and verges."""
    edge = road.half_width
    bands: list[Band] = []
    if rng.random() < 0.35:  # a verge
        colour, wide = any_colour(rng), float(rng.uniform(0.5, 3.0))
        bands += [Band(-edge - wide, -edge, colour), Band(edge, edge + wide, colour)]
    if rng.random() < 0.4:  # kerbs
        wide, dash = float(rng.uniform(0.3, 1.2)), float(rng.uniform(1.0, 4.0))
        red = make_colour(rng.choice((0.0, rng.random())), rng.uniform(0.5, 1.0), rng.uniform(0.5, 0.95))
        white = make_colour(0.0, 0.0, rng.uniform(0.7, 1.0))
        bends = float(rng.choice((0.0, 0.006)))
        for side in ((-edge - wide * 0.7, -edge + wide * 0.3), (edge - wide * 0.3, edge + wide * 0.7)):
            bands.append(Band(*side, red, white, dash, dash, bends))
    paint = make_colour(rng.choice((0.13, rng.random())), rng.choice((0.0, 0.8)), rng.uniform(0.6, 1.0))
    if rng.random() < 0.55:  # lines along the edges
        wide, away = float(rng.uniform(0.1, 0.4)), float(rng.uniform(0.1, 0.7))
        bands += [Band(-edge + away, -edge + away + wide, paint), Band(edge - away - wide, edge - away, paint)]
    if rng.random() < 0.5:  # lines between lanes
        wide, dash = float(rng.uniform(0.1, 0.3)), float(rng.uniform(2.0, 8.0))
        gap = float(rng.choice((0.0, rng.uniform(2.0, 10.0)), p=(0.25, 0.75)))
        lanes = 2 if edge < 5.0 else int(rng.integers(2, 5))
        for lane in range(1, lanes):
            middle = -edge + 2.0 * edge * lane / lanes
            bands.append(Band(middle - wide / 2, middle + wide / 2, paint, None, dash, gap))
    if rng.random() < 0.2:  # ruts
        rut = make_colour(0.1, 0.1, rng.uniform(0.05, 0.4))
        bands += [Band(side - 0.25, side + 0.25, rut) for side in (-0.8, 0.8)]
    return tuple(bands)


def _draw_rails(road: Road, rng: np.random.Generator) -> tuple[tuple[Rail, ...], tuple[float, float]]:
    """Draw what stands along the sides, and how far the car can go there."""
    rails = []
    walls = []
    alike = rng.random() < 0.6
    kind = rng.choice(5, p=(0.5, 0.2, 0.14, 0.08, 0.08))
    for sign in (-1.0, 1.0):
        if not alike:
            kind = rng.choice(5, p=(0.5, 0.2, 0.14, 0.08, 0.08))
        if kind == 0:
            walls.append(_NO_WALL_M)
            continue
        lateral = road.half_width + float(rng.exponential(2.0)) + 0.5
        first = any_colour(rng)
        second = first * np.float32(rng.uniform(0.6, 1.0)) if rng.random() < 0.6 else any_colour(rng)
        low, high = (
            (rng.uniform(0.3, 0.5), rng.uniform(0.6, 0.9)),  # a rail
            (0.0, rng.uniform(0.5, 1.2)),  # a wall
            (0.0, rng.uniform(1.2, 2.5)),  # a fence
            (0.0, rng.uniform(3.0, 9.0)),  # rock, houses
        )[int(kind) - 1]
        piece = float(rng.uniform(3.0, 8.0))
        rails.append(Rail(sign * lateral, float(low), float(high), (first, second.astype(np.float32)), piece))
        walls.append(lateral)
    return tuple(rails), (walls[0], walls[1])


def _draw_things(road: Road, rng: np.random.Generator, walls_m: tuple[float, float]) -> Things:
    density = float(rng.choice((0.0, 0.01, 0.04, 0.1)))  # a metre of road
    count = int(density * road.length_m)
    sprites = tuple(draw_sprite(rng) for _ in range(4))
    heights = rng.uniform(0.8, 1.0, 4) * rng.choice((1.0, 3.0, 8.0, 14.0), 4)
    kind = rng.integers(0, 4, count)
    side = rng.choice((-1.0, 1.0), count)
    away = road.half_width + 1.5 + rng.exponential(rng.uniform(2.0, 25.0), count)
    lateral = side * np.minimum(away, 55.0)
    s = rng.uniform(0.0, road.length_m, count)
    return Things(s, lateral, heights[kind] * rng.uniform(0.6, 1.3, count), kind, sprites)


def _draw_light(rng: np.random.Generator) -> Light:
    night = rng.random() < 0.1
    brightness = rng.uniform(0.7, 1.2) if night else rng.uniform(0.6, 1.25)
    tint = 1.0 + rng.normal(0.0, 0.06, 3)
    fog = make_colour(rng.uniform(0.5, 0.65), rng.uniform(0.0, 0.35), rng.uniform(0.55, 0.98))
    if rng.random() < 0.2:
        fog = any_colour(rng)
    return Light(
        fog_m=float(math.exp(rng.uniform(math.log(35.0), math.log(1500.0)))),
        fog=fog * np.float32(0.2 if night else 1.0),
        gain=(brightness * tint).astype(np.float32),
        beam_m=float(rng.uniform(15.0, 45.0)) if night else None,
        wet=float(rng.choice((0.0, rng.uniform(0.2, 0.8)), p=(0.75, 0.25))),
        noise=float(rng.choice((0.0, rng.uniform(1.0, 6.0)))),
        blur_px=float(rng.choice((0.0, rng.uniform(0.3, 1.0)))),
        vignette=float(rng.choice((0.0, rng.uniform(0.1, 0.6)))),
        gamma=float(math.exp(rng.normal(0.0, 0.15))),
    )
