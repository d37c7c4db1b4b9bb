"""Episodes to samples: preprocessed once, kept encoded.

Imports no Keras, so that the worker processes start at once.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.numpy import save_file

from agent.contract.episode import Episode
from agent.contract.errors import TrainingError
from agent.contract.observation import Observation
from agent.contract.preprocess import preprocess, resize
from agent.contract.spec import ModelSpec
from training.workers import worker_pool

AUXILIARY_SCALE = {
    "speed": 100.0,
    "wanted_speed": 100.0,
    "yaw_rate": 3.0,
    "lateral_offset": 7.0,
}
"""Divisors that bring telemetry near [-1, 1]; angles in radians need none."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Labelled pictures, in memory as lossless PNG (about 10 KB each at 480 x 270).

    Attributes:
        pictures: One encoded observation a sample, at the spec's full size, channels in the observation's order.
        labels: float32, shape (n, outputs), in the order of ``output_names``.
        auxiliary: float32, shape (n, len(auxiliary_names)), scaled; NaN where unknown.
        output_names: Names of the labels' columns.
        auxiliary_names: Names of the auxiliary columns.
        episodes: Number of episodes they came from.
    """

    pictures: list[bytes]
    labels: npt.NDArray[np.float32]
    auxiliary: npt.NDArray[np.float32]
    output_names: tuple[str, ...]
    auxiliary_names: tuple[str, ...]
    episodes: int

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def size_bytes(self) -> int:
        """Memory the encoded pictures take."""
        return sum(len(picture) for picture in self.pictures)


def find_episodes(folders: Sequence[Path]) -> list[Path]:
    """Return the sealed episodes of the folders, folder by folder, sorted by name.

    Raises:
        TrainingError: If a folder holds none.
    """
    paths: list[Path] = []
    for folder in folders:
        found = sorted(folder.glob("*.parquet"))
        if not found:
            raise TrainingError(
                f"{folder} holds no episodes (*.parquet). Record some: `python -m training collect --out {folder}`."
            )
        paths += found
    return paths


def load_samples(
    paths: Sequence[Path], spec: ModelSpec, progress: Callable[[int], None] | None = None, workers: int = 2
) -> Samples:
    """Preprocess episodes, through a cache beside them that makes every later start quick.

    Args:
        paths: Sealed episodes.
        spec: Size and masks; labels are taken in the order of its outputs.
        progress: Called with 1 for every episode done.
        workers: Processes that decode the recordings.

    Raises:
        TrainingError: If a label is NaN or out of its output's range, or an episode has another rate; it names the
            file.
        EpisodeError: If an episode cannot be read.
    """
    caches = {path: _cache_path(path, spec) for path in paths}
    missing = [path for path in paths if not caches[path].exists()]
    if missing:
        with worker_pool(workers) as pool:
            futures = [pool.submit(_preprocess_episode, path, spec, caches[path]) for path in missing]
            for future in as_completed(futures):
                future.result()
                if progress is not None:
                    progress(1)
    parts = [_load_cache(caches[path]) for path in paths]
    names = parts[0][3]
    for path, part in zip(paths, parts, strict=True):
        if part[3] != names:
            raise TrainingError(
                f"{path} has telemetry {', '.join(part[3]) or 'none'}, {paths[0]} has {', '.join(names) or 'none'}. "
                "Train on episodes of one kind, or without --auxiliary."
            )
    return Samples(
        pictures=[picture for part in parts for picture in part[0]],
        labels=np.concatenate([part[1] for part in parts]),
        auxiliary=np.concatenate([part[2] for part in parts]),
        output_names=spec.output_names,
        auxiliary_names=names,
        episodes=len(paths),
    )


def decode(picture: bytes, width_px: int, height_px: int) -> Observation:
    """Return the observation at the size trained at: uint8, shape (height_px, width_px, 3), RGB."""
    pixels = np.asarray(cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    return resize(pixels, width_px, height_px)


def _cache_path(path: Path, spec: ModelSpec) -> Path:
    stat = path.stat()
    key = json.dumps(
        [
            spec.width_px,
            spec.height_px,
            [(mask.left, mask.top, mask.width, mask.height) for mask in spec.masks],
            spec.preprocessing,
            spec.output_names,
            stat.st_size,
            stat.st_mtime_ns,
        ]
    )
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    return path.parent / ".cache" / f"{path.stem}-{digest}.safetensors"


def _preprocess_episode(path: Path, spec: ModelSpec, cache: Path) -> None:
    cv2.setNumThreads(1)
    episode = Episode.open(path)
    if abs(episode.header.rate_hz - spec.rate_hz) > 1e-6:
        raise TrainingError(
            f"{path} was recorded at {episode.header.rate_hz} Hz, the model is for {spec.rate_hz} Hz. "
            "Train on episodes of one rate."
        )
    labels = np.asarray(episode.controls, np.float32)
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
    cache.parent.mkdir(exist_ok=True)
    partial = cache.with_suffix(".partial")
    save_file(tensors, partial, metadata={"auxiliary": json.dumps(list(columns))})
    partial.replace(cache)


def _load_cache(
    cache: Path,
) -> tuple[list[bytes], npt.NDArray[np.float32], npt.NDArray[np.float32], tuple[str, ...]]:
    with safe_open(cache, framework="numpy") as file:
        pictures = file.get_tensor("pictures").tobytes()
        lengths = file.get_tensor("lengths")
        labels = file.get_tensor("labels")
        auxiliary = file.get_tensor("auxiliary")
        names = tuple(json.loads(file.metadata()["auxiliary"]))
    ends = np.cumsum(lengths)
    split = [pictures[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    return split, labels, auxiliary, names
