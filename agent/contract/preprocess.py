"""Frame to Observation: the one implementation, live, in replay and in training."""

import math

import cv2
import numpy as np

from agent.contract.observation import Frame, Observation, Pixels
from agent.contract.profile import Rectangle
from agent.contract.spec import ModelSpec


def preprocess(frame: Frame, spec: ModelSpec) -> Observation:
    """Turn a captured frame into the network's input, identically for driving and training.

    Args:
        frame: Any size of at least 1 x 1 px, BGR or BGRA.
        spec: Size and masks stored beside the weights.

    Returns:
        uint8, shape (spec.height_px, spec.width_px, 3), RGB; a new array, masked parts are 0.
    """
    pixels = frame.pixels
    if spec.masks:
        # Before the resize, so that nothing hidden can bleed out: enlarging, or halving an odd size, spreads pixels
        # further than any fixed margin. The copy costs 0.1 ms at 1280 x 720.
        pixels = pixels.copy()
        for mask in spec.masks:
            paint_black(pixels, mask)
    small = resize(pixels, spec.width_px, spec.height_px)
    conversion = cv2.COLOR_BGRA2RGB if small.shape[2] == 4 else cv2.COLOR_BGR2RGB
    observation = np.asarray(cv2.cvtColor(small, conversion), np.uint8)
    for mask in spec.masks:
        paint_black(observation, mask, margin_px=1)
    return observation


def resize(pixels: Pixels, width_px: int, height_px: int) -> Pixels:
    """Halve by area averaging while the picture is at least twice the target, then resize linearly.

    Plain linear resizing from 1280 x 720 to 480 x 270 skips pixels (a thin speed bar flickers); INTER_AREA alone
    costs five times as much (2.4 to 2.8 ms against 0.54 ms on two EPYC cores). Weights depend on this choice:
    change it only together with ``PREPROCESSING`` in :mod:`agent.contract.spec`.

    Returns:
        uint8, shape (height_px, width_px, channels of the input).
    """
    height, width = pixels.shape[:2]
    while width >= 2 * width_px and height >= 2 * height_px:
        width, height = width // 2, height // 2
        pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    if (width, height) != (width_px, height_px):
        pixels = np.asarray(cv2.resize(pixels, (width_px, height_px), interpolation=cv2.INTER_LINEAR), np.uint8)
    return pixels


def paint_black(pixels: Pixels, mask: Rectangle, margin_px: int = 0) -> None:
    """Zero a rectangle in place, rounded outwards to whole pixels and then ``margin_px`` wider on every side."""
    height, width = pixels.shape[:2]
    left = max(0, math.floor(mask.left * width) - margin_px)
    top = max(0, math.floor(mask.top * height) - margin_px)
    right = min(width, math.ceil((mask.left + mask.width) * width) + margin_px)
    bottom = min(height, math.ceil((mask.top + mask.height) * height) + margin_px)
    pixels[top:bottom, left:right] = 0
