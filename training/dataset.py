"""Samples to batches, decoded as they are drawn."""

from collections.abc import Sequence
from functools import lru_cache

import keras
import numpy as np
import numpy.typing as npt

from agent.contract.profile import Rectangle
from training.augment import flip_picture, flip_signs
from training.samples import Samples, decode


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """An endless, reproducible stream of batches for ``Model.fit``.

    Batch ``i`` of round ``r`` is always the same for the same seed, whatever was drawn before: a resumed run sees what
    an uninterrupted one would have seen. Every sample is drawn once before any is drawn again.

    Args:
        samples: What to draw from.
        batch_size: Samples a batch.
        steps: Batches a round.
        mirrored: Parts of the picture to mirror in a flip; empty never flips.
        auxiliary: Whether the auxiliary columns are among the targets.
        seed: Of order and flips.
        first_round: Round to start with.
    """

    def __init__(
        self,
        samples: Samples,
        batch_size: int,
        steps: int,
        mirrored: Sequence[Rectangle] = (),
        auxiliary: bool = False,
        seed: int = 0,
        first_round: int = 0,
    ) -> None:
        super().__init__(workers=2, max_queue_size=4)
        self._samples = samples
        self._batch_size = batch_size
        self._steps = steps
        self._mirrored = tuple(mirrored)
        self._auxiliary = auxiliary
        self._seed = seed
        self._round = first_round
        self._signs = flip_signs(samples.output_names)
        self._auxiliary_signs = flip_signs(samples.auxiliary_names)
        self._permutation = lru_cache(maxsize=4)(self._permute)  # Keras draws from several threads

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.uint8], dict[str, npt.NDArray[np.float32]]]:
        step = self._round * self._steps + index
        rng = np.random.default_rng([self._seed, step])
        chosen = [self._nth(step * self._batch_size + k) for k in range(self._batch_size)]
        pictures = np.stack([decode(self._samples.pictures[k]) for k in chosen])
        labels = self._samples.labels[chosen].copy()
        auxiliary = self._samples.auxiliary[chosen].copy()
        if self._mirrored:
            for row in np.flatnonzero(rng.random(self._batch_size) < 0.5):
                flip_picture(pictures[row], self._mirrored)
                labels[row] *= self._signs
                auxiliary[row] *= self._auxiliary_signs
        targets = {name: labels[:, k : k + 1] for k, name in enumerate(self._samples.output_names)}
        if self._auxiliary:
            targets["auxiliary"] = auxiliary
        return pictures, targets

    def on_epoch_end(self) -> None:
        self._round += 1

    def _nth(self, position: int) -> int:
        """Sample at a position of the endless stream of permutations."""
        number, offset = divmod(position, len(self._samples))
        return int(self._permutation(number)[offset])

    def _permute(self, number: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng([self._seed, 1 << 32, number]).permutation(len(self._samples))
