"""Finds the car on TORCS' map."""

import math

import numpy as np

from agent.contract.observation import Pixels

_MAP = (slice(10, 66), slice(270, 320))  # pixels of the window; the game draws the track in the middle of the map
_MARK, _NO_MARK = 130, 70  # least red, and most green and blue, of the car's mark
_MARK_PX = 3  # largest width and height of the mark: the scene behind has red things too
_LEAP = 0.1  # share of a round between two pictures that no car can make
_LEAP_PER_S = 0.02  # one round in 50 s; bends near the middle of the map count for more than their length


class Progress:
    """Measures how far round the track the car is, by its mark on the map in the game's picture.

    Attributes:
        rounds: Turns about the map's middle; a lap is one turn. Grows on any track while the car drives forwards.
        rounds_s: The time at which each turn was complete, in seconds.
    """

    def __init__(self) -> None:
        self.rounds = 0.0
        self.rounds_s: list[float] = []
        self._turned = self._since_s = self._seen_s = 0.0
        self._last: float | None = None

    def add(self, picture: Pixels, time_s: float) -> None:
        """Add a picture of the game's window; its time is never less than the last one."""
        place = place_on_map(picture)
        if place is None:
            return
        if self._last is None:
            self._last, self._since_s, self._seen_s = place, time_s, time_s
        step = (place - self._last + 0.5) % 1.0 - 0.5
        # The longer the mark was unseen, the farther it may have moved.
        if abs(step) > max(_LEAP, _LEAP_PER_S * (time_s - self._seen_s)):
            return
        self._turned += step
        self._last, self._seen_s = place, time_s
        self.rounds = abs(self._turned)
        if self.rounds >= len(self.rounds_s) + 1:
            self.rounds_s.append(time_s - self._since_s)


def place_on_map(picture: Pixels) -> float | None:
    """Return the bearing of the car's mark from the map's middle, in turns, [-0.5, 0.5]; None if unknown.

    Args:
        picture: Picture of the window: shape (HEIGHT_PX, WIDTH_PX, 3 or 4), BGR.
    """
    blue, green, red = np.moveaxis(picture[_MAP][..., :3], -1, 0)
    rows, columns = np.nonzero((red > _MARK) & (green < _NO_MARK) & (blue < _NO_MARK))
    if not rows.size or max(np.ptp(rows), np.ptp(columns)) >= _MARK_PX:
        return None
    height, width = red.shape
    return math.atan2((height - 1) / 2 - rows.mean(), columns.mean() - (width - 1) / 2) / math.tau
