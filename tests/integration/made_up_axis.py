"""Drives, records, trains, replays and films with an axis that the table was given; run by ``test_made_up_axis``.

``python made_up_axis.py NAME FOLDER`` prints what it found as JSON. A program of its own, because the guard and a
real-time game are processes that import the table anew.
"""

import functools
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from agent.contract.controls import AXIS_BY_NAME, NEUTRAL, Controls, with_standard_axes
from agent.contract.episodes.reading import Episode
from agent.contract.observation import Pixels
from agent.contract.profile import GameProfile, Rectangle
from agent.contract.spec import ModelSpec, outputs_named
from agent.controllers.guard.client import GuardedController
from agent.controllers.memory import MemoryController
from agent.controllers.pad import to_pad
from agent.driving.loop import drive
from agent.driving.summary import DriveSummary
from agent.engines.constant import ConstantEngine
from agent.games.base import DriveState, Outcome
from agent.games.lockstep import Lockstep
from agent.games.profile_files import load_profile
from agent.games.realtime.game import RealTimeGame
from agent.observers.video import compose
from agent.policies.expert import ExpertPolicy
from agent.policies.network import NetworkPolicy
from agent.sessions.film import drive_for_film
from agent.sessions.record_simulator import record_episodes
from agent.sessions.replay import replay
from agent.system.pacing import Pacer, TickStats, VirtualClock

NAME = sys.argv[1]
ROWS = 12


class Game:
    """Shows a grey that tells how the axis should be moved, and feels what it gets."""

    profile = GameProfile(
        "made-up", "Made up", 25.0, mirrored=(Rectangle(0, 0, 1, 1),), axes=with_standard_axes([NAME])
    )
    tick_s = 0.04

    def __init__(self) -> None:
        self.reset(0)

    @property
    def wanted(self) -> float:
        axis = AXIS_BY_NAME[NAME]
        return axis.low + (axis.high - axis.low) * (self.ticks % ROWS) / ROWS

    @property
    def state(self) -> DriveState:
        outcome: Outcome = "lap" if self.ticks >= 10 * ROWS else "driving"
        return DriveState(self.ticks * self.tick_s, 0.0, 0.5, outcome, 3.0, {"felt": getattr(self.felt, NAME)})

    def reset(self, seed: int) -> None:
        self.ticks = 0
        self.felt = NEUTRAL

    def advance(self, controls: Controls, ticks: int = 1) -> None:
        self.felt = controls
        self.ticks += ticks

    def render(self) -> Pixels:
        return np.full((68, 120, 3), 20 * (self.ticks % ROWS), np.uint8)

    def close(self) -> None:
        pass


class Expert:
    """Moves the axis as the game wants it, and everything else a little."""

    def __init__(self, game: Game) -> None:
        self._game = game

    def plan(self) -> None:
        pass

    def decide(self) -> Controls:
        share = self._game.ticks % 5 / 10
        return Controls(share - 0.2, share, 0.0, **{NAME: self._game.wanted}).clip()


class LoggingController:
    """Writes what it is sent into a file, in the guard's process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.send(NEUTRAL)

    def send(self, controls: Controls) -> None:
        with self._path.open("a") as file:
            file.write(f"{getattr(controls, NAME)}\n")

    def hold(self, name: str) -> None:
        pass

    def release(self, name: str) -> None:
        pass


def constant(value: float) -> NetworkPolicy:
    """Return a network that always moves the axis so far."""
    outputs = outputs_named(Game.profile.axes)
    spec = ModelSpec("constant", "none", "made-up", 120, 68, outputs=outputs)
    return NetworkPolicy(ConstantEngine(spec, Controls(**{NAME: value})))


def drive_in_memory() -> list[float]:
    """Beyond both ends: the loop clips."""
    axis = AXIS_BY_NAME[NAME]
    sent = []
    for value in (axis.low - 1, axis.high + 1):
        game, clock, controller = Game(), VirtualClock(), MemoryController()
        summary = DriveSummary(TickStats(0.04))
        pacer = Pacer(0.04, clock, clock.sleep)
        enough = iter([False] * 3 + [True]).__next__
        drive(Lockstep(game, clock, 1), controller, constant(value), pacer, (), enough, summary)
        sent.append(getattr(controller.sent[0], NAME))
        assert controller.sent[-1] == NEUTRAL
    return sent


def drive_in_real_time(value: float) -> float:
    with RealTimeGame(Game, seed=0) as game:
        game.start()
        with game.controller as controller:
            for _ in range(500):
                controller.send(Controls(**{NAME: value}))
                if (felt := game.state.telemetry["felt"]) != 0.0:
                    return felt
                time.sleep(0.01)
    return 0.0


def drive_through_the_guard(folder: Path, value: float) -> list[float]:
    log = folder / "pad.log"
    with GuardedController(functools.partial(LoggingController, log)) as controller:
        controller.send(Controls(**{NAME: value}))
        for _ in range(500):
            if log.exists():
                break
            time.sleep(0.01)
    return [float(line) for line in log.read_text().split()]


def map_on_a_pad(folder: Path, value: float) -> dict[str, Any]:
    path = folder / "mine.toml"
    path.write_text(f'title = "A"\nrate_hz = 20\nnotes = "none"\n[pad]\n{NAME} = "right_x"\n', encoding="utf-8")
    profile = load_profile(path)
    return {"axes": profile.axes, "right_x": to_pad(Controls(**{NAME: value}), profile.pad).right_x}


def record(folder: Path) -> list[Path]:
    game = Game()
    return [path for path, _ in record_episodes(game, ExpertPolicy(Expert(game), game), range(3), 1, folder)]


def train(data: Path, out: Path) -> Path:
    from training.fitting.config import FitConfig
    from training.fitting.fit import fit

    config = replace(FitConfig.debug((data,), out), steps=1)
    return fit(config, Game.profile, report=lambda line: None, verbose=0).model


def main(folder: Path) -> None:
    axis = AXIS_BY_NAME[NAME]
    middle = axis.value_at(0.5)
    found: dict[str, Any] = {"in_memory": drive_in_memory(), "in_real_time": drive_in_real_time(middle)}
    found["through_the_guard"] = drive_through_the_guard(folder, middle)
    found["on_a_pad"] = map_on_a_pad(folder, middle)
    paths = record(folder / "episodes")
    episode = Episode.open(paths[0])
    found["recorded"] = {"axes": episode.header.axes, "labels": episode.labels([NAME])[:ROWS, 0].tolist()}
    model = train(folder / "episodes", folder / "run")
    found["trained"] = list(ModelSpec.load(model).output_names)
    from agent.engines.registry import load_engine
    from training.data.augment import flip_signs

    found["mirrored"] = flip_signs([NAME]).tolist()
    engine = load_engine("openvino", model)
    found["replayed"] = {name: report.max_error for name, report in replay(episode, engine).outputs.items()}
    game = Game()
    film = drive_for_film(game, NetworkPolicy(engine), 0, 1, "made up", scale=1.0, limit_s=0.4)
    engine.close()
    black = np.zeros((68, 600, 3), np.uint8)
    bars = [compose(black, controls, 1.0, Game.profile.axes) for controls in (NEUTRAL, Controls(**{NAME: axis.high}))]
    changed = np.flatnonzero((bars[0] != bars[1]).any(axis=(0, 2)))
    found["filmed"] = {"pictures": len(film), "bar": [int(changed[0]), int(changed[-1])], "width": black.shape[1]}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[2]))
