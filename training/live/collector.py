"""A collector of a live training: an expert drives a simulator, or labels what the newest weights do there."""

import logging
import time
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from agent.contract.controls import with_standard_axes
from agent.contract.episodes.columns import RECORDING_SUFFIX, SEALED_SUFFIX, EpisodeHeader
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.errors import AgentError, TrainingError
from agent.engines.base import Engine
from agent.engines.registry import load_engine
from training.collecting.courses import Course, Labeller, find_course
from training.collecting.disturbances import disturb
from training.collecting.labelling import SharedWheel, drive_and_label
from training.data.held_out import HELD_OUT_SEED
from training.live.config import LiveSettings
from training.live.handover import newest
from training.live.keeper import kept_going
from training.live.trainer import EPISODES

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Driven:
    """An episode that a collector has recorded.

    Attributes:
        path: The episode.
        weights: Round of the weights that drove; 0: the expert drove.
        episode_return: The drive's return.
        seconds: It took.
    """

    path: Path
    weights: int
    episode_return: float
    seconds: float


def run_collector(link: "Connection[Any, Any]", settings: LiveSettings, index: int) -> None:
    """Record episode after episode until the other end of the pipe is closed; what a collector's process runs.

    Collectors take turns with the seeds. One that was killed leaves its recording behind, to within half a second, and
    goes on with the next seed. It sends a :class:`Driven` an episode; its last word is an error's text.
    """
    with kept_going(link, min(19, settings.nice + 1)):
        collector = Collector(settings)
        seed = collector.first_seed(index)
        while not link.poll():
            if seed >= HELD_OUT_SEED:
                raise TrainingError(f"track {seed} is kept for judging. Start with a lower --seed-start.")
            if seed not in settings.driven_tracks:
                driven = collector.record(seed, lambda: bool(link.poll()))
                if driven is not None:
                    link.send(driven)
            seed += settings.collectors


class Collector:
    """Records episodes into the run's folder.

    Args:
        settings: The run's.
    """

    def __init__(self, settings: LiveSettings) -> None:
        self._settings = settings
        self._folder = settings.folder / EPISODES
        self._course: Course = find_course(settings.game)
        self._engine: Engine | None = None
        self._weights: Path | None = None

    def first_seed(self, index: int) -> int:
        """Return the track that a collector begins with: one of its own, after all that were ever driven here.

        The oldest episodes may have been deleted, so it does not help to look which are missing.

        Args:
            index: Of the collector, from 0.
        """
        settings = self._settings
        found = [*self._folder.glob(f"*{SEALED_SUFFIX}"), *self._folder.glob(f"*{RECORDING_SUFFIX}")]
        numbers = [path.stem.rpartition("-")[2] for path in found]
        after = max((int(number) + 1 for number in numbers if number.isdigit()), default=settings.seed_start)
        rounds = -(-max(0, after - settings.seed_start - index) // settings.collectors)
        return settings.seed_start + index + rounds * settings.collectors

    def record(self, seed: int, until: Any = lambda: False) -> Driven | None:
        """Drive a track and record it; return None if told to end on the way.

        Raises:
            AgentError: If the episode cannot be written, or game or network fail.
        """
        started_s = time.monotonic()
        settings, course = self._settings, self._course
        rng = np.random.default_rng([seed, settings.seed, 11])
        wheel, driver, weights = self._wheel(rng)
        disturbances = disturb(rng, settings.noise, course.profile.rate_hz)
        limit_s = course.decisions / course.profile.rate_hz
        with closing(course.make_simulator(course.tracks, limit_s)) as game:
            game.reset(seed)
            expert: Labeller = course.find_expert()(game)
            expert.plan()
            axes = with_standard_axes(course.profile.axes)
            header = EpisodeHeader(
                settings.game, driver, course.profile.rate_hz, seed, track=game.state.track, axes=axes
            )
            with EpisodeWriter(self._path(seed), header) as writer:
                drive_and_label(course, game, expert, disturbances, writer.write, course.decisions, wheel, until)
            if until():
                return None
            return Driven(self._path(seed), weights, game.state.episode_return, time.monotonic() - started_s)

    def _wheel(self, rng: np.random.Generator) -> tuple[SharedWheel | None, str, int]:
        """Return who drives beside the expert, its name in the episode, and its round."""
        found = newest(self._settings.folder)
        if found is not None and found != self._weights:
            try:
                engine = load_engine("openvino", found, 1)
            except AgentError as exc:  # such as weights that were deleted at this moment
                _log.warning("collecting with the weights before: %s", exc)
            else:
                if self._engine is not None:
                    self._engine.close()
                self._engine, self._weights = engine, found
        if self._engine is None or self._weights is None:
            return None, "expert", 0
        stretch = round(self._course.profile.rate_hz)
        wheel = SharedWheel(self._engine, self._settings.expert_share, stretch, rng)
        return wheel, f"dagger:live-{self._weights.name}", int(self._weights.name)

    def _path(self, seed: int) -> Path:
        return self._folder / f"{self._settings.game}-{seed:07d}{SEALED_SUFFIX}"
