"""Where the car is on TORCS' map."""

import math

import numpy as np

from agent.contract.observation import Pixels

_MAP = (slice(10, 66), slice(270, 320))  # of the window's pixels; what the game draws of the track is in its middle
_MARK, _NO_MARK = 130, 70  # red, and green and blue, of the car's mark on it
_MARK_PX = 3  # wide and high at most: the scene behind has red things too
_LEAP = 0.1  # of a round, between two looks, that no car makes
_LEAP_PER_S = 0.02  # a round in 50 s; bends near the middle of the map count for more than their length


class Progress:
    """How far round the track the car is, by its mark on the map in the game's picture.

    Attributes:
        rounds: Full turns about the map's middle, forwards on any track as long as the car is; a lap is one.
        rounds_s: After how many seconds each was full.
    """

    def __init__(self) -> None:
        self.rounds = 0.0
        self.rounds_s: list[float] = []
        self._turned = self._since_s = self._seen_s = 0.0
        self._last: float | None = None

    def add(self, picture: Pixels, time_s: float) -> None:
        """Look at a picture of the game's window; times never grow less."""
        place = place_on_map(picture)
        if place is None:
            return
        if self._last is None:
            self._last, self._since_s, self._seen_s = place, time_s, time_s
        step = (place - self._last + 0.5) % 1.0 - 0.5
        if abs(step) > max(_LEAP, _LEAP_PER_S * (time_s - self._seen_s)):  # longer unseen, farther away
            return
        self._turned += step
        self._last, self._seen_s = place, time_s
        self.rounds = abs(self._turned)
        if self.rounds >= len(self.rounds_s) + 1:
            self.rounds_s.append(time_s - self._since_s)


def place_on_map(picture: Pixels) -> float | None:
    """Return the bearing of the car's mark from the map's middle, in turns, [-0.5, 0.5]; None where it cannot be told.

    Args:
        picture: Of the window: shape (HEIGHT_PX, WIDTH_PX, 3 or 4), BGR.
    """
    blue, green, red = np.moveaxis(picture[_MAP][..., :3], -1, 0)
    rows, columns = np.nonzero((red > _MARK) & (green < _NO_MARK) & (blue < _NO_MARK))
    if not rows.size or max(np.ptp(rows), np.ptp(columns)) >= _MARK_PX:
        return None
    height, width = red.shape
    return math.atan2((height - 1) / 2 - rows.mean(), columns.mean() - (width - 1) / 2) / math.tau
