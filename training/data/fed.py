"""The distribution of the labels that a training was fed, in a small file of the run's folder that the page shows."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agent.contract.durable import replace_file
from agent.contract.spec import OutputSpec
from agent.page.runs import FED

BUCKETS = 41
"""Buckets of a histogram; odd, so that 0 lies in the middle of one where the range is symmetric."""


class Fed:
    """Counts labels.

    Args:
        outputs: The network's.
    """

    def __init__(self, outputs: Sequence[OutputSpec]) -> None:
        self._outputs = tuple(outputs)
        self._counts = np.zeros((len(self._outputs), BUCKETS))

    def add(self, labels: npt.NDArray[np.float32], weights: npt.NDArray[np.float32] | None = None) -> None:
        """Count some.

        Args:
            labels: Shape (n, outputs).
            weights: Of the same shape: what each label counts; None for 1.
        """
        for k, output in enumerate(self._outputs):
            of_output = None if weights is None else weights[:, k]
            self._counts[k] += np.histogram(labels[:, k], BUCKETS, (output.low, output.high), weights=of_output)[0]

    def write(self, folder: Path, step: float) -> None:
        """Replace the file in a run's folder.

        Args:
            folder: The run's.
            step: The step up to which was counted.

        Raises:
            OSError: If it cannot be written; the one before is kept.
        """
        outputs = {
            output.name: {"low": output.low, "high": output.high, "counts": counts.round(3).tolist()}
            for output, counts in zip(self._outputs, self._counts, strict=True)
        }
        replace_file(folder / FED, json.dumps({"step": step, "outputs": outputs}), sync=False)
