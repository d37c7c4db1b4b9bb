"""What a live training draws from: a buffer for each output, the corrections, and what the network is judged by."""

import json
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agent.contract.durable import replace_file
from agent.contract.errors import TrainingError
from agent.contract.spec import OutputSpec
from training.data.buffers import BufferStorage, EncodedSample, StreamBuffer, equal_shares
from training.live.arrivals import Arrival, Place
from training.live.door import Door

PLACES = "places.json"
CHUNK_SAMPLES = 250
"""Samples after which the storage is written; what came after that is read from the episodes again."""
CORRECTIONS = 5000
"""The most corrections that count more; the oldest go first. At 20 a second that is over four minutes of them."""
JUDGES = 2000
"""The most samples that the network is judged by; a random one makes room for a new one."""


class Stock:
    """Takes samples as they arrive, and gives them out again in batches.

    Each output has a :class:`training.data.buffers.StreamBuffer` with a :class:`Door` that evens out its labels. A
    sample that was drawn is gone while fresh ones arrive. Where the trainer is faster than the data, a buffer is filled
    up from those that arrived last, balanced anew: :attr:`passes` says how often each has been fed by then.

    Corrections are in the buffers like any sample. A further part of every batch is theirs alone, the newest first.

    Args:
        outputs: The network's.
        folder: For the rotating copy on disk, which fills the stock after a restart.
        seed: Of what is drawn.
        capacity: Samples a buffer holds, and that are kept for another pass.
        start: Samples a buffer holds before anything is drawn.
        weight: How often a correction is fed for each time that another sample is.

    Attributes:
        arrived: Samples to learn from that arrived, before a restart too.
        held_out: Samples to judge by that arrived, before a restart too.
        drawn: Samples that were drawn.
        places: How far the episodes had been read when the storage was last written.
    """

    def __init__(
        self,
        outputs: tuple[OutputSpec, ...],
        folder: Path,
        seed: int = 0,
        capacity: int = 25_000,
        start: int = 1000,
        weight: float = 3.0,
    ) -> None:
        self.arrived = self.held_out = self.drawn = 0
        self.places: dict[str, Place] = {}
        self._outputs = outputs
        self._folder = folder
        self._weight = weight
        self._rng = np.random.default_rng([seed, 7])
        self._buffers = [StreamBuffer(seed + k, capacity, None, min(start, capacity)) for k in range(len(outputs))]
        self._doors = [Door(output, seed + 100 + k) for k, output in enumerate(outputs)]
        self._kept: deque[EncodedSample] = deque(maxlen=capacity)
        self._again: list[Iterator[EncodedSample]] = [iter(()) for _ in outputs]
        self._corrections: deque[EncodedSample] = deque(maxlen=CORRECTIONS)
        self._uncorrected: list[EncodedSample] = []  # corrections of this pass that are still to be fed, newest last
        self._judges: list[EncodedSample] = []
        chunks = max(1, -(-capacity // CHUNK_SAMPLES))
        names = {"drives": chunks, "corrections": -(-CORRECTIONS // CHUNK_SAMPLES), "judges": JUDGES // CHUNK_SAMPLES}
        # Written by `save` alone, so that no file has samples whose places are not written down.
        self._storages = {name: BufferStorage(folder / name, count, sys.maxsize) for name, count in names.items()}
        self._restore()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def levels(self) -> dict[str, int]:
        """Samples that each output's buffer holds."""
        return {output.name: len(buffer) for output, buffer in zip(self._outputs, self._buffers, strict=True)}

    @property
    def corrections(self) -> int:
        """Corrections that count more at present."""
        return len(self._corrections)

    @property
    def judges(self) -> list[EncodedSample]:
        """What the network is judged by; never drawn."""
        return self._judges

    @property
    def passes(self) -> float:
        """How often each sample that arrived has been fed, on average."""
        return self.drawn / max(1, self.arrived)

    @property
    def ready(self) -> bool:
        """Whether a batch can be drawn."""
        for index in range(len(self._buffers)):
            self._fill_up(index)
        return all(buffer.ready for buffer in self._buffers)

    @property
    def scales(self) -> npt.NDArray[np.float32]:
        """Variance of each output's labels over all that is kept: float32, shape (outputs,)."""
        labels = np.stack([sample.labels for sample in self._kept])
        variances: npt.NDArray[np.float32] = labels.var(axis=0)
        return variances

    def add(self, arrival: Arrival) -> None:
        """Take a sample. Only what is written by :meth:`save` is there after a restart."""
        self._take(arrival)
        if arrival.held_out:
            self.held_out += 1
            self._storages["judges"].append(arrival.sample)
            return
        self.arrived += 1
        self._storages["corrections" if arrival.correction else "drives"].append(arrival.sample)

    def draw(self, count: int) -> list[EncodedSample]:
        """Return a batch: equal shares of the outputs' buffers, and of the corrections what is due to them.

        Raises:
            ValueError: If the stock is not :attr:`ready`.
        """
        batch = self._draw_corrections(count)
        for index, share in enumerate(equal_shares(count - len(batch), len(self._buffers))):
            self._fill_up(index)
            batch += self._buffers[index].draw(share)
        self.drawn += len(batch)
        return batch

    @property
    def unsaved(self) -> int:
        """Samples that are in no file yet."""
        return sum(storage.waiting for storage in self._storages.values())

    def save(self, places: Mapping[str, Place]) -> None:
        """Write what is in no file yet, and how far the episodes have been read.

        Raises:
            TrainingError: If it cannot be written, as on a full disk; what was written before is still good.
        """
        try:
            for storage in self._storages.values():
                storage.flush()
            state = {"arrived": self.arrived, "held_out": self.held_out, "drawn": self.drawn}
            read = {name: asdict(place) for name, place in places.items()}
            replace_file(self._folder / PLACES, json.dumps({**state, "places": read}))
        except Exception as exc:  # safetensors has an error of its own for a full disk
            raise TrainingError(f"the samples could not be stored in {self._folder} ({exc}). Free space.") from exc
        self.places = dict(places)

    def _restore(self) -> None:
        path = self._folder / PLACES
        if path.exists():
            try:
                state = json.loads(path.read_text(encoding="utf-8"))
                self.places = {name: Place(**place) for name, place in state["places"].items()}
                self.arrived, self.held_out = int(state["arrived"]), int(state["held_out"])
                self.drawn = int(state["drawn"])
            except (ValueError, KeyError, TypeError) as exc:
                raise TrainingError(f"{path} is damaged ({exc}). Delete it: the episodes are read again.") from exc
        for name, storage in self._storages.items():
            for sample in storage.read():
                self._take(Arrival(sample, name == "corrections", name == "judges"))

    def _take(self, arrival: Arrival) -> None:
        sample = arrival.sample
        if arrival.held_out:
            if len(self._judges) == JUDGES:
                self._judges[int(self._rng.integers(JUDGES))] = sample
            else:
                self._judges.append(sample)
            return
        self._kept.append(sample)
        if arrival.correction:
            self._corrections.append(sample)
            self._uncorrected.append(sample)
        for index, door in enumerate(self._doors):
            label = float(sample.labels[index])
            door.count(label)
            for _ in range(door.copies(label)):
                self._buffers[index].add(sample)

    def _fill_up(self, index: int) -> None:
        """Let samples that arrived before in again, where too few fresh ones came."""
        buffer, door = self._buffers[index], self._doors[index]
        # A door may have let few of the first samples in: from the start on, they are fed again at once.
        if buffer.ready or len(self._kept) < buffer.start:
            return
        while buffer.lacking:
            sample = next(self._again[index], None)
            if sample is None:
                kept = list(self._kept)
                self._again[index] = iter([kept[k] for k in self._rng.permutation(len(kept))])
                continue
            for _ in range(door.copies(float(sample.labels[index]))):
                buffer.add_again(sample)

    def _draw_corrections(self, count: int) -> list[EncodedSample]:
        due = count * self._weight * len(self._corrections) / max(1, len(self._kept))
        share = int(due) + int(self._rng.random() < due % 1.0)
        drawn: list[EncodedSample] = []
        for _ in range(min(share, count // 2) if self._corrections else 0):
            if not self._uncorrected:
                newest = list(self._corrections)
                self._uncorrected = [newest[k] for k in self._rng.permutation(len(newest))]
            drawn.append(self._uncorrected.pop())
        return drawn
