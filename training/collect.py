"""Episodes out of a simulator: the expert's labels, with noise in what is executed so that recovery is seen."""

from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.contract.controls import Controls
from agent.contract.episode import EpisodeHeader, EpisodeRow, EpisodeWriter
from agent.contract.errors import TrainingError
from agent.contract.observation import Frame
from agent.contract.preprocess import preprocess
from agent.engines.base import Engine
from agent.games.carracing import HOLD_TICKS, PROFILE, TICK_S, CarRacing
from training.experts.carracing import CarRacingExpert
from training.workers import worker_pool


@dataclass(frozen=True, slots=True)
class CollectConfig:
    """What to record.

    Attributes:
        folder: Where the episodes go, one Parquet file a track.
        seed_start: First track; the following ones are consecutive.
        episodes: Number of tracks.
        noise: Strength of the disturbances in what is executed, 0 for none; 1 gives about one every second.
        weights: Model folder of a network that drives while the expert labels (DAgger); None lets the expert drive.
        expert_share: With ``weights``: share of the stretches that the expert drives all the same, [0, 1].
        engine_threads: With ``weights``: threads of each worker's engine.
        workers: Processes.
        decisions: Decisions after which an episode ends (a lap ends it earlier).
    """

    folder: Path
    seed_start: int
    episodes: int
    noise: float = 1.0
    weights: Path | None = None
    expert_share: float = 0.0
    engine_threads: int = 1
    workers: int = 2
    decisions: int = 500


def collect(config: CollectConfig, progress: Callable[[int, float], None] | None = None) -> list[Path]:
    """Record the episodes that are not there yet; an interrupted collection goes on where it stopped.

    Args:
        config: What to record.
        progress: Called in this process with (seed, return) as each new episode is done.

    Returns:
        Paths of all episodes of the collection, in order of their seeds.

    Raises:
        TrainingError: If the folder cannot be written.
    """
    try:
        config.folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise TrainingError(f"{config.folder} cannot be created ({exc.strerror}). Choose another --out.") from exc
    seeds = range(config.seed_start, config.seed_start + config.episodes)
    missing = [seed for seed in seeds if not _path(config, seed).exists()]
    with worker_pool(config.workers) as pool:
        futures = {pool.submit(record_episode, config, seed): seed for seed in missing}
        for future in as_completed(futures):
            episode_return = future.result()
            if progress is not None:
                progress(futures[future], episode_return)
    return [_path(config, seed) for seed in seeds]


def record_episode(config: CollectConfig, seed: int) -> float:
    """Drive one track in lockstep and record it; returns the episode's return.

    Every row holds the frame, the expert's controls as its label, and what was really executed.
    """
    game = CarRacing(episode_ticks=config.decisions * HOLD_TICKS)
    game.reset(seed)
    expert = CarRacingExpert(game)
    expert.plan()
    rng = np.random.default_rng([seed, int(config.noise * 1000), config.weights is not None])
    disturbances = disturb(rng, config.noise)
    driver = "expert"
    policy: _Policy | None = None
    if config.weights is not None:
        policy = _Policy(config.weights, config.engine_threads, config.expert_share, rng)
        driver = f"dagger:{config.weights.name}"
    path = _path(config, seed)
    path.with_suffix(".recording").unlink(missing_ok=True)  # an interrupted worker's; recorded anew below
    header = EpisodeHeader(game=PROFILE.name, driver=driver, rate_hz=PROFILE.rate_hz, seed=seed)
    with EpisodeWriter(path, header) as writer:
        for index in range(config.decisions):
            if game.state.outcome != "driving":
                break
            frame = Frame(game.render(), captured_ns=round(index * HOLD_TICKS * TICK_S * 1e9), index=index)
            label = expert.decide()
            wanted = label if policy is None else policy.decide(frame, label)
            executed = next(disturbances)(wanted)
            state = game.state
            telemetry = state.telemetry | expert.telemetry()
            writer.write(EpisodeRow(frame, label, executed, speed=state.speed, telemetry=telemetry))
            game.advance(executed, HOLD_TICKS)
    episode_return = game.state.episode_return
    game.close()
    return episode_return


class _Policy:
    """A network at the wheel, relieved by the expert for whole stretches of one second."""

    def __init__(self, weights: Path, threads: int, expert_share: float, rng: np.random.Generator) -> None:
        from agent.engines.openvino import OpenVinoEngine  # heavy, and needed only for DAgger

        self._engine: Engine = OpenVinoEngine(weights, threads=threads)
        self._expert_share = expert_share
        self._rng = rng
        self._left = 0
        self._expert_drives = False

    def decide(self, frame: Frame, label: Controls) -> Controls:
        if self._left == 0:
            self._left = 25
            self._expert_drives = bool(self._rng.random() < self._expert_share)
        self._left -= 1
        if self._expert_drives:
            return label
        prediction = self._engine.infer(preprocess(frame, self._engine.spec))
        return Controls.from_prediction(prediction).clip().arbitrate()


def disturb(rng: np.random.Generator, strength: float) -> Iterator[Callable[[Controls], Controls]]:
    """Yield, decision by decision, what happens to the wanted controls on their way to the car.

    Most decisions pass unchanged. From time to time the wheel is pulled aside, the throttle sticks, the brake bites,
    or the car is brought to a stand: what a network causes by its own errors and must have seen the way out of.
    """
    while True:
        for _ in range(1 + int(rng.exponential(30.0 / max(strength, 1e-9)) if strength > 0 else 1000)):
            yield _unchanged
        disturbance: Callable[[Controls], Controls]
        kind = rng.choice(5, p=(0.45, 0.25, 0.12, 0.08, 0.10))
        if kind == 0:  # the wheel is pulled aside
            offset, length = float(rng.normal(0.0, 0.45)), int(rng.integers(3, 13))
            disturbance = _Offset(offset)
        elif kind == 1:  # noise on the wheel for a second
            for offset in rng.normal(0.0, 0.35, 25):
                yield _Offset(float(offset))
            continue
        elif kind == 2:
            disturbance, length = _Fixed(throttle=float(rng.uniform(0.3, 1.0)), brake=0.0), int(rng.integers(4, 15))
        elif kind == 3:  # brought nearly or wholly to a stand
            disturbance, length = _Fixed(throttle=0.0, brake=float(rng.uniform(0.3, 0.9))), int(rng.integers(5, 40))
        else:
            disturbance, length = _Fixed(throttle=0.0, brake=0.0), int(rng.integers(5, 25))
        for _ in range(length):
            yield disturbance


def _unchanged(controls: Controls) -> Controls:
    return controls


@dataclass(frozen=True, slots=True)
class _Offset:
    steering: float

    def __call__(self, controls: Controls) -> Controls:
        return Controls(controls.steering + self.steering, controls.throttle, controls.brake).clip()


@dataclass(frozen=True, slots=True)
class _Fixed:
    throttle: float
    brake: float

    def __call__(self, controls: Controls) -> Controls:
        return Controls(controls.steering, self.throttle, self.brake)


def _path(config: CollectConfig, seed: int) -> Path:
    return config.folder / f"{PROFILE.name}-{seed:07d}.parquet"
