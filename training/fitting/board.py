"""TensorBoard logs: one curve per output, the total, what was fed, and what every round's checkpoint was worth."""

import math
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from tensorboard.plugins.histogram import metadata as histogram_metadata  # type: ignore[import-untyped]
from tensorboard.plugins.scalar.summary_v2 import scalar_pb  # type: ignore[import-untyped]
from tensorboard.summary.writer.event_file_writer import EventFileWriter  # type: ignore[import-untyped]
from tensorboard.util.tensor_util import make_tensor_proto  # type: ignore[import-untyped]

from training.data.fed import BUCKETS


class Board(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes event files for ``tensorboard --logdir RUN``, on every Keras backend: TensorFlow need not be installed.

    Args:
        folder: Where the event files go.
        step: Steps done so far.
        every: Steps between two points of the training curves (Keras' running means of the round).
    """

    def __init__(self, folder: Path, step: int = 0, every: int = 10) -> None:
        super().__init__()
        self._writer = EventFileWriter(str(folder))
        self._every = every
        self.step = step

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Log the losses of every ``every``-th step."""
        self.step += 1
        if self.step % self._every == 0:
            self.log("train", {name: float(value) for name, value in (logs or {}).items()})

    def log(self, group: str, values: dict[str, float]) -> None:
        """Write numbers under ``group/`` at the present step; those that are not finite are left out."""
        for name, value in values.items():
            if math.isfinite(value):
                self._write(scalar_pb(f"{group}/{name}", value))
        self._writer.flush()

    def log_histogram(
        self,
        name: str,
        values: npt.NDArray[np.float32],
        weights: npt.NDArray[np.float32],
        limits: tuple[float, float],
    ) -> None:
        """Write a histogram at the present step.

        Args:
            name: What it is called.
            values: float32, shape (n,).
            weights: float32, shape (n,): what each value counts.
            limits: Where the first bucket begins and the last one ends.
        """
        counts, edges = np.histogram(values, BUCKETS, limits, weights=weights)
        buckets = make_tensor_proto(np.stack((edges[:-1], edges[1:], counts), axis=1), dtype=np.float64)
        metadata = histogram_metadata.create_summary_metadata(display_name=None, description=None)
        self._write(Summary(value=[Summary.Value(tag=name, metadata=metadata, tensor=buckets)]))
        self._writer.flush()

    def close(self) -> None:
        """Finish the event file."""
        self._writer.close()

    def _write(self, summary: Any) -> None:
        self._writer.add_event(Event(wall_time=time.time(), step=self.step, summary=summary))
