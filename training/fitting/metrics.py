"""How well predictions agree with labels, per output."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class OutputMetrics:
    """Agreement of one output with its labels.

    Attributes:
        mae: Mean absolute error, in the output's own unit.
        rmse: Root of the mean squared error.
        correlation: Pearson's; 0 where either side never varies.
    """

    mae: float
    rmse: float
    correlation: float


def measure_outputs(
    predictions: npt.NDArray[np.float32], labels: npt.NDArray[np.float32], names: Sequence[str]
) -> dict[str, OutputMetrics]:
    """Compare two arrays of shape (n, len(names)), column by column."""
    return {name: measure(predictions[:, k], labels[:, k]) for k, name in enumerate(names)}


def measure(predictions: npt.NDArray[np.float32], labels: npt.NDArray[np.float32]) -> OutputMetrics:
    """Compare two arrays of shape (n,)."""
    error = predictions.astype(np.float64) - labels
    spread = float(np.std(predictions)) * float(np.std(labels))
    covariance = float(np.mean((predictions - np.mean(predictions)) * (labels - np.mean(labels))))
    return OutputMetrics(
        mae=float(np.mean(np.abs(error))),
        rmse=float(np.sqrt(np.mean(error**2))),
        correlation=covariance / spread if spread > 1e-12 else 0.0,
    )
