"""Colours, noise and small pictures: the parts of a scenery."""

import colorsys
import math

import cv2
import numpy as np
import numpy.typing as npt

Texture = npt.NDArray[np.float32]
"""Noise around 0, mostly in [-1, 1], that repeats without a seam: float32, shape (size, size)."""
Colour = npt.NDArray[np.float32]
"""float32, shape (3,): BGR, [0, 255]."""
Sprite = npt.NDArray[np.uint8]
"""uint8, shape (height, width, 4): BGRA."""

TEXTURE_PX = 256


def draw_noise(rng: np.random.Generator, roughness: float) -> Texture:
    """Draw noise with detail of all sizes; it repeats without a seam.

    Args:
        rng: Source of the random numbers.
        roughness: How much stronger the coarse detail is than the fine detail: 0 is white noise, 2 looks like clouds.
    """
    spectrum = np.fft.rfft2(rng.normal(0.0, 1.0, (TEXTURE_PX, TEXTURE_PX)))
    across = np.hypot(np.fft.fftfreq(TEXTURE_PX)[:, None], np.fft.rfftfreq(TEXTURE_PX)[None, :])
    across[0, 0] = 1.0
    spectrum *= across**-roughness
    spectrum[0, 0] = 0.0
    noise = np.fft.irfft2(spectrum, (TEXTURE_PX, TEXTURE_PX))
    return np.asarray(noise / (2.0 * noise.std()), np.float32)


def make_colour(hue: float, saturation: float, value: float) -> Colour:
    """Return a colour. Hues repeat after 1; saturation and brightness are clipped to [0, 1]."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, min(1.0, max(0.0, saturation)), min(1.0, max(0.0, value)))
    return np.array((blue, green, red), np.float32) * 255.0


def any_colour(rng: np.random.Generator) -> Colour:
    """Draw a colour of any hue; pale ones are more frequent than bright ones."""
    return make_colour(rng.random(), rng.beta(1.2, 2.0), rng.uniform(0.1, 0.95))


def draw_sprite(rng: np.random.Generator) -> Sprite:
    """Draw a tree, a bush, a post or a house, 48 x 48 px, that stands on the lower edge."""
    size = 48
    noise = cv2.resize(rng.normal(0.0, 1.0, (12, 12)), (size, size), interpolation=cv2.INTER_CUBIC)
    row, column = np.mgrid[0:size, 0:size] / (size - 1.0) * 2.0 - 1.0
    kind = rng.choice(4)
    main = make_colour(rng.uniform(0.2, 0.4), rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.6))
    if rng.random() < 0.4:
        main = any_colour(rng)
    picture = np.clip(main + (25.0 * noise)[..., None], 0, 255)
    if kind == 0:  # a crown on a trunk
        crown = (column / 0.9) ** 2 + ((row + 0.3) / 0.7) ** 2 + 0.25 * noise < 1.0
        trunk = (np.abs(column) < 0.09) & (row > 0.2)
        picture[trunk & ~crown] = make_colour(0.08, 0.4, rng.uniform(0.1, 0.4))
        shape = crown | trunk
    elif kind == 1:  # a fir, a cone
        shape = np.abs(column) + 0.1 * noise < (row + 1.0) / 2.4
    elif kind == 2:  # a post, a lamp
        shape = np.abs(column) < rng.uniform(0.03, 0.15)
        picture[row < -0.6] = any_colour(rng)
    else:  # a house, a hoarding
        shape = np.ones_like(row, bool)
        rows, columns = int(rng.integers(1, 5)), int(rng.integers(1, 6))
        windows = (np.sin((row + 1) * math.pi * rows) > 0.2) & (np.sin((column + 1) * math.pi * columns) > 0.2)
        picture[windows] = any_colour(rng)
    return np.dstack((picture, np.where(shape, 255.0, 0.0))).astype(np.uint8)


def draw_sky(rng: np.random.Generator, fog: Colour) -> npt.NDArray[np.float32]:
    """Draw the sky in all directions, with what is at the horizon: float32, shape (64, 512, 3), BGR."""
    rows, columns = 64, 512
    zenith = make_colour(rng.uniform(0.5, 0.68), rng.uniform(0.05, 0.8), rng.uniform(0.4, 1.0))
    if rng.random() < 0.2:
        zenith = any_colour(rng)
    if fog.max() < 45.0:
        zenith = zenith * np.float32(0.2)
    rise = np.linspace(1.0, 0.0, rows)[:, None, None] ** rng.uniform(0.5, 1.5)
    sky = (fog + (zenith - fog) * rise).repeat(columns, axis=1)
    clouds = cv2.resize(draw_noise(rng, 1.7), (columns, rows * 2))[:rows]
    cover = np.clip((clouds - rng.uniform(-0.3, 0.9)) * 2.0, 0.0, 1.0)[..., None] * rng.uniform(0.0, 0.9)
    sky += (np.minimum(255.0, fog * 1.1 + 10.0) - sky) * cover
    for distance in range(int(rng.integers(0, 4))):  # mountains, woods, a town
        waves = int(rng.integers(3, 20)) * (3 - distance)
        knots = rng.random(waves)
        outline = np.interp(np.arange(columns), np.linspace(0, columns, waves + 1), np.append(knots, knots[0]))
        if rng.random() < 0.3:  # houses have edges
            outline = np.round(outline * 4) / 4
        top = rows - outline * rng.uniform(3.0, 28.0)
        colour = fog + (any_colour(rng) - fog) * rng.uniform(0.2, 0.8)
        sky[np.arange(rows)[:, None] >= top[None, :]] = colour
    return sky.astype(np.float32)


def draw_overlay(rng: np.random.Generator) -> Sprite:
    """Draw what games show over the picture: a bonnet or a car from behind, instruments, a map, words."""
    overlay = np.zeros((90, 160, 4), np.uint8)
    if rng.random() < 0.4:
        body = [int(value) for value in any_colour(rng)]
        if rng.random() < 0.5:  # a bonnet
            centre, axes = (80 + int(rng.normal(0, 6)), 92), (int(rng.integers(45, 110)), int(rng.integers(6, 22)))
            cv2.ellipse(overlay, centre, axes, 0.0, 180.0, 360.0, (*body, 255), -1)
        else:  # the car itself
            wide, high = int(rng.integers(12, 34)), int(rng.integers(8, 26))
            left, top = 80 - wide // 2, 88 - high - int(rng.integers(0, 12))
            cv2.rectangle(overlay, (left, top), (left + wide, top + high), (*body, 255), -1)
            cv2.rectangle(overlay, (left, top + high - high // 4), (left + wide, top + high), (20, 20, 20, 255), -1)
            cv2.rectangle(overlay, (left + 3, top + 2), (left + wide - 3, top + high // 3), (90, 70, 60, 255), -1)
    for _ in range(int(rng.integers(0, 5))):  # in the corners and along the edges
        colour = (*[int(value) for value in any_colour(rng)], int(rng.integers(120, 256)))
        wide, high = int(rng.integers(4, 36)), int(rng.integers(3, 22))
        left = int(rng.choice((rng.integers(0, 12), rng.integers(0, 160 - wide), 160 - wide - rng.integers(0, 12))))
        top = int(rng.choice((rng.integers(0, 6), 90 - high - rng.integers(0, 6))))
        if rng.random() < 0.5:
            cv2.rectangle(overlay, (left, top), (left + wide, top + high), colour, int(rng.choice((-1, 1))))
        elif rng.random() < 0.5:
            cv2.circle(overlay, (left + wide // 2, top + high // 2), high // 2 + 2, colour, int(rng.choice((-1, 1))))
        else:
            cv2.putText(overlay, str(rng.integers(1000)), (left, top + 8), cv2.FONT_HERSHEY_PLAIN, 0.7, colour)
    return overlay
