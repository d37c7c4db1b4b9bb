"""``python -m tests.live_kills --count 100``: a live training's trainer and recorder, killed at random moments.

A recorder writes episodes of a small made-up game all the time, in a process of its own. The trainer of ``python -m
training live`` learns from them. Either is killed at a random moment, again and again. Then it is counted whether every
row that reached the disk reached the trainer, once. The result is JSON.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from agent.contract.controls import Controls
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.reading import Episode
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.observation import Frame
from agent.contract.spec import ModelSpec, outputs_named
from training.live.arrivals import is_held_out
from training.live.config import LiveSettings
from training.live.keeper import Keeper
from training.live.trainer import EPISODES, RoundEnd, Told, run_trainer

SPEC = ModelSpec(
    "pond", "pilotnet", "pond", width_px=32, height_px=16, rate_hz=20, outputs=outputs_named(("steering", "throttle"))
)
RATE_HZ = 20.0
_EPISODE_ROWS = 300
_GIVE_UP_S = 300.0


def picture(steering: float) -> np.ndarray:
    """Show where to steer by which half is the brighter one."""
    pixels = np.full((16, 32, 3), 40, np.uint8)
    pixels[:, :16] += np.uint8(90 * (1 - steering))
    pixels[:, 16:] += np.uint8(90 * (1 + steering))
    return pixels


def rows(count: int, seed: int) -> list[EpisodeRow]:
    """Return rows of a drive on the pond."""
    steering = np.random.default_rng(seed).choice([-0.8, 0.0, 0.8], count).tolist()
    made = []
    for number, angle in enumerate(steering):
        controls = Controls(angle, float(angle == 0.0), 0.0)
        frame = Frame(picture(angle), round(number * 1e9 / RATE_HZ), number)
        made.append(EpisodeRow(frame, controls, controls))
    return made


def run_recorder(link: "Connection[Any, Any]", folder: Path, rate_hz: float) -> None:
    """Record episodes until told to end; what the recorder's process runs. Sends the number of rows of each."""
    seed = time.monotonic_ns()
    with suppress(BrokenPipeError, EOFError, ConnectionResetError):
        link.send(0)
        while not link.poll():
            seed += 1
            with EpisodeWriter(folder / f"pond-{seed:020d}.parquet", EpisodeHeader("pond", "human", RATE_HZ)) as writer:
                for row in rows(_EPISODE_ROWS, seed):
                    if link.poll(1.0 / rate_hz):
                        break
                    writer.write(row)
            link.send(_EPISODE_ROWS)


class Trial:
    """Kills and looks; see the module.

    Args:
        folder: Of the run.
        seed: Of what is killed, and when.
        rate_hz: Rows a second.
    """

    def __init__(self, folder: Path, seed: int, rate_hz: float = 60.0) -> None:
        self._folder = folder
        self._chance = random.Random(seed)
        settings = LiveSettings(
            game="pond",
            out=folder,
            backbone="pilotnet",
            width_px=32,
            height_px=16,
            start=100,
            steps_per_round=20,
            batch_size=16,
            nice=0,
        )
        self.trainer = Keeper("trainer", run_trainer, (settings, SPEC, ()), lambda line: None)
        self.recorder = Keeper("recorder", run_recorder, (folder / EPISODES, rate_hz), lambda line: None)
        self.told = Told()
        self.rounds: list[int] = []
        self.back_s: list[float] = []

    def run(self, count: int, longest_s: float = 8.0) -> dict[str, Any]:
        """Kill so many times, and return what came of it."""
        kills = {"trainer": 0, "recorder": 0}
        self._wait_for_training(0)
        for _ in range(count):
            name = self._chance.choice(("trainer", "trainer", "recorder"))
            self._look_for(self._chance.uniform(0.0, longest_s))
            keeper = {"trainer": self.trainer, "recorder": self.recorder}[name]
            kills[name] += 1
            assert keeper.pid is not None
            os.kill(keeper.pid, signal.SIGKILL)
            if name == "trainer":
                killed_s = time.monotonic()
                self._wait_for_training(keeper.restarts + 1)
                self.back_s.append(time.monotonic() - killed_s)
            else:
                restarts = keeper.restarts
                while keeper.restarts == restarts:
                    self._look()
        self.recorder.end(10.0)
        expected = expected_samples(self._folder / EPISODES)
        give_up_s = time.monotonic() + _GIVE_UP_S
        while self._arrived() != expected and time.monotonic() < give_up_s:
            self._look()
        arrived = self._arrived()
        self.trainer.end()
        return {
            "kills": kills,
            "rows_expected": expected,
            "rows_arrived": arrived,
            "rounds": max(self.rounds, default=0),
            "training_again_s": {
                "median": round(float(np.median(self.back_s)), 1) if self.back_s else None,
                "worst": round(max(self.back_s), 1) if self.back_s else None,
            },
            "weights": sorted(path.name for path in (self._folder / "weights").iterdir()),
            "files": sum(1 for path in self._folder.rglob("*") if path.is_file()),
        }

    def _arrived(self) -> int:
        return self.told.arrived + self.told.held_out

    def _wait_for_training(self, restarts: int) -> None:
        give_up_s = time.monotonic() + _GIVE_UP_S
        self.told = Told()
        while self.trainer.restarts < restarts or self.told.state != "training":
            self._look()
            if time.monotonic() > give_up_s:
                raise RuntimeError(f"the trainer did not train within {_GIVE_UP_S:.0f} s: {self.told}")

    def _look_for(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self._look()

    def _look(self) -> None:
        for message in self.trainer.hear():
            if isinstance(message, Told):
                self.told = message
            elif isinstance(message, RoundEnd):
                self.rounds.append(message.round)
        self.recorder.hear()
        time.sleep(0.02)


def expected_samples(folder: Path) -> int:
    """Return how many rows of a folder's episodes are to reach the trainer, cut off recordings among them."""
    count = 0
    for path in [*folder.glob("*.parquet"), *folder.glob("*.recording")]:
        try:
            episode = Episode.open(path)
        except Exception:  # a recording that was killed before its first half second
            continue
        times = (episode.captured_ns - episode.captured_ns[0]) / 1e9
        count += sum(is_held_out(float(seconds), path.stem) is not None for seconds in times)
    return count


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.live_kills", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100, help="kills (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="of what is killed, and when (default: 0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run's folder, empty (default: a temporary one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        told = Trial(arguments.out or Path(temporary), arguments.seed).run(arguments.count)
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
