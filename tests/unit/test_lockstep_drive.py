"""An episode of a simulator that waits: reset, drive, and what its observers are given."""

from collections.abc import Sequence

import numpy as np
import pytest

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.observation import Pixels
from agent.contract.profile import GameProfile
from agent.contract.spec import ModelSpec
from agent.engines.constant import ConstantEngine
from agent.games.base import DriveState
from agent.games.lockstep import Lockstep
from agent.observers.base import TickObserver, TickRecord
from agent.policies.network import NetworkPolicy
from agent.sessions.lockstep_drive import drive_in_lockstep

SPEC = ModelSpec("constant", "none", "line", width_px=8, height_px=6)


class LineGame:
    """A road of 100 m; a tick is 0.1 s, and the throttle is the speed in 10 m/s."""

    profile = GameProfile("line", "Line", 10.0)
    tick_s = 0.1

    def __init__(self) -> None:
        self.ticks, self.metres, self.seed = 0, 0.0, -1

    @property
    def state(self) -> DriveState:
        outcome = "lap" if self.metres >= 100 else "driving"
        return DriveState(self.ticks * self.tick_s, self.metres, self.metres / 100, outcome, self.metres)

    def reset(self, seed: int) -> None:
        self.ticks, self.metres, self.seed = 0, 0.0, seed

    def advance(self, controls: Controls, ticks: int = 1) -> None:
        self.ticks += ticks
        self.metres = round(self.metres + controls.throttle * ticks, 6)

    def render(self) -> Pixels:
        return np.full((6, 8, 3), self.ticks % 256, np.uint8)

    def close(self) -> None:
        pass


class Witness:
    """Notes what the newest frame shows, and what the simulator says once the controls are sent."""

    def __init__(self, lockstep: Lockstep, game: LineGame) -> None:
        self.seen: list[tuple[float, float]] = []
        self._lockstep = lockstep
        self._game = game

    def __enter__(self) -> "Witness":
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def on_tick(self, record: TickRecord) -> None:
        self.seen.append((self._lockstep.shown.speed, self._game.state.speed))


def test_the_drive_begins_on_its_track_and_ends_with_the_episode() -> None:
    game, policy = LineGame(), NetworkPolicy(ConstantEngine(SPEC, Controls(0.0, 1.0, 0.0)))
    for seed in (7, 8):
        summary = drive_in_lockstep(game, policy, seed, hold_ticks=5)
        assert (game.seed, game.state.outcome, game.ticks) == (seed, "lap", 100)
        assert (summary.predictions, summary.stats.missed, summary.stats.rate_hz) == (20, 0, pytest.approx(2.0))


def test_a_limit_ends_it_before_the_decision_that_would_pass_it() -> None:
    game, policy = LineGame(), NetworkPolicy(ConstantEngine(SPEC, NEUTRAL))
    drive_in_lockstep(game, policy, 0, hold_ticks=3, limit_s=2.1)
    assert game.ticks == 21
    drive_in_lockstep(game, policy, 0, hold_ticks=3, limit_s=2.0)
    assert game.ticks == 21, "0.3 s is a decision: the last begins before 2.0 s"


def test_observers_are_made_on_the_track_and_can_ask_for_the_state_shown() -> None:
    game, policy = LineGame(), NetworkPolicy(ConstantEngine(SPEC, Controls(0.0, 1.0, 0.0)))
    made: list[Witness] = []

    def observers_for(lockstep: Lockstep) -> Sequence[TickObserver]:
        assert (game.seed, game.ticks) == (3, 0)
        assert lockstep.period_s == pytest.approx(0.5)
        made.append(Witness(lockstep, game))
        return made

    drive_in_lockstep(game, policy, 3, 5, observers_for)
    assert made[0].seen == [(float(tick), tick + 5.0) for tick in range(0, 100, 5)]
