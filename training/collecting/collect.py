"""Records episodes in a simulator: labels from the expert, and noise in the executed controls to show recoveries."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from agent.contract.controls import with_standard_axes
from agent.contract.durable import replace_file
from agent.contract.episodes.columns import RECORDING_SUFFIX, EpisodeHeader
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.errors import EngineError, EpisodeError, TrainingError
from agent.contract.locks import is_claimed
from agent.contract.spec import WEIGHTS_FILE
from agent.engines.base import Engine
from agent.engines.registry import load_engine
from agent.system.cluster import connected, folder_of, read_folder
from training.collecting.config import CollectConfig
from training.collecting.courses import find_course
from training.collecting.disturbances import disturb
from training.collecting.labelling import SharedWheel, drive_and_label
from training.collecting.repaint_supertuxkart import EPISODES
from training.data.worker_pool import worker_pool

SETTINGS = "collect.json"

_FIRST_EXPERT = "built-in"  # who labelled before there was a choice


def collect(config: CollectConfig, progress: Callable[[int, float], None] | None = None) -> list[Path]:
    """Record the episodes that are not there yet; an interrupted collection goes on where it stopped.

    Args:
        config: What to record.
        progress: Called in this process with (seed, return) as each new episode is done.

    Returns:
        Paths of all episodes of the collection, in order of their seeds.

    Raises:
        TrainingError: If the folder cannot be written or holds episodes of other settings, or a worker died.
    """
    _claim_folder(config)
    seeds = range(config.seed_start, config.seed_start + config.episodes)
    missing = [seed for seed in seeds if not _path(config, seed).exists()]
    if config.ray is not None:
        collect_far(config, missing, progress)
        return [_path(config, seed) for seed in seeds]
    together = EPISODES if config.disguise else 1
    groups = [list(group) for _, group in groupby(missing, lambda seed: seed // together)]
    try:
        with worker_pool(config.workers) as pool:
            futures = {pool.submit(_record_group, config, group): group for group in groups}
            for future in as_completed(futures):
                for seed, episode_return in zip(futures[future], future.result(), strict=True):
                    if progress is not None:
                        progress(seed, episode_return)
    finally:
        for seed in missing:  # a worker that was ended could not tidy up
            _discard_unfinished(config, seed)
        if config.disguise:
            for number in {seed // EPISODES for seed in seeds}:
                shutil.rmtree(_disguise(config, number), ignore_errors=True)
        with suppress(OSError):  # never made, or in use by another collection
            _unfinished(config, config.seed_start).parent.rmdir()
    return [_path(config, seed) for seed in seeds]


def collect_far(config: CollectConfig, seeds: Sequence[int], progress: Callable[[int, float], None] | None) -> None:
    """Record episodes on the nodes of a Ray cluster; each is written here as it is finished.

    Raises:
        AgentError: If there is no such cluster, or an episode cannot be recorded or written.
    """
    assert config.ray is not None
    files = {} if config.weights is None else read_folder(config.weights)
    errand = Errand(replace(config, folder=Path(), weights=None, workers=1, ray=None), files)
    with connected(config.ray) as cluster:
        for seed, (episode_return, content) in cluster.share_out(record_far, errand, seeds):
            try:
                replace_file(_path(config, seed), content)
            except OSError as exc:
                raise TrainingError(f"{_path(config, seed)} cannot be written ({exc.strerror}). Free space.") from exc
            if progress is not None:
                progress(seed, episode_return)


@dataclass(frozen=True, slots=True)
class Errand:
    """What every node has to know.

    Attributes:
        config: What to record.
        files: The files of the network that drives; none: the expert drives.
    """

    config: CollectConfig
    files: Mapping[str, bytes]


def record_far(errand: Errand, seed: int) -> tuple[float, bytes]:
    """Record an episode and return its return and its file's bytes; what runs on a node."""
    weights = folder_of(errand.files) if errand.files else None
    with tempfile.TemporaryDirectory(prefix="hoodcam-") as folder:
        config = replace(errand.config, folder=Path(folder), weights=weights)
        return record_episode(config, seed), _path(config, seed).read_bytes()


def _record_group(config: CollectConfig, seeds: Sequence[int]) -> list[float]:
    """Record the episodes of consecutive seeds; those of a disguise in a process of its own, for a game takes in its
    data once in a process.
    """
    if not config.disguise:
        return [record_episode(config, seed) for seed in seeds]
    with worker_pool(1) as pool:
        return pool.submit(_record_disguised, config, seeds).result()


def _record_disguised(config: CollectConfig, seeds: Sequence[int]) -> list[float]:
    course = find_course(config.game)
    assert course.disguise is not None  # CollectConfig.settings has seen to it
    number = seeds[0] // EPISODES
    folder = _disguise(config, number)
    shutil.rmtree(folder, ignore_errors=True)  # a killed worker's
    try:
        course.disguise(folder, config.tracks or course.tracks, number)
        return [record_episode(config, seed) for seed in seeds]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def record_episode(config: CollectConfig, seed: int) -> float:
    """Drive one track in lockstep and record it, whole or not at all; returns the episode's return.

    Every row holds the frame, the expert's controls as its label, and what was really executed. In a mix of network
    and expert, ``intervention`` marks the rows that the expert drove.

    Raises:
        TrainingError: If the episode cannot be written, or the folder holds episodes of other settings.
    """
    settings = _claim_folder(config)
    course = find_course(config.game)
    rng = np.random.default_rng([seed, int(config.noise * 1000), config.weights is not None])
    disturbances = disturb(rng, config.noise, course.profile.rate_hz)
    driver = "expert"
    wheel: SharedWheel | None = None
    if config.weights is not None:
        checksum = settings["weights_sha256"]
        engine = _engine(config.weights, checksum, config.engine_threads)
        wheel = SharedWheel(engine, config.expert_share, round(course.profile.rate_hz), rng)
        driver = f"dagger:{checksum[:12]}"
    path, unfinished = _path(config, seed), _unfinished(config, seed)
    if _is_recorded_elsewhere(unfinished):
        raise TrainingError(
            f"{path} is being recorded by another process. Wait until that one is done, or choose another --out or "
            "other seeds."
        )
    _discard_unfinished(config, seed)  # a killed worker's; recorded anew below
    decisions = settings["decisions"]
    try:
        limit_s = decisions / course.profile.rate_hz
        with closing(course.make_simulator(config.tracks or course.tracks, limit_s)) as game:
            game.reset(seed)
            expert = course.find_expert(config.expert)(game)
            expert.plan()
            header = EpisodeHeader(
                config.game,
                driver,
                course.profile.rate_hz,
                seed,
                track=game.state.track,
                axes=with_standard_axes(course.profile.axes),
            )
            with EpisodeWriter(unfinished, header) as writer:
                drive_and_label(course, game, expert, disturbances, writer.write, decisions, wheel)
            os.replace(unfinished, path)
            return game.state.episode_return
    except EpisodeError as exc:
        reason = getattr(exc.__cause__, "strerror", None) or exc
        raise TrainingError(
            f"{path} could not be recorded ({reason}). Mend that and repeat the command: the episodes finished before "
            "are kept."
        ) from exc
    finally:
        _discard_unfinished(config, seed)


def _claim_folder(config: CollectConfig) -> dict[str, Any]:
    """Write down how the folder's episodes are recorded, or refuse one whose episodes are of another kind."""
    settings = config.settings()
    path = config.folder / SETTINGS
    try:
        config.folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            recorded = json.loads(path.read_text(encoding="utf-8"))
            if "expert" in settings:
                recorded = {"expert": _FIRST_EXPERT} | recorded
        elif any(config.folder.glob(f"{config.game}-*.parquet")):
            raise TrainingError(
                f"{config.folder} holds episodes but no {SETTINGS}, expected one that says how they were recorded. "
                "Choose another --out; `fit --data` takes several folders."
            )
        else:
            replace_file(path, json.dumps(settings, indent=2) + "\n")
            recorded = settings
    except ValueError as exc:
        raise TrainingError(f"{path} is damaged ({exc}). Restore it or choose another --out.") from exc
    except OSError as exc:
        raise TrainingError(f"{path} cannot be written ({exc.strerror}). Choose another --out.") from exc
    if recorded != settings:
        differing = [
            f"{key} {recorded.get(key)}, not {settings.get(key)}"
            for key in settings | recorded  # in their usual order
            if recorded.get(key) != settings.get(key)
        ]
        raise TrainingError(
            f"{config.folder} holds episodes recorded with {'; '.join(differing)}. Choose "
            "another --out, or repeat the command with those settings; `fit --data` takes several folders."
        )
    return settings


@lru_cache(maxsize=1)
def _engine(weights: Path, checksum: str, threads: int) -> Engine:
    """Return this process's engine, loaded once: that costs as much as driving a second.

    It computes in bfloat16 where the processor can: who drives into a mistake is to be fast, not exact.
    """
    try:
        engine = load_engine("openvino-bf16", weights, threads)
    except EngineError:
        engine = load_engine("openvino", weights, threads)
    if engine.spec.sha256[WEIGHTS_FILE] != checksum:
        raise TrainingError(f"{weights} was replaced while episodes were collected with it. Collect with a copy of it.")
    return engine


def _path(config: CollectConfig, seed: int) -> Path:
    return config.folder / f"{config.game}-{seed:07d}.parquet"


def _unfinished(config: CollectConfig, seed: int) -> Path:
    # A folder of its own: closing a recording seals it, whatever ended it, and training takes every sealed file.
    return config.folder / ".unfinished" / _path(config, seed).name


def _disguise(config: CollectConfig, number: int) -> Path:
    return _unfinished(config, 0).with_name(f"disguise-{number:07d}")


def _is_recorded_elsewhere(unfinished: Path) -> bool:
    try:
        return is_claimed(unfinished.with_suffix(RECORDING_SUFFIX))
    except OSError:
        return False


def _discard_unfinished(config: CollectConfig, seed: int) -> None:
    path = _unfinished(config, seed)
    if _is_recorded_elsewhere(path):
        return
    for leftover in (path, path.with_suffix(RECORDING_SUFFIX), path.with_suffix(".sealing")):
        leftover.unlink(missing_ok=True)
