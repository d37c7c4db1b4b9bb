"""Samples to batches, decoded as they are drawn."""

from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt

from agent.contract.profile import Rectangle
from training.augment import flip_picture, flip_signs
from training.balancing.base import Feed
from training.buffers import CAPACITY, Buffer
from training.samples import Samples, decode

Targets = dict[str, npt.NDArray[np.float32]]


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """An endless, reproducible stream of batches for ``Model.fit``: pictures, targets by head, weights by head.

    Batch ``i`` of round ``r`` is always the same for the same seed, whatever was drawn before: a resumed run sees what
    an uninterrupted one would have seen.

    Args:
        samples: What to draw from.
        feeds: What is drawn, one buffer each; a batch has equal shares of them.
        batch_size: Samples a batch.
        steps: Batches a round.
        batch_per_output: Have a batch of ``batch_size`` for each output, one after the other, each of it drawn from the
            output's own feed (or from the only one): what the helper step takes.
        mirrored: Parts of the picture to mirror in a flip; empty never flips.
        auxiliary: Whether the auxiliary columns are among the targets.
        seed: Of order and flips.
        first_round: Round to start with.
        buffer_size: Samples a buffer holds.
    """

    def __init__(
        self,
        samples: Samples,
        feeds: Sequence[Feed],
        batch_size: int,
        steps: int,
        batch_per_output: bool = False,
        mirrored: Sequence[Rectangle] = (),
        auxiliary: bool = False,
        seed: int = 0,
        first_round: int = 0,
        buffer_size: int = CAPACITY,
    ) -> None:
        super().__init__(workers=2, max_queue_size=4)
        self._samples = samples
        self._feeds = tuple(feeds)
        self._buffers = [Buffer(feed, (seed, 1 << 32, index), buffer_size) for index, feed in enumerate(feeds)]
        outputs = len(samples.output_names)
        if batch_per_output:
            sources = range(outputs) if len(feeds) == outputs else [0] * outputs
            self._shares = [(feed, batch_size) for feed in sources]
        else:
            count = len(self._feeds)
            self._shares = [(feed, batch_size // count + (feed < batch_size % count)) for feed in range(count)]
        self._batch_per_output = batch_per_output
        self._steps = steps
        self._mirrored = tuple(mirrored)
        self._auxiliary = auxiliary
        self._seed = seed
        self._round = first_round
        self._signs = flip_signs(samples.output_names)
        self._auxiliary_signs = flip_signs(samples.auxiliary_names)

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.uint8], Targets, Targets]:
        step = self._round * self._steps + index
        rng = np.random.default_rng([self._seed, step])
        chosen, weights = self._draw(step)
        pictures = np.stack([decode(self._samples.pictures[k]) for k in chosen])
        labels = self._samples.labels[chosen].copy()
        auxiliary = self._samples.auxiliary[chosen].copy()
        if self._mirrored:
            for row in np.flatnonzero(rng.random(len(chosen)) < 0.5):
                flip_picture(pictures[row], self._mirrored)
                labels[row] *= self._signs
                auxiliary[row] *= self._auxiliary_signs
        names = self._samples.output_names
        targets = {name: labels[:, k : k + 1] for k, name in enumerate(names)}
        weights_by_head = {name: weights[:, k] for k, name in enumerate(names)}
        if self._auxiliary:
            targets["auxiliary"] = auxiliary
            weights_by_head["auxiliary"] = np.ones(len(chosen), np.float32)
        return pictures, targets, weights_by_head

    @property
    def samples_a_step(self) -> int:
        """Samples that one step eats."""
        return sum(share for _, share in self._shares)

    def on_epoch_end(self) -> None:
        self._round += 1

    def fed_labels(self, first_step: int, steps: int) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
        """Return by output the labels of some steps, before flips, and what each counted: two arrays of shape (n,)."""
        drawn = [self._draw(step) for step in range(first_step, first_step + steps)]
        labels = self._samples.labels[np.concatenate([chosen for chosen, _ in drawn])]
        weights = np.concatenate([weight for _, weight in drawn])
        return [(labels[:, column], weights[:, column]) for column in range(labels.shape[1])]

    def _draw(self, step: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Return a batch's samples, and their weights of shape (batch, outputs)."""
        chosen, weights = [], []
        drawn_a_step = [sum(share for feed, share in self._shares if feed == k) for k in range(len(self._feeds))]
        position = [step * count for count in drawn_a_step]
        for part, (feed, share) in enumerate(self._shares):
            drawn = self._buffers[feed].draw(position[feed], share)
            position[feed] += share
            weight = self._feeds[feed].weights[drawn]
            if self._batch_per_output:  # this part trains one head only
                weight = np.where(np.arange(weight.shape[1]) == part, weight, 0)
            chosen.append(drawn)
            weights.append(weight.astype(np.float32))
        return np.concatenate(chosen), np.concatenate(weights)
