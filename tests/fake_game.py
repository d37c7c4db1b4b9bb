"""A simulator that waits for its driver, for tests."""

import numpy as np

from agent.contract.controls import Controls
from agent.contract.observation import Pixels
from agent.contract.profile import GameProfile
from agent.games.base import DriveState


class FakeGame:
    """Counts its physics ticks, paints the count, and keeps what it was told."""

    profile = GameProfile("fake", "Fake", 30.0)
    tick_s = 1 / 60

    def __init__(self) -> None:
        self.commands: list[tuple[Controls, int]] = []
        self.ticks = 0

    @property
    def state(self) -> DriveState:
        return DriveState(self.ticks * self.tick_s, 0.0, 0.0, "driving", 0.0)

    def reset(self, seed: int) -> None:
        self.ticks = 0

    def advance(self, controls: Controls, ticks: int = 1) -> None:
        self.commands.append((controls, ticks))
        self.ticks += ticks

    def render(self) -> Pixels:
        return np.full((2, 3, 3), self.ticks, np.uint8)

    def close(self) -> None:
        pass
