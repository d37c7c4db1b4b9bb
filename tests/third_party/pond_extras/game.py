"""A boat that is pushed aside and should reach the other bank."""

import numpy as np

from agent.contract.controls import Controls
from agent.contract.observation import Pixels
from agent.contract.profile import GameProfile
from agent.games.base import DriveState, Outcome
from pond_extras.entries import POND

TICK_S = 0.05
WIDTH_PX, HEIGHT_PX = 64, 32


class Pond:
    """50 m of water, and a light ahead of the boat, which drifts away from it while it moves."""

    def __init__(self) -> None:
        self.reset(0)

    @property
    def profile(self) -> GameProfile:
        return POND.profile

    @property
    def tick_s(self) -> float:
        return TICK_S

    @property
    def state(self) -> DriveState:
        outcome: Outcome = "driving"
        if abs(self._aside_m) > 5:
            outcome = "left"
        elif self._ahead_m >= 50:
            outcome = "lap"
        elif self._time_s > 30:
            outcome = "timeout"
        return DriveState(self._time_s, self._ahead_m, min(1.0, self._ahead_m / 50), outcome, 20 * self._throttle)

    def reset(self, seed: int) -> None:
        self._time_s = self._ahead_m = self._throttle = 0.0
        self._aside_m = 2.0 if seed % 2 else -2.0

    def advance(self, controls: Controls, ticks: int = 1) -> None:
        for _ in range(ticks):
            if self.state.outcome != "driving":
                return
            self._throttle = controls.throttle
            self._time_s += TICK_S
            self._ahead_m += 20 * controls.throttle * TICK_S
            self._aside_m += (10 * controls.steering + 0.5 * controls.throttle * self._aside_m) * TICK_S

    def render(self) -> Pixels:
        picture = np.full((HEIGHT_PX, WIDTH_PX, 3), 20, np.uint8)
        light = round(WIDTH_PX / 2 - self._aside_m * WIDTH_PX / 12)
        picture[8:24, max(0, light - 8) : light + 8] = 255
        return picture

    def close(self) -> None:
        pass
