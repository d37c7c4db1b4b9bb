"""TensorBoard logs: one curve per output, the total, and what every round's checkpoint was worth."""

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

_WEIGHT_STEPS = 20  # resolution of a weight in a histogram, which knows whole counts only


class Board(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes event files for ``tensorboard --logdir RUN``.

    Args:
        folder: Where the event files go.
        every: Steps between two points of the training curves (Keras' running means of the round).
    """

    def __init__(self, folder: Path, every: int = 10) -> None:
        super().__init__()
        self._writer = tf.summary.create_file_writer(str(folder))
        self._every = every
        self.step = 0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Log the losses of every ``every``-th step."""
        self.step += 1
        if self.step % self._every == 0:
            self.log("train", {name: float(value) for name, value in (logs or {}).items()})

    def log(self, group: str, values: dict[str, float]) -> None:
        """Write numbers under ``group/`` at the present step; those that are not finite are left out."""
        with self._writer.as_default():
            for name, value in values.items():
                if math.isfinite(value):
                    tf.summary.scalar(f"{group}/{name}", value, step=self.step)
        self._writer.flush()

    def log_histograms(self, fed: dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]) -> None:
        """Write histograms of labels at the present step, each label counted as often as it weighed."""
        with self._writer.as_default():
            for name, (labels, weights) in fed.items():
                counts = np.round(weights / max(float(weights.max()), 1e-9) * _WEIGHT_STEPS).astype(int)
                tf.summary.histogram(name, np.repeat(labels, counts), step=self.step)
        self._writer.flush()
