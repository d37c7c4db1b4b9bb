"""One buffer for each feed; batches are drawn from the buffers at random and without replacement.

``Buffer`` draws from recorded episodes, ``StreamBuffer`` from samples that arrive one by one and are kept nowhere else;
``BufferStorage`` is the copy on disk that refills the latter after a restart.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from agent.contract.durable import replacing
from agent.contract.errors import TrainingError
from training.data.balancing.base import Feed

CAPACITY = 25_000
"""Samples a buffer holds (the source's figure); a smaller data set fills a smaller one."""
REFILL_BELOW = 0.9
"""A buffer is topped up as soon as it holds less than this share of its capacity (the source's figure)."""


Item = TypeVar("Item")


class Buffer:
    """Draws the samples of a feed in random order, each once in an epoch of the feed.

    Samples are drawn at random from a full buffer, and a drawn sample is removed. Below 90 %, the buffer is topped up
    with the next samples. A recorded data set is finite: when an epoch has no more samples, the buffer is drawn empty,
    and the next epoch fills it again. So no sample of an epoch is repeated while that epoch still has fresh ones.

    The buffer holds only indices (8 bytes each, at most three epochs of them); the encoded pictures are held once, in
    ``training.data.samples.Samples``. The sample at a position depends only on the seed. So a resumed run needs no copy
    of the buffers, and their pictures come back from the caches beside the episodes. Several threads may draw at the
    same time.

    Args:
        feed: The feed that fills it.
        seed: Seed of the order.
        capacity: Samples it holds, at least 1; lowered to the length of an epoch.

    Attributes:
        feed: The feed that fills it.
        capacity: Samples it holds.
    """

    def __init__(self, feed: Feed, seed: tuple[int, ...], capacity: int = CAPACITY) -> None:
        self.feed = feed
        self._seed = seed
        # A round's own epoch, the next one, and the one that BatchNorm's statistics are measured on.
        self._epoch = lru_cache(maxsize=3)(self._draw_epoch)
        self._length = len(feed.epoch(self._rng(0)))
        self.capacity = min(capacity, self._length)

    def draw(self, first: int, count: int) -> npt.NDArray[np.int64]:
        """Return the samples drawn at positions ``first`` to ``first + count - 1`` of the run."""
        drawn: list[npt.NDArray[np.int64]] = []
        while count > 0:
            number, offset = divmod(first, self._length)
            part = self._epoch(number)[offset : offset + count]
            drawn.append(part)
            first += len(part)
            count -= len(part)
        return np.concatenate(drawn)

    def _draw_epoch(self, number: int) -> npt.NDArray[np.int64]:
        rng = self._rng(number)
        fresh = self.feed.epoch(rng)
        if len(fresh) != self._length:
            raise ValueError(f"epoch {number} of feed {self.feed.name} has another length than the first")
        chances = rng.random(len(fresh))
        held: list[int] = []
        next_ = 0
        drawn = np.empty(len(fresh), np.int64)
        for position, chance in enumerate(chances):
            if len(held) < REFILL_BELOW * self.capacity and next_ < len(fresh):
                filled = min(len(fresh), next_ + self.capacity - len(held))
                held += fresh[next_:filled].tolist()
                next_ = filled
            drawn[position] = _take(held, chance)
        return drawn

    def _rng(self, epoch: int) -> np.random.Generator:
        return np.random.default_rng([*self._seed, epoch])


def make_buffers(feeds: Sequence[Feed], seed: int, capacity: int = CAPACITY) -> tuple[Buffer, ...]:
    """Return a buffer for each feed; their orders differ and depend only on the seed."""
    return tuple(Buffer(feed, (seed, 1 << 32, index), capacity) for index, feed in enumerate(feeds))


def equal_shares(total: int, parts: int) -> list[int]:
    """Split a number into parts that differ by at most one, larger parts first."""
    return [total // parts + (part < total % parts) for part in range(parts)]


class EncodedSample(NamedTuple):
    """A sample as it arrives.

    Attributes:
        picture: The observation, PNG.
        labels: float32, shape (outputs,).
    """

    picture: bytes
    labels: npt.NDArray[np.float32]


class BufferStorage:
    """A rotating copy on disk of the samples that arrived last, in files of equal length.

    The files are numbered as they are written. Each appears whole or not at all, and the oldest are deleted. A process
    may be killed at any moment: the storage still opens, and lacks at most the ``chunk_samples - 1`` samples that were
    waiting for their file. The disk holds at most ``chunks + 1`` files.

    Args:
        folder: Folder of the files, used by this storage only; created if it is missing.
        chunks: Number of files kept.
        chunk_samples: Samples per file.
    """

    def __init__(self, folder: Path, chunks: int = 25, chunk_samples: int = 1000) -> None:
        if chunks < 1 or chunk_samples < 1:
            raise ValueError(f"a storage of {chunks} files of {chunk_samples} samples, expected at least 1 of each")
        self._folder = folder
        self._chunks = chunks
        self._chunk_samples = chunk_samples
        self._waiting: list[EncodedSample] = []
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob(".*.partial"):
            path.unlink()
        files = self._files()
        self._next = int(files[-1].stem) + 1 if files else 0

    def append(self, sample: EncodedSample) -> None:
        """Keep a sample; writes a file when enough of them are waiting."""
        self._waiting.append(sample)
        if len(self._waiting) >= self._chunk_samples:
            self.flush()

    @property
    def waiting(self) -> int:
        """Samples that no file holds yet."""
        return len(self._waiting)

    def flush(self) -> None:
        """Write a file of the samples that are waiting, also where they are few.

        Raises:
            OSError, SafetensorError: If it cannot be written; these samples are then not stored.
        """
        if not self._waiting:
            return
        path = self._folder / f"{self._next:012d}.safetensors"
        try:
            with replacing(path) as partial:
                save_file(
                    {
                        "pictures": np.frombuffer(b"".join(sample.picture for sample in self._waiting), np.uint8),
                        "lengths": np.array([len(sample.picture) for sample in self._waiting], np.int64),
                        "labels": np.stack([sample.labels for sample in self._waiting]).astype(np.float32),
                    },
                    partial,
                )
        finally:
            self._waiting.clear()  # also where the disk is full: memory is bounded
        self._next += 1
        for old in self._files()[: -self._chunks]:
            old.unlink()

    def read(self) -> Iterator[EncodedSample]:
        """Read what is on disk, oldest first.

        Raises:
            TrainingError: If a file cannot be read.
        """
        for path in self._files():
            try:
                tensors = load_file(path)
                pictures, labels = tensors["pictures"].tobytes(), tensors["labels"]
                ends = np.cumsum(tensors["lengths"]).tolist()
            except (OSError, SafetensorError, KeyError) as exc:
                raise TrainingError(
                    f"{path} cannot be read ({exc}), expected a file that a buffer wrote. Delete it: its samples are "
                    "lost, the others are not."
                ) from exc
            starts = [0, *ends[:-1]]
            for start, end, row in zip(starts, ends, labels, strict=True):
                yield EncodedSample(pictures[start:end], row)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.safetensors"))


class StreamBuffer:
    """Holds samples that arrive one by one, until they are drawn.

    Memory is bounded: the buffer holds ``capacity`` encoded samples (about 10 KB each at 480 x 270). A sample that
    arrives while the buffer is full replaces a random one. Once drawn, a sample is gone. After a restart, the storage
    fills the buffer with the samples that arrived last; some of them may have been drawn before.

    Args:
        seed: Seed of the draws.
        capacity: Samples it holds, at least 1.
        storage: Keeps a copy of arriving samples, and fills the buffer at the start.
        start: Samples from which on it may be drawn from, before it was ever full; its capacity where None.

    Attributes:
        start: As given, or the capacity.
    """

    def __init__(
        self,
        seed: int,
        capacity: int = CAPACITY,
        storage: BufferStorage | None = None,
        start: int | None = None,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}, expected at least 1")
        if start is not None and not 1 <= start <= capacity:
            raise ValueError(f"start is {start}, expected 1 to the capacity of {capacity}")
        self.start = self._level = capacity if start is None else start
        self._rng = np.random.default_rng(seed)
        self._capacity = capacity
        self._held: list[EncodedSample] = []
        self._started = False
        self._storage = storage
        if storage is not None:
            for sample in storage.read():
                self._hold(sample)

    def __len__(self) -> int:
        return len(self._held)

    @property
    def ready(self) -> bool:
        """Whether it may be drawn from: it started, and holds at least 90 % of what it held when it was fullest.

        That counts up to its capacity, from ``start`` on.
        """
        return self._started and len(self._held) >= REFILL_BELOW * self._level

    @property
    def lacking(self) -> int:
        """Samples that it can take before it is as full as it ever was."""
        return max(0, self._level - len(self._held))

    def add(self, sample: EncodedSample) -> None:
        """Add a sample."""
        if self._storage is not None:
            self._storage.append(sample)
        self._hold(sample)

    def add_again(self, sample: EncodedSample) -> None:
        """Add a sample that arrived before; the storage keeps no second copy."""
        self._hold(sample)

    def draw(self, count: int) -> list[EncodedSample]:
        """Remove samples at random.

        Raises:
            ValueError: If it is not ``ready``, or would run empty.
        """
        if not self.ready or count > len(self._held):
            raise ValueError(
                f"{count} samples asked of a buffer that holds {len(self._held)} of {self._level}, expected one "
                "that is ready: add samples first"
            )
        return [_take(self._held, chance) for chance in self._rng.random(count)]

    def _hold(self, sample: EncodedSample) -> None:
        if len(self._held) == self._capacity:
            _take(self._held, self._rng.random())
        self._held.append(sample)
        self._started = self._started or len(self._held) >= self._level
        if self._started:
            self._level = max(self._level, len(self._held))


def _take(held: list[Item], chance: float) -> Item:
    """Remove one at random without moving the others: the last one takes its place."""
    chosen = int(chance * len(held))
    taken = held[chosen]
    held[chosen] = held[-1]
    held.pop()
    return taken
