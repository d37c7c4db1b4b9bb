"""A screen that is painted anew at each look."""

import numpy as np

from agent.contract.observation import Pixels
from agent.contract.profile import Region


class PaintedGrabber:
    """A desktop of one monitor."""

    def __init__(self) -> None:
        self._looks = 0

    @property
    def monitors(self) -> list[Region]:
        return [Region(0, 0, 320, 200), Region(0, 0, 320, 200)]

    def grab(self, region: Region) -> Pixels:
        self._looks += 1
        picture = np.full((region.height, region.width, 4), 40, np.uint8)
        picture[:, region.width // 2 :] = 200
        picture[0, 0] = self._looks % 256
        return picture

    def close(self) -> None:
        pass


class RaisingGrabber(PaintedGrabber):
    """One that cannot be opened."""

    def __init__(self) -> None:
        raise KeyError("no such\nscreen")
