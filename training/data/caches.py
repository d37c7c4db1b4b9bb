"""Caches: files of preprocessed pictures. They may be deleted at any time, and are checked before use."""

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from agent.contract.stacking import Stacked
from training.data.rows import Rows

CHECKSUM = "crc32"
"""Key in a cache's metadata: the checksum of its tensors."""

_PNG = b"\x89PNG"
_TENSORS = ("pictures", "lengths", "labels", "auxiliary")


@dataclass(frozen=True, slots=True)
class Cached:
    """An episode's pictures and labels in a cache.

    Attributes:
        pictures: PNGs, one for each row of the whole episode.
        stacks: int64, shape (rows, pictures at once): which of the pictures make up each row's observation.
        labels: float32, shape (rows, outputs).
        auxiliary: float32, shape (rows, len(names)), scaled; NaN if unknown.
        names: Names of the auxiliary columns.
    """

    pictures: list[bytes]
    stacks: Stacked
    labels: npt.NDArray[np.float32]
    auxiliary: npt.NDArray[np.float32]
    names: tuple[str, ...]

    def rows(self, chosen: Rows, stacks: Stacked) -> Self:
        """Return some rows of a whole episode, with the pictures that make them up, each once.

        Args:
            chosen: The rows.
            stacks: Which rows' pictures make up the observation of each row of the episode.
        """
        needed, places = np.unique(stacks[chosen], return_inverse=True)
        return type(self)(
            [self.pictures[row] for row in needed],
            places.reshape(len(chosen), stacks.shape[1]),
            self.labels[chosen],
            self.auxiliary[chosen],
            self.names,
        )


def checksum_of(tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return a checksum of a cache's tensors."""
    checksum = 0
    for name in _TENSORS:
        checksum = zlib.crc32(np.ascontiguousarray(tensors[name]).data, checksum)
    return str(checksum)


def is_whole(cache: Path) -> bool:
    """Return whether a cache exists and can be used.

    A cache of a version without checksums is checked picture by picture.
    """
    try:
        with safe_open(cache, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in _TENSORS}
            metadata = file.metadata()
        names = json.loads(metadata["auxiliary"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return False
    rows = len(tensors["lengths"])
    if not len(tensors["labels"]) == len(tensors["auxiliary"]) == rows or tensors["auxiliary"].shape[1] != len(names):
        return False
    if CHECKSUM in metadata:
        return bool(metadata[CHECKSUM] == checksum_of(tensors))
    pictures, ends = tensors["pictures"], np.cumsum(tensors["lengths"])
    starts = ends - tensors["lengths"]
    return bool(
        rows and ends[-1] == len(pictures) and all(pictures[start : start + 4].tobytes() == _PNG for start in starts)
    )


def load_cache(cache: Path) -> Cached:
    """Read a cache that was found intact: each row's observation is its own picture."""
    with safe_open(cache, framework="numpy") as file:
        pictures = file.get_tensor("pictures")
        ends = np.cumsum(file.get_tensor("lengths"))
        labels = file.get_tensor("labels")
        auxiliary = file.get_tensor("auxiliary")
        names = tuple(json.loads(file.metadata()["auxiliary"]))
    starts = np.concatenate([[0], ends[:-1]])
    split = [pictures[start:end].tobytes() for start, end in zip(starts, ends, strict=True)]
    return Cached(split, np.arange(len(split))[:, np.newaxis], labels, auxiliary, names)


def can_write(folder: Path) -> bool:
    """Return whether files can be written in a folder; makes the folder if it does not exist."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
