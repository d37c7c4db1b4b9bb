"""``python -m tests.road_game.live``: a live training of the road game on a virtual clock, with the scripted person.

The person drives from nothing, gives the wheel away once there are weights, and takes it back whenever the car goes
wrong. Player, recorder, trainer and buffers are the real ones of ``python -m training live``; only the trainer's
process is left out: it does so many steps a second of the game's time. The result is JSON.
"""

import argparse
import gc
import json
import logging
import sys
from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from agent.contract.controls import with_standard_axes
from agent.contract.episodes.columns import EpisodeHeader
from agent.driving.loop import drive
from agent.engines.registry import load_engine
from agent.observers.base import TickRecord
from agent.policies.base import Policy
from agent.policies.hot_swap import HotSwapPolicy
from agent.policies.stacked import policy_for
from agent.system.pacing import Pacer
from training.live.config import LiveSettings
from training.live.interventions import Interventions
from training.live.player import Nobody, Player
from training.live.recorder import LiveRecorder
from training.live.trainer import EPISODES, RoundEnd, Trainer
from training.live.unattended import live_spec

from .driver import Manner
from .figures import Spell, figures
from .lockstep import ROAD, Desk, TwoHands


class Beside:
    """Has the trainer work while the game's time goes on; an observer of the drive.

    Args:
        trainer: In this process.
        policy: Takes the weights; waited for, so that no figure depends on the machine.
        desk: The game.
        steps_per_s: Steps in a second of the game's time.

    Attributes:
        ends: The rounds.
        first_s: When the first weights were handed over.
    """

    def __init__(self, trainer: Trainer, policy: HotSwapPolicy, desk: Desk, steps_per_s: float) -> None:
        self.ends: list[RoundEnd] = []
        self.first_s: float | None = None
        self._trainer = trainer
        self._policy = policy
        self._desk = desk
        self._steps_per_s = steps_per_s
        self._owed = 0.0
        self._last_s = desk.now_s()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def on_tick(self, record: TickRecord) -> None:
        """Do the steps that are due."""
        now_s = self._desk.now_s()
        self._owed += (now_s - self._last_s) * self._steps_per_s
        self._last_s = now_s
        self._trainer.take_in()
        self._policy.wait(60.0)
        if not self._trainer.stock.ready:
            self._owed = 0.0
        while self._owed >= 1.0:
            self._owed -= 1.0
            end = self._trainer.step()
            # The loop collects garbage after every tick, and would go through all that the trainer has made.
            gc.freeze()
            if end is not None:
                self.ends.append(end)
                if self.first_s is None and end.weights is not None:
                    self.first_s = now_s


def _open(weights: Path) -> Policy:
    return policy_for(load_engine("openvino", weights, 1))


def learn(desk: Desk, settings: LiveSettings, minutes: float, steps_per_s: float, seed: int = 0) -> dict[str, Any]:
    """Have the person drive from nothing and the network learn beside them.

    Args:
        desk: The game.
        settings: Of the training.
        minutes: Of the game's time.
        steps_per_s: Of the trainer, in a second of the game's time.
        seed: Of the person's errors.

    Returns:
        ``by_minute``: seconds that the network drove, and takeovers, in each minute of the game; ``first_weights_s``;
        ``unaided_lap_s``: when the first lap without help was over, or None; ``rounds``, ``samples``; and the figures
        of the last third.
    """
    spec = live_spec(settings, ROAD)
    trainer = Trainer(settings, spec, ROAD.mirrored)
    spells: list[Spell] = []
    desk.begin_race()
    began_s = desk.now_s()
    with closing(HotSwapPolicy(Nobody(spec))) as policy:
        player = Player(policy, settings.folder, _open, desk.now_s)
        header = EpisodeHeader(ROAD.name, "human", ROAD.rate_hz, axes=with_standard_axes(ROAD.axes))
        recorder = LiveRecorder(settings.folder / EPISODES, header, lambda: policy.driver, blocking=True)
        beside = Beside(trainer, policy, desk, steps_per_s)
        counted = Interventions()
        hands = TwoHands(
            desk, ROAD.keys, 1 / ROAD.rate_hz, spells, Manner(), lambda: player.round > 0 or policy.is_ready, seed
        )
        summary = drive(
            desk,
            hands,
            policy,
            Pacer(1 / ROAD.rate_hz, desk.clock, desk.clock.sleep),
            [recorder, player, beside, counted],
            until=lambda: desk.now_s() - began_s > minutes * 60,
            takeover=hands.takeover,
        )
        if summary.problems:
            raise RuntimeError(summary.problems[0])
    lap_s = first_unaided_lap(desk.rows, spells)
    last = [row for row in desk.rows if row["clock_s"] > began_s + minutes * 40]
    return {
        "first_weights_s": None if beside.first_s is None else round(beside.first_s - began_s, 1),
        "unaided_lap_s": None if lap_s is None else round(lap_s - began_s, 1),
        "rounds": len(beside.ends),
        "samples": trainer.stock.arrived,
        "swaps": policy.swaps,
        "by_minute": by_minute(spells, began_s, minutes),
        "last_third": figures(last, [spell for spell in spells if spell.from_s > began_s + minutes * 40]),
    }


def by_minute(spells: Sequence[Spell], began_s: float, minutes: float) -> list[dict[str, float]]:
    """Return by minute of the game for how long the network drove, and how often the person took over."""
    told = []
    for minute in range(int(minutes)):
        start_s, end_s = began_s + 60 * minute, began_s + 60 * (minute + 1)
        helped_s = sum(max(0.0, min(end_s, each.until_s) - max(start_s, each.from_s)) for each in spells)
        taken = sum(start_s <= each.from_s < end_s and each.cause != "demonstration" for each in spells)
        told.append({"alone_s": round(60 - helped_s, 1), "interventions": taken})
    return told


def first_unaided_lap(rows: Sequence[Any], spells: Sequence[Spell]) -> float | None:
    """Return when the first lap was over in which the person never drove; None if there was none."""
    line_s: float | None = None
    for before, row in pairwise(rows):
        if row["laps"] > before["laps"]:
            now_s = float(row["clock_s"])
            if line_s is not None and not any(each.from_s < now_s and each.until_s > line_s for each in spells):
                return now_s
            line_s = now_s
    return None


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.road_game.live", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the run's folder, empty")
    parser.add_argument("--minutes", type=float, default=30.0, help="of the game's time (default: 30)")
    parser.add_argument("--steps", type=float, default=8.0, help="of the trainer a second (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="of track, person and network (default: 0)")
    arguments = parser.parse_args()
    logging.getLogger("agent").setLevel(logging.ERROR)
    settings = LiveSettings(game="my-road", out=arguments.out, seed=arguments.seed)
    told = learn(Desk(arguments.seed), settings, arguments.minutes, arguments.steps, arguments.seed)
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
