"""Which parts of a picture a network uses: each part is covered in turn, and the change of the predictions is noted."""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from agent.contract.errors import SpecError
from agent.contract.observation import Observation, Pixels
from agent.contract.profile import Rectangle
from agent.contract.spec import ModelSpec
from agent.engines.base import Prediction

COLUMNS, ROWS = 16, 9
"""Rows and columns of parts; in a picture of 16 : 9, the parts are squares."""
PASSES = 1 + ROWS * COLUMNS
"""Forward passes for one picture: as it is, and with each part covered."""

_MARGIN = 0.5  # half a part more on every side: a thing on the border of two parts is covered whole once
_WIDTH_PX = 960


def refuse_stacks(spec: ModelSpec) -> None:
    """Refuse a network that sees several pictures at once.

    Raises:
        SpecError: If it does.
    """
    if spec.stack is not None:
        raise SpecError(
            f"{spec.name} sees {spec.stack.pictures} pictures at once, expected one: covering a part of one among "
            "several shows little. Study a network that sees one."
        )


def changes(
    observation: Observation,
    infer: Callable[[Observation], Prediction],
    advance: Callable[[], None] = lambda: None,
) -> tuple[Prediction, npt.NDArray[np.float32]]:
    """Cover each part of a picture with its mean colour; compare the predictions with that of the whole picture.

    Args:
        observation: One picture, the network's input.
        infer: Runs the network; it is called :data:`PASSES` times.
        advance: Called after each pass; may raise to end it.

    Returns:
        The prediction for the whole picture; and the absolute change of each prediction, float32, shape (ROWS, COLUMNS,
        outputs), while that part, and half a part around it, is covered.
    """
    prediction = np.array(infer(observation), np.float32)
    advance()
    change = np.zeros((ROWS, COLUMNS, len(prediction)), np.float32)
    for place in np.ndindex(ROWS, COLUMNS):
        change[place] = np.abs(infer(cover(observation, part(*place))) - prediction)
        advance()
    return prediction, change


def part(row: int, column: int) -> Rectangle:
    """Return the rectangle that is covered for a part of the map, as fractions of the picture."""
    left, right = max(0.0, column - _MARGIN), min(COLUMNS, column + 1 + _MARGIN)
    top, bottom = max(0.0, row - _MARGIN), min(ROWS, row + 1 + _MARGIN)
    return Rectangle(left / COLUMNS, top / ROWS, (right - left) / COLUMNS, (bottom - top) / ROWS)


def cover(observation: Observation, hidden: Rectangle) -> Observation:
    """Return a copy in which the hidden part has the mean colour of the whole picture."""
    height, width = observation.shape[:2]
    left, right = round(hidden.left * width), round((hidden.left + hidden.width) * width)
    top, bottom = round(hidden.top * height), round((hidden.top + hidden.height) * height)
    covered = observation.copy()
    covered[top:bottom, left:right] = observation.reshape(-1, 3).mean(axis=0)
    return covered


def draw_change(picture: Observation, change: npt.NDArray[np.float32]) -> Pixels:
    """Return a picture with a map of one output's change over it: dark is no change, bright the largest.

    Args:
        picture: uint8, shape (height, width, 3), RGB.
        change: Of any shape.

    Returns:
        uint8, shape (540, 960, 3), BGR, for a picture of 16 : 9.
    """
    height, width = picture.shape[:2]
    size = (_WIDTH_PX, round(_WIDTH_PX * height / width))
    large = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), size, interpolation=cv2.INTER_CUBIC)
    levels = (255 * change / max(float(change.max()), 1e-9)).astype(np.uint8)
    colours = cv2.applyColorMap(cv2.resize(levels, size, interpolation=cv2.INTER_CUBIC), cv2.COLORMAP_INFERNO)
    return np.asarray(cv2.addWeighted(large, 0.45, colours, 0.55, 0.0), np.uint8)
