"""Episodes to samples: preprocessed once, kept encoded. Imports no Keras, so that worker processes start at once."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from agent.contract.durable import replacing
from agent.contract.episodes.reading import Episode
from agent.contract.errors import TrainingError
from agent.contract.observation import Observation
from agent.contract.preprocess import preprocess
from agent.contract.spec import ModelSpec
from agent.contract.stacking import Stacked, stacked_rows
from training.data.balancing.registry import balancing_rule
from training.data.caches import CHECKSUM, Cached, can_write, checksum_of, is_whole, load_cache
from training.data.held_out import HELD_OUT_SEED, HELD_OUT_TRACK
from training.data.rows import Rows
from training.data.worker_pool import worker_pool

AUXILIARY = "auxiliary"
"""Name of the extra head that is used in training only; its layers' names begin with this word."""
AUXILIARY_SCALE = {
    "speed": 100.0,
    "wanted_speed": 100.0,
    "yaw_rate": 3.0,
    "lateral_offset": 7.0,
}
"""Divisors that bring telemetry near [-1, 1]; angles in radians need none."""

WORTH_PROCESSES_BYTES = 4 << 20
"""Size of the episodes from which on several processes preprocess them: each takes a second or two to start."""

SAME_SHAPE = 0.02
"""Relative difference of two ratios of width to height that comes of rounding and is let pass."""

# Caches made before the scale was part of their key hold these divisors; as long as they apply, such caches stay good.
_SCALE_WITHOUT_KEY = {"speed": 100.0, "wanted_speed": 100.0, "yaw_rate": 3.0, "lateral_offset": 7.0}


@dataclass(frozen=True, slots=True)
class Samples:
    """Labelled pictures, in memory as lossless PNG (about 10 KB each at 480 x 270).

    Attributes:
        pictures: Every picture once, encoded, exactly what ``preprocess`` gives for the spec.
        stacks: int64, shape (n, pictures at once): which of the pictures make up each sample, the oldest first. Earlier
            pictures may be of rows that are no samples here: held out, or driven by a network.
        labels: float32, shape (n, outputs), in the order of ``output_names``.
        auxiliary: float32, shape (n, len(auxiliary_names)), scaled; NaN where unknown.
        output_names: Names of the labels' columns.
        auxiliary_names: Names of the auxiliary columns: the telemetry that every episode has, and that changes.
        episodes: Number of episodes they came from.
    """

    pictures: list[bytes]
    stacks: Stacked
    labels: npt.NDArray[np.float32]
    auxiliary: npt.NDArray[np.float32]
    output_names: tuple[str, ...]
    auxiliary_names: tuple[str, ...]
    episodes: int

    def __len__(self) -> int:
        return len(self.stacks)

    def observation(self, sample: int) -> Observation:
        """Return what the network sees of a sample: uint8, shape (height, width, 3 a picture), RGB; a new array."""
        return np.concatenate([decode(self.pictures[picture]) for picture in self.stacks[sample]], axis=2)

    def newest(self, sample: int) -> bytes:
        """Return the newest of a sample's pictures, encoded."""
        return self.pictures[int(self.stacks[sample, -1])]

    @property
    def size_bytes(self) -> int:
        """Memory the encoded pictures take."""
        return sum(len(picture) for picture in self.pictures)


def preprocess_episodes(
    paths: Sequence[Path],
    spec: ModelSpec,
    driven_tracks: range = range(0),
    progress: Callable[[int, int], None] | None = None,
    workers: int = 2,
    elsewhere: Path | None = None,
    note: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Preprocess episodes into caches beside them, which make every later start quick.

    A cache is disposable: one that is damaged is made anew.

    Args:
        paths: Sealed episodes.
        spec: Size and masks; labels are taken in the order of its outputs.
        driven_tracks: Seeds on which the network will be compared in closed loop.
        progress: Called with (done, total) before the first and after each episode that has no cache yet.
        workers: Processes that decode the recordings.
        elsewhere: Folder for the caches of episodes that lie where nothing can be written.
        note: Is told of oddities, a line each.

    Returns:
        The caches, in the order of ``paths``, for ``load_samples``.

    Raises:
        TrainingError: If an episode's track is kept for judging or among ``driven_tracks``, a label is NaN or out of
            its output's range, an episode has another rate, or its frames another shape than the first episode's (any
            size will do, but not another ratio of width to height); it names the file.
        EpisodeError: If an episode cannot be read.
    """
    _check_headers(paths, spec, driven_tracks, note)
    caches = [_find_cache(path, spec, elsewhere) for path in paths]
    missing = [(path, cache) for path, cache in zip(paths, caches, strict=True) if not is_whole(cache)]
    if missing:
        if damaged := [cache for _, cache in missing if cache.exists()]:
            note(f"{len(damaged)} caches are damaged ({damaged[0].name}, ...) and are made anew")
        _check_shapes(paths)
        if progress is not None:
            progress(0, len(missing))
        for done, _ in enumerate(_make_caches(missing, spec, workers), 1):
            if progress is not None:
                progress(done, len(missing))
    return caches


def _make_caches(missing: Sequence[tuple[Path, Path]], spec: ModelSpec, workers: int) -> Iterator[None]:
    """Make the caches, in processes if there is enough to do; yield after each."""
    if sum(path.stat().st_size for path, _ in missing) < WORTH_PROCESSES_BYTES:
        for path, cache in missing:
            _preprocess_episode(path, spec, cache)
            yield
        return
    with worker_pool(workers, "a smaller --width and --height, shorter episodes,") as pool:
        futures = [pool.submit(_preprocess_episode, path, spec, cache) for path, cache in missing]
        for future in as_completed(futures):
            future.result()
            yield


def load_samples(
    caches: Sequence[Path],
    spec: ModelSpec,
    rows: Sequence[Rows] | None = None,
    stacks: Sequence[Stacked] | None = None,
) -> Samples:
    """Read what ``preprocess_episodes`` made of at least one episode.

    Args:
        caches: What it returned.
        spec: As it was given.
        rows: Which rows of each episode; all where None.
        stacks: Which rows of each episode make up each row's observation, see
            :func:`agent.contract.stacking.stacked_rows`; None: the network sees one picture.

    Raises:
        ValueError: If ``stacks`` are missing, or not for as many pictures as the network sees.
    """
    (samples,) = load_split(caches, spec, [rows], stacks)
    return samples


def load_split(
    caches: Sequence[Path],
    spec: ModelSpec,
    parts: Sequence[Sequence[Rows] | None],
    stacks: Sequence[Stacked] | None = None,
) -> tuple[Samples, ...]:
    """Read every cache once and share its rows out, as :func:`load_samples` does for each of ``parts``."""
    read: list[list[Cached]] = [[] for _ in parts]
    for index, cache in enumerate(caches):
        whole = load_cache(cache)
        stacked = whole.stacks if stacks is None else stacks[index]
        if stacked.shape != (len(whole.labels), spec.pictures):
            raise ValueError(f"stacks are of shape {stacked.shape}, expected {(len(whole.labels), spec.pictures)}")
        for taken, rows in zip(read, parts, strict=True):
            taken.append(whole.rows(np.arange(len(stacked)) if rows is None else rows[index], stacked))
    known = [name for name in read[0][0].names if all(name in each.names for each in read[0])]
    common = tuple(name for name in known if _changes(name, read[0]))
    return tuple(_joined(taken, common, spec) for taken in read)


def _changes(name: str, parts: Sequence[Cached]) -> bool:
    """Return whether a column varies: a person's recording has the speed 0 throughout."""
    values = np.concatenate([part.auxiliary[:, part.names.index(name)] for part in parts])
    return len(np.unique(values[~np.isnan(values)])) > 1


def _joined(parts: Sequence[Cached], names: tuple[str, ...], spec: ModelSpec) -> Samples:
    firsts = np.cumsum([0] + [len(part.pictures) for part in parts])  # each part's first picture among all
    return Samples(
        pictures=[picture for part in parts for picture in part.pictures],
        stacks=np.concatenate([part.stacks + first for part, first in zip(parts, firsts[:-1], strict=True)]),
        labels=np.concatenate([part.labels for part in parts]),
        auxiliary=np.concatenate([part.auxiliary[:, [part.names.index(name) for name in names]] for part in parts]),
        output_names=spec.output_names,
        auxiliary_names=names,
        episodes=sum(bool(part.pictures) for part in parts),
    )


def decode(picture: bytes) -> Observation:
    """Return an encoded picture's pixels: uint8, shape (height, width, 3), RGB."""
    return np.asarray(cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def pick_pictures(paths: Sequence[Path], spec: ModelSpec, count: int) -> npt.NDArray[np.uint8]:
    """Preprocess pictures from all over the episodes, without caches.

    Args:
        paths: Sealed episodes.
        spec: Game, size and masks.
        count: How many pictures, spread evenly over the episodes and their length.

    Returns:
        Observations: uint8, shape (count, height, width, channels), RGB, in random order (always the same);
        fewer where the episodes hold fewer.

    Raises:
        TrainingError: If an episode is of another game or its track is kept for judging.
        EpisodeError: If an episode cannot be read.
    """
    lengths = [len(episode) for episode in _opened(paths, spec)]
    rows = np.unique(np.linspace(0, sum(lengths) - 1, count).astype(int))
    return _read_pictures(paths, lengths, rows, spec)


def pick_balanced_pictures(paths: Sequence[Path], spec: ModelSpec, count: int) -> npt.NDArray[np.uint8]:
    """Preprocess pictures as the ``v3`` rule feeds them: every output's whole range is there, rare braking included.

    Arguments, return value and errors are those of ``pick_pictures``; and a label out of range is an error as well. An
    output that never varies takes no part in the balance.
    """
    parts = [episode.labels(spec.output_names) for episode in _opened(paths, spec)]
    labels = np.concatenate(parts)
    rng = np.random.default_rng(0)
    # An output that never varies has nothing to balance.
    varying = [column for column, values in enumerate(labels.T) if values.min() < values.max()]
    outputs = [spec.outputs[column] for column in varying]
    rule = balancing_rule("v3" if varying else "none")
    orders = [feed.epoch(rng) for feed in rule.feeds(labels[:, varying], outputs)]
    longest = min(count, max(len(order) for order in orders))  # a rule may repeat what is rare, and orders then differ
    mixed = np.stack([np.resize(order, longest) for order in orders], axis=1).ravel()  # one for each output in turn
    _, first = np.unique(mixed, return_index=True)
    rows = np.sort(mixed[np.sort(first)[:count]])
    return _read_pictures(paths, [len(part) for part in parts], rows, spec)


def _opened(paths: Sequence[Path], spec: ModelSpec) -> Iterator[Episode]:
    """Open one episode after the other: of a thousand at once the system may refuse some."""
    for path in paths:
        episode = Episode.open(path)
        _check_track(episode)
        if episode.header.game != spec.game:
            raise TrainingError(
                f"{episode.path} is of the game {episode.header.game!r}, the model is for {spec.game!r}. Pass episodes "
                "of the model's game."
            )
        yield episode


def _read_pictures(
    paths: Sequence[Path], lengths: Sequence[int], rows: npt.NDArray[np.int64], spec: ModelSpec
) -> npt.NDArray[np.uint8]:
    """Preprocess the given rows of all episodes taken together, and shuffle them (always the same way)."""
    pictures = []
    for path, length, end in zip(paths, lengths, np.cumsum(lengths), strict=True):
        episode = Episode.open(path)
        chosen = rows[(rows >= end - length) & (rows < end)] - (end - length)
        pictures += [
            np.concatenate([preprocess(episode.frame(row), spec) for row in stack], axis=2)
            for stack in stacked_rows(episode.captured_ns, spec)[chosen].tolist()
        ]
    return np.stack(pictures)[np.random.default_rng(0).permutation(len(pictures))]


def _check_headers(paths: Sequence[Path], spec: ModelSpec, driven_tracks: range, note: Callable[[str], None]) -> None:
    """Refuse tracks kept for judging and rates that cannot be trained on; tell of what is odd."""
    foreign: dict[str, int] = {}
    slower: dict[float, int] = {}
    for path in paths:
        episode = Episode.open(path)
        _check_track(episode, driven_tracks)
        header = episode.header
        if header.game != spec.game:
            foreign[header.game] = foreign.get(header.game, 0) + 1
        if header.rate_hz > spec.rate_hz + 1e-6 or (spec.stack is not None and header.rate_hz < spec.rate_hz - 1e-6):
            raise TrainingError(
                f"{path} was recorded at {header.rate_hz} Hz, the model is for {spec.rate_hz} Hz. "
                "Train on episodes of one rate."
            )
        if header.rate_hz < spec.rate_hz - 1e-6:
            slower[header.rate_hz] = slower.get(header.rate_hz, 0) + 1
    for game, count in foreign.items():
        note(f"{count} of {len(paths)} episodes are of the game {game!r}, the model is for {spec.game!r}: is that so?")
    for rate_hz, count in slower.items():
        note(
            f"{count} of {len(paths)} episodes were recorded at {rate_hz:g} Hz, where driving was too slow for "
            f"{spec.rate_hz:g}: they are trained on as they are, each picture for itself"
        )


def _check_track(episode: Episode, driven_tracks: range = range(0)) -> None:
    seed = episode.header.seed
    if seed is not None and seed >= HELD_OUT_SEED:
        raise TrainingError(
            f"{episode.path} is of track {seed}, expected a seed below {HELD_OUT_SEED}: the others are kept for "
            "judging. Take the file out of the data."
        )
    if episode.header.track == HELD_OUT_TRACK:
        raise TrainingError(
            f"{episode.path} is of the track {HELD_OUT_TRACK}, expected any other: that one is kept for judging. Take "
            "the file out of the data."
        )
    if seed in driven_tracks:
        raise TrainingError(
            f"{episode.path} is of track {seed}, one of the tracks {driven_tracks.start} to {driven_tracks.stop - 1} "
            "that checkpoints are compared on. Take the file out of the data, or train without --tracks."
        )


def _check_shapes(paths: Sequence[Path]) -> None:
    """Refuse frames of another shape, which preprocessing would distort, and whose masks lie elsewhere."""
    first: tuple[int, int] | None = None
    for path in paths:
        height, width = Episode.open(path).frame(0).pixels.shape[:2]
        first = first or (width, height)
        if abs(width * first[1] / (height * first[0]) - 1) > SAME_SHAPE:
            raise TrainingError(
                f"{path} has frames of {width} x {height} px, {paths[0]} of {first[0]} x {first[1]} px: another shape. "
                "Record the same part of the screen, or train on one shape at a time."
            )


def _find_cache(path: Path, spec: ModelSpec, elsewhere: Path | None) -> Path:
    """Return where an episode's cache is or will be: beside it, or elsewhere if nothing can be written there."""
    beside = _cache_path(path, spec)
    if elsewhere is None or beside.exists() or can_write(beside.parent):
        return beside
    return elsewhere / beside.name


def _cache_path(path: Path, spec: ModelSpec) -> Path:
    stat = path.stat()
    key: list[Any] = [
        spec.width_px,
        spec.height_px,
        [(mask.left, mask.top, mask.width, mask.height) for mask in spec.masks],
        spec.preprocessing,
        spec.output_names,
        stat.st_size,
        stat.st_mtime_ns,
    ]
    if AUXILIARY_SCALE != _SCALE_WITHOUT_KEY:
        key.append(sorted(AUXILIARY_SCALE.items()))
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]
    return path.parent / ".cache" / f"{path.stem}-{digest}.safetensors"


def _preprocess_episode(path: Path, spec: ModelSpec, cache: Path) -> None:
    cv2.setNumThreads(1)
    episode = Episode.open(path)
    labels = episode.labels(spec.output_names)
    for column, output in enumerate(spec.outputs):
        values = labels[:, column]
        bad = np.flatnonzero(~((values >= output.low) & (values <= output.high)))
        if len(bad):
            raise TrainingError(
                f"{path}: {output.name} is {values[bad[0]]} in row {bad[0]} ({len(bad)} such rows), expected "
                f"[{output.low}, {output.high}]. Remove the episode or record it again."
            )
    encoded = []
    for frame in episode.frames():
        ok, data = cv2.imencode(".png", preprocess(frame, spec), [cv2.IMWRITE_PNG_COMPRESSION, 4])
        if not ok:
            raise TrainingError(f"{path}: a frame cannot be encoded as PNG.")
        encoded.append(np.asarray(data, np.uint8).ravel())
    columns = {"speed": episode.speed} | dict(sorted(episode.telemetry.items()))
    columns = {name: values for name, values in columns.items() if not np.all(np.isnan(values))}
    scaled = [values / AUXILIARY_SCALE.get(name, 1.0) for name, values in columns.items()]
    tensors: dict[str, npt.NDArray[Any]] = {
        "pictures": np.concatenate(encoded),
        "lengths": np.array([len(data) for data in encoded], np.int64),
        "labels": labels,
        "auxiliary": np.stack(scaled, axis=1).astype(np.float32) if scaled else np.empty((len(labels), 0), np.float32),
    }
    cache.parent.mkdir(parents=True, exist_ok=True)
    with replacing(cache) as partial:  # two trainings may preprocess the same episode at once
        save_file(tensors, partial, metadata={"auxiliary": json.dumps(list(columns)), CHECKSUM: checksum_of(tensors)})
        partial.chmod(0o644)  # safetensors writes 0600, and others may train on these episodes, too
