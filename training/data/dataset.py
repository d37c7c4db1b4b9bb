"""Samples to batches, decoded as they are drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import keras
import numpy as np
import numpy.typing as npt

from agent.contract.profile import Rectangle
from training.data.augment import change_colours, erase_parts, flip_picture, flip_signs
from training.data.buffers import Buffer, equal_shares
from training.data.samples import AUXILIARY, Samples

Targets = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Draw:
    """What a batch is made of.

    Attributes:
        chosen: int64, shape (batch,): the samples.
        flipped: bool, shape (batch,): which of them are mirrored.
        labels: float32, shape (batch, outputs): their labels, after flips.
        weights: float32, shape (batch, outputs): what each label counts.
    """

    chosen: npt.NDArray[np.int64]
    flipped: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]

    def part(self, which: slice) -> Self:
        """Return some of its samples."""
        return type(self)(self.chosen[which], self.flipped[which], self.labels[which], self.weights[which])


def _whole(total: int) -> slice:
    return slice(0, total)


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """The batches of one round, for ``Model.fit``: observations, targets by head, weights by head.

    Batch ``i`` of round ``r`` is always the same for the same seed, whatever was drawn before: a resumed run sees what
    an uninterrupted one would have seen. It does not count the epochs that Keras tells it of: on JAX and torch the
    first ``fit`` tells of one before it has begun.

    What changes a picture, such as a flip, changes all pictures of its sample alike.

    An output's weights are 1 on average over a batch: where only one feed of three carries its label, they are 3 there.

    Args:
        samples: What to draw from.
        buffers: Decide what is drawn, one a feed; a batch has equal shares of them.
        batch_size: Samples a batch.
        steps: Batches a round.
        batch_per_output: Have a batch of ``batch_size`` for each output, one after the other, each of it drawn from the
            output's own feed (or from the only one): what the helper step takes.
        mirrored: Parts of the picture to mirror in a flip; empty never flips.
        colours: How much colours are changed, see :func:`training.data.augment.change_colours`.
        erase: How many parts are painted over at most, see :func:`training.data.augment.erase_parts`.
        auxiliary: Whether the auxiliary columns are among the targets.
        seed: Of order, flips, colours and erased parts.
        round_: Which round's.
        part: Which of a batch's samples, of a number of them, this process is to have; all if not told.
    """

    def __init__(
        self,
        samples: Samples,
        buffers: Sequence[Buffer],
        batch_size: int,
        steps: int,
        batch_per_output: bool = False,
        mirrored: Sequence[Rectangle] = (),
        colours: float = 0.0,
        erase: int = 0,
        auxiliary: bool = False,
        seed: int = 0,
        round_: int = 0,
        part: Callable[[int], slice] = _whole,
    ) -> None:
        # Elsewhere the first `fit` draws a batch to see its shape, and Keras (3.15) then hands on those that a second
        # thread had under way out of order.
        super().__init__(workers=2 if keras.backend.backend() == "tensorflow" else 1, max_queue_size=4)
        self._samples = samples
        self._buffers = tuple(buffers)
        outputs, feeds = len(samples.output_names), len(buffers)
        if batch_per_output:
            sources = range(outputs) if feeds == outputs else [0] * outputs
            self._parts = [(feed, batch_size) for feed in sources]
            only = np.eye(outputs, dtype=np.float32)  # each part of the batch trains one head
            self._scales = list(only)
        else:
            self._parts = list(enumerate(equal_shares(batch_size, feeds)))
            mean = np.mean([buffer.feed.weights.mean(axis=0) for buffer in buffers], axis=0)
            self._scales = [1 / mean] * feeds
        self._steps = steps
        self._mirrored = tuple(mirrored)
        self._colours = colours
        self._erase = erase
        self._auxiliary = auxiliary
        self._seed = seed
        self._round = round_
        self._part = part(self.samples_a_step)
        self._signs = flip_signs(samples.output_names)
        self._auxiliary_signs = flip_signs(samples.auxiliary_names)

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.uint8], Targets, Targets]:
        step = self._round * self._steps + index
        draw = self.draw(step).part(self._part)
        observations = np.stack([self._samples.observation(k) for k in draw.chosen])
        for row in np.flatnonzero(draw.flipped):
            flip_picture(observations[row], self._mirrored)
        if self._colours or self._erase:
            for observation, sample in zip(observations, draw.chosen, strict=True):
                rng = np.random.default_rng([self._seed, step, int(sample)])
                change_colours(observation, self._colours, rng)
                erase_parts(observation, self._erase, rng)
        names = self._samples.output_names
        targets = {name: draw.labels[:, k : k + 1] for k, name in enumerate(names)}
        weights = {name: draw.weights[:, k] for k, name in enumerate(names)}
        if self._auxiliary:
            targets[AUXILIARY] = self._flip(self._samples.auxiliary, self._auxiliary_signs, draw.chosen, draw.flipped)
            weights[AUXILIARY] = np.ones(len(draw.chosen), np.float32)
        return observations, targets, weights

    @property
    def samples_a_step(self) -> int:
        """Samples that one step eats."""
        return sum(share for _, share in self._parts)

    def draw(self, step: int) -> Draw:
        """Return what the batch of a step of the run is made of."""
        chosen, weights = [], []
        drawn = [0] * len(self._buffers)
        for (feed, share), scale in zip(self._parts, self._scales, strict=True):
            a_step = sum(count for other, count in self._parts if other == feed)
            buffer = self._buffers[feed]
            chosen.append(buffer.draw(step * a_step + drawn[feed], share))
            weights.append(buffer.feed.weights[chosen[-1]] * scale)
            drawn[feed] += share
        samples = np.concatenate(chosen)
        flipped = np.zeros(len(samples), bool)
        if self._mirrored:
            flipped = np.random.default_rng([self._seed, step]).random(len(samples)) < 0.5
        labels = self._flip(self._samples.labels, self._signs, samples, flipped)
        return Draw(samples, flipped, labels, np.concatenate(weights).astype(np.float32))

    def fed(self, first_step: int, steps: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return the labels that some steps feed, and what each counts: float32, shape (n, outputs) both."""
        draws = [self.draw(step) for step in range(first_step, first_step + steps)]
        return np.concatenate([draw.labels for draw in draws]), np.concatenate([draw.weights for draw in draws])

    @staticmethod
    def _flip(
        values: npt.NDArray[np.float32],
        signs: npt.NDArray[np.float32],
        chosen: npt.NDArray[np.int64],
        flipped: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.float32]:
        return np.where(flipped[:, np.newaxis], values[chosen] * signs, values[chosen])
