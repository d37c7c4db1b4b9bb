"""Augmentation of training pictures: mirrored, recoloured, partly erased. Used on training data only.

If a sample has several pictures, all are changed alike: a driver sees the same road in each.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from agent.contract.controls import MIRRORED_AXES
from agent.contract.observation import Observation
from agent.contract.profile import Rectangle

ANTISYMMETRIC_OUTPUTS = MIRRORED_AXES
"""Outputs whose sign changes when left and right swap."""

ANTISYMMETRIC_TELEMETRY = ("yaw_rate", "lateral_offset", "heading_error", "bearing_")
"""Prefixes of the names of telemetry whose sign changes when left and right swap."""

_ERASED_SHARE = (0.02, 0.15)
_ERASED_SHAPE = (0.3, 3.3)  # height over width


def flip_picture(observation: Observation, mirrored: Sequence[Rectangle]) -> None:
    """Mirror each of the given parts about its own middle, in place.

    CarRacing's tracks run anticlockwise: left bends outnumber right ones in every recording, and flipping evens
    them out. A dashboard does not flip as a whole: a speed bar stays where it is, a yaw-rate bar swings about its own
    zero (see ``GameProfile.mirrored``).

    Args:
        observation: uint8, shape (height, width, 3 a picture).
        mirrored: Parts as fractions of the picture.
    """
    height, width = observation.shape[:2]
    for part in mirrored:
        left, right = round(part.left * width), round((part.left + part.width) * width)
        top, bottom = round(part.top * height), math.ceil((part.top + part.height) * height)
        observation[top:bottom, left:right] = observation[top:bottom, left:right][:, ::-1].copy()


def change_colours(observation: Observation, strength: float, rng: np.random.Generator) -> None:
    """Draw other light and colours for a picture, in place: contrast, brightness, saturation, and a tint.

    It keeps the network from recognising roads by their colour, so that it can drive tracks that no episode shows.

    Args:
        observation: uint8, shape (height, width, 3 a picture), contiguous.
        strength: 0 changes nothing; 1 contrast by up to 30 %, brightness by 30 of 255, saturation by 50 %, and each
            colour by 20 %.
        rng: Source of random numbers.
    """
    contrast, brightness, saturation, *tint = rng.uniform(-strength, strength, 6) * (0.3, 30.0, 0.5, 0.2, 0.2, 0.2)
    mixed = (1.0 + saturation) * np.eye(3) - saturation / 3.0  # each colour with the mean of all
    colours = (1.0 + contrast) * (1.0 + np.array(tint))[:, np.newaxis] * mixed
    shift = brightness - 127.5 * contrast
    pixels = observation.reshape(len(observation), -1, 3)  # of all pictures; a view
    cv2.transform(pixels, np.column_stack([colours, np.full(3, shift)]), dst=pixels)


def erase_parts(observation: Observation, most: int, rng: np.random.Generator) -> None:
    """Paint random rectangles over a picture in place, each in its own colour.

    It keeps the network from recognising roads by landmarks: if any palm tree may be hidden, the network must learn
    from the road itself. Areas and shapes are those of "Random Erasing Data Augmentation" (Zhong et al., 2020), but
    the largest area there is 40 % of the picture.

    Args:
        observation: uint8, shape (height, width, 3 a picture).
        most: The largest number of rectangles; each number from 0 to this is equally likely. Each rectangle covers 2 to
            15 % of the picture and is 0.3 to 3.3 times as high as wide, as far as it fits.
        rng: What is drawn from.
    """
    height, width, channels = observation.shape
    for _ in range(int(rng.integers(most + 1))):
        area = rng.uniform(*_ERASED_SHARE) * height * width
        shape = math.exp(rng.uniform(*np.log(_ERASED_SHAPE)))
        tall, wide = (max(1, round(side)) for side in (math.sqrt(area * shape), math.sqrt(area / shape)))
        top, left = (int(rng.integers(max(1, whole - part + 1))) for whole, part in ((height, tall), (width, wide)))
        observation[top : top + tall, left : left + wide] = np.tile(rng.integers(0, 256, 3), channels // 3)


def flip_signs(names: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return float32, shape (len(names),): -1 for every label whose sign changes in a flip, 1 for the others."""
    return np.array(
        [-1.0 if name in ANTISYMMETRIC_OUTPUTS or name.startswith(ANTISYMMETRIC_TELEMETRY) else 1.0 for name in names],
        np.float32,
    )
