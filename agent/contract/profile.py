"""A game's facts as plain data: what to hide from the network and how fast to drive."""

import math
from dataclasses import dataclass

from agent.contract.errors import GameError


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A part of a frame, in fractions of its size, so that it holds at every resolution.

    Attributes:
        left: Distance from the left edge, [0, 1].
        top: Distance from the top edge, [0, 1].
        width: (0, 1].
        height: (0, 1].
    """

    left: float
    top: float
    width: float
    height: float

    def __post_init__(self) -> None:
        values = (self.left, self.top, self.width, self.height)
        if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in values):
            raise GameError(f"rectangle {values} has a value that is no finite number, expected fractions from 0 to 1.")
        beyond = self.left + self.width > 1 or self.top + self.height > 1
        if beyond or min(self.left, self.top) < 0 or min(self.width, self.height) <= 0:
            raise GameError(
                f"rectangle {values} leaves the frame or is empty, expected (left, top, width, height) as fractions "
                "from 0 to 1."
            )


@dataclass(frozen=True, slots=True)
class GameProfile:
    """One game.

    Attributes:
        name: Key on the command line.
        title: What to call it in front of people.
        rate_hz: Control rate demonstrations are recorded at.
        masks: Parts of the frame painted black before the network sees it.
        mirrored: Parts that each mirror about their own middle when a picture is flipped left to right for training
            (the scene, an instrument that swings both ways); the rest of the picture stays as it is. Empty if the
            game's pictures must not be flipped.
        notes: What was verified on a running game, and what was not.
    """

    name: str
    title: str
    rate_hz: float
    masks: tuple[Rectangle, ...] = ()
    mirrored: tuple[Rectangle, ...] = ()
    notes: str = ""
