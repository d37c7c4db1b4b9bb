"""What TensorBoard reads back: curves and weighted histograms."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from deferred import Deferred

pytestmark = pytest.mark.thorough

if TYPE_CHECKING:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

module = Deferred("training.fitting.board")
event_accumulator = Deferred("tensorboard.backend.event_processing.event_accumulator")
tensor_util = Deferred("tensorboard.util.tensor_util")


def read(folder: Path) -> "EventAccumulator":
    return event_accumulator.EventAccumulator(str(folder)).Reload()


def curve(events: "EventAccumulator", tag: str) -> list[tuple[int, float]]:
    return [(event.step, float(tensor_util.make_ndarray(event.tensor_proto))) for event in events.Tensors(tag)]


def test_curves_have_a_point_every_so_many_steps_and_none_that_is_not_finite(tmp_path: Path) -> None:
    board = module.Board(tmp_path, step=10, every=2)
    for batch in range(4):
        board.on_train_batch_end(batch, {"loss": float(batch), "steering_loss": 0.5})
    board.log("round", {"return": math.nan, "learning_rate": 0.25})
    board.close()
    events = read(tmp_path)
    assert curve(events, "train/loss") == [(12, 1.0), (14, 3.0)]
    assert curve(events, "train/steering_loss") == [(12, 0.5), (14, 0.5)]
    assert curve(events, "round/learning_rate") == [(14, 0.25)]
    assert "round/return" not in events.Tags()["tensors"]


def test_a_histogram_counts_each_label_by_its_weight(tmp_path: Path) -> None:
    board = module.Board(tmp_path)
    values, weights = np.array([-1, 0, 0, 1], np.float32), np.array([1, 2, 0.5, 0], np.float32)
    board.log_histogram("fed/steering", values, weights, (-1.0, 1.0))
    board.close()
    (event,) = read(tmp_path).Tensors("fed/steering")
    buckets = tensor_util.make_ndarray(event.tensor_proto)
    assert buckets.shape == (module.BUCKETS, 3)
    assert (buckets[0, 0], buckets[-1, 1]) == (-1, 1)
    counts = buckets[:, 2]
    assert (counts[0], counts[module.BUCKETS // 2], counts[-1]) == (1, 2.5, 0)
    assert counts.sum() == pytest.approx(3.5)
    assert buckets[module.BUCKETS // 2, 0] == pytest.approx(-buckets[module.BUCKETS // 2, 1])
