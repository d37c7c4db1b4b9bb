"""A run's samples: what it learns from, and what it is judged by."""

from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from agent.contract.episodes.reading import Episode
from agent.contract.errors import TrainingError
from agent.contract.spec import ModelSpec
from agent.contract.stacking import stacked_rows
from training.data.rows import SPAN_S, START_S, Rows, hold_out, labelled_rows
from training.data.samples import Samples, load_split, preprocess_episodes
from training.fitting.config import FitConfig

CACHE = "cache"
"""In a run's folder: preprocessed episodes whose own folder cannot be written to."""

_WORTH_TELLING = 100e6  # bytes of pictures; a machine that trains has as much


def load_data(
    config: FitConfig,
    paths: Sequence[Path],
    spec: ModelSpec,
    report: Callable[[str], None],
    preprocessed: Callable[[int, int], None] | None,
) -> tuple[Samples, Samples]:
    """Return the samples to train on and those to validate by.

    Raises:
        TrainingError: If there is nothing for one of the two, or an episode cannot be trained on.
    """
    whole = config.validation_episodes
    if whole and whole >= len(paths):
        raise TrainingError(
            f"{len(paths)} episodes, {whole} of them for validation: expected at least one for each. Record more, or "
            "lower --validation-episodes."
        )
    report(f"preprocessing {len(paths)} episodes (cached beside them)")
    elsewhere = config.out / CACHE
    caches = preprocess_episodes(paths, spec, config.driven_tracks, preprocessed, elsewhere=elsewhere, note=report)
    if any(cache.parent == elsewhere for cache in caches):
        report(f"nothing can be written beside the episodes: they are cached in {elsewhere}")
    train, validate = _share_out(config, paths, report)
    _tell_of_memory(caches, report)
    stacks = None
    if spec.stack is not None:
        stacks = [stacked_rows(Episode.open(path).captured_ns, spec) for path in paths]
        apart_ms = spec.stack.every_ticks / spec.rate_hz * 1e3
        report(f"a sample is {spec.pictures} pictures, {apart_ms:.0f} ms apart")
    training, validation = load_split(caches, spec, (train, validate), stacks)
    how = "episodes of their own" if whole else f"spans of up to {SPAN_S:g} s all over them, never of the first seconds"
    report(
        f"{len(training)} samples from {training.episodes} episodes ({training.size_bytes / 1e6:.0f} MB encoded), "
        f"{len(validation)} for validation ({how})"
    )
    return training, validation


def _tell_of_memory(caches: Sequence[Path], report: Callable[[str], None]) -> None:
    """Say how much memory the pictures take, all of which are held, and whether it is there."""
    sizes = [cache.stat().st_size for cache in caches]
    needed, free = sum(sizes) + max(sizes), psutil.virtual_memory().available
    line = f"the pictures need about {needed / 1e9:.1f} GB of memory while they are read, {free / 1e9:.1f} GB are free"
    if needed > free:
        line += ": take a smaller --width and --height, or fewer folders"
    if needed > _WORTH_TELLING:
        report(line)


def _share_out(
    config: FitConfig, paths: Sequence[Path], report: Callable[[str], None]
) -> tuple[list[Rows], list[Rows]]:
    """Return the rows of each episode to train on, and those to validate by."""
    train: list[Rows] = []
    validate: list[Rows] = []
    rows = corrections = driven = bad = 0
    for index, path in enumerate(paths):
        episode = Episode.open(path)
        labelled = labelled_rows(episode, config.own_driving)
        rows += len(episode)
        bad += len(labelled_rows(episode, config.own_driving, edited=False)) - len(labelled)
        known = labelled_rows(episode, edited=False)
        if len(known) < len(episode):
            driven += len(episode)
            corrections += len(known)
        if config.validation_episodes:
            chosen, held_out = labelled, labelled[:0]
            if index < config.validation_episodes:
                chosen, held_out = held_out, chosen
        else:
            chosen, held_out = (labelled[part] for part in hold_out(len(labelled), episode.header.rate_hz, path.name))
        train.append(chosen)
        validate.append(held_out)
    if bad:
        report(f"{bad} rows are marked as bad in edit lists beside the episodes, and are left out")
    if driven and config.own_driving:
        report(f"{driven - corrections} of {rows} rows are the network's own driving, and are learnt from as asked for")
    elif driven:
        report(
            f"{corrections} of the {driven} rows recorded while a network drove are a person's corrections; the others "
            "are left out (--own-driving takes them, too)"
        )
    if not sum(map(len, train)):
        raise TrainingError(
            f"there is nothing to learn from: {driven} of {rows} rows were recorded while a network drove, and "
            f"{corrections} of them are a person's. Take over while it drives, or take all with --own-driving."
        )
    if not sum(map(len, validate)):
        raise TrainingError(
            f"there is nothing to validate by: none of {len(paths)} episodes is long enough to hold a part of it out. "
            f"Record longer ones, {4 * START_S:g} s and more, or hold out whole ones with --validation-episodes."
        )
    return train, validate
