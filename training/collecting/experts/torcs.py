"""The expert of TORCS: a program that looks at the window and says what to press, as a person would."""

import math
import random
import time

import numpy as np
import numpy.typing as npt

from agent.contract.controls import Controls
from agent.contract.observation import Pixels
from agent.games.torcs.window import HEIGHT_PX, WIDTH_PX
from agent.inputs.sampling import KEYS_AVERAGED_S


class Disturbances:
    """Steers off the line now and then, to show how to come back. Only the way back is recorded."""

    def __init__(self, every_s: float, seed: int) -> None:
        self._every_s = every_s
        self._random = random.Random(seed)
        self._steering, self._from_s, self._until_s = 0.0, math.inf, math.inf
        self._plan()

    def are_near(self) -> bool:
        """Return whether a disturbance goes on, or is so near that it would change a picture's averaged controls."""
        return time.monotonic() > self._from_s - 2 * KEYS_AVERAGED_S

    def disturb(self, wanted: Controls) -> Controls:
        """Return the controls to use instead of the wanted ones."""
        now_s = time.monotonic()
        if now_s > self._until_s:
            self._plan()
        return Controls(self._steering, wanted.throttle) if now_s >= self._from_s else wanted

    def _plan(self) -> None:
        if self._every_s:
            self._from_s = time.monotonic() + self._every_s * self._random.uniform(0.5, 1.5)
            self._until_s = self._from_s + self._random.uniform(0.3, 0.7)
            self._steering = self._random.choice((-1, 1)) * self._random.uniform(0.2, 0.45)


# A simple stand-in for a person: it finds the road in the picture and steers for its middle. Values are in pixels of a
# window of 320 x 180, found by trial on e-track-5.
_ROWS = range(140, 70, -1)  # from the bonnet to the horizon, which is at 68
_WIDTH = 6.5  # largest width of the road, in pixels per row below row 60, where a straight road ends
_CAR = (slice(78, 100), slice(145, 176))
_THROTTLE = 0.36  # about 45 km/h
_FAR_ROW, _NEAR_ROW = 79, 100  # the near row is at the car
_FAR, _DAMPING = 1.6, 5.0
_MOST = 0.7  # largest steering
_ASIDE = 0.22  # at this distance from the middle, it brakes for a moment; then not again for _NO_BRAKE_S
_BRAKE_S, _NO_BRAKE_S = 0.2, 12.0
_LOST = 0.5  # at this distance from the middle, it is off the road
_STILL = 0.4  # change of a standing car's picture, in grey levels
_REVERSE_S = 1.5
_PATIENCE_S = 6.0


class Player:
    """Decides from the pictures alone.

    Attributes:
        is_lost: Whether it is off the road or reverses; its controls are no good example then.
    """

    def __init__(self) -> None:
        self.is_lost = False
        self._found_s = time.monotonic()
        self._far, self._change = 0.0, 5.0
        self._last: npt.NDArray[np.float32] | None = None
        self._reverse_until_s = time.monotonic()
        self._brake_from_s = self._reverse_until_s - _BRAKE_S

    def decide(self, picture: Pixels) -> Controls:
        """Return the controls for a picture."""
        now_s = time.monotonic()
        far, near = _look(picture)
        if far is None:
            far = self._far
        steering = _FAR * far + _DAMPING * (far - self._far)
        self._far = far
        self.is_lost = near is None or abs(near) > _LOST
        if not self.is_lost:
            self._found_s = now_s
        if self._is_stuck(picture, now_s):
            self.is_lost = True
            return Controls(brake=1.0)
        if near is not None and abs(near) > _ASIDE and now_s > self._brake_from_s + _BRAKE_S + _NO_BRAKE_S:
            self._brake_from_s = now_s
        brakes = now_s - self._brake_from_s < _BRAKE_S
        throttle = 0.0 if brakes else _THROTTLE * min(1.0, max(0.5, 1.2 - abs(far)))
        return Controls(min(_MOST, max(-_MOST, steering)), throttle, float(brakes))

    def _is_stuck(self, picture: Pixels, now_s: float) -> bool:
        scene = picture[100:138:5, ::10, :3].astype(np.float32)
        self._change = 0.97 * self._change + 0.03 * (
            5.0 if self._last is None else float(np.abs(scene - self._last).mean())
        )
        self._last = scene
        gets_nowhere = self._change < _STILL or now_s > self._found_s + _PATIENCE_S
        if gets_nowhere and now_s > self._reverse_until_s + _PATIENCE_S:
            self._reverse_until_s = now_s + _REVERSE_S
        return now_s < self._reverse_until_s


def _look(picture: Pixels) -> tuple[float | None, float | None]:
    """Return how far the road's middle lies beside the picture's, [-1, 1]: far ahead, and at the car.

    None if no road is visible there.
    """
    assert picture.shape[:2] == (HEIGHT_PX, WIDTH_PX), picture.shape
    _, green, red = np.moveaxis(picture[..., :3].astype(np.int16), -1, 0)
    road: npt.NDArray[np.bool_] = green < 1.08 * red + 3
    road[_CAR] = True
    middle, middles = WIDTH_PX // 2, {}
    for y in _ROWS:
        found = np.flatnonzero(road[y])
        if not found.size:
            break
        at = int(found[np.abs(found - middle).argmin()])
        gaps = np.flatnonzero(~road[y])
        left = int(max(gaps[gaps < at], default=-1)) + 1
        right = int(min(gaps[gaps > at], default=WIDTH_PX)) - 1
        if right - left < 4:
            break
        width = _WIDTH * (y - 60)
        if right - left > 1.15 * width:  # too wide: the pits are beside the road
            if right < WIDTH_PX - 2:
                left = int(max(left, right - width))
            elif left > 1:
                right = int(min(WIDTH_PX - 1, left + width))
        middles[y] = (left + right) / 2
        middle = int(min(max(middle + np.clip(middles[y] - middle, -10, 10), left), right))
    far = _mean(middles, max(_FAR_ROW, min(middles, default=140) + 2))
    return far, _mean(middles, _NEAR_ROW)


def _mean(middles: dict[int, float], row: int) -> float | None:
    there = [middle for y, middle in middles.items() if abs(y - row) <= 2]
    return (float(np.mean(there)) - WIDTH_PX / 2) / (WIDTH_PX / 2) if there else None
