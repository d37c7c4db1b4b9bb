"""What every rule asks of the labels before it balances them."""

from collections.abc import Sequence

import numpy as np

from agent.contract.errors import TrainingError
from agent.contract.spec import OutputSpec
from training.data.balancing.base import Labels


def check_ranges(labels: Labels, outputs: Sequence[OutputSpec], where: str = "the data") -> None:
    """Refuse labels that are not numbers in their output's closed range.

    Args:
        labels: float32, shape (n, outputs).
        outputs: Their ranges; compared in float32, so that a limit of 0.1 admits the float32 nearest to it.
        where: What the labels came from, for the message, such as an episode's path.

    Raises:
        TrainingError: Naming the output, the first such value and its row.
        ValueError: If the labels have another shape.
    """
    if labels.ndim != 2 or labels.shape[1] != len(outputs):
        raise ValueError(f"labels have shape {labels.shape}, expected (n, {len(outputs)}): a column for each output")
    for column, output in enumerate(outputs):
        values = labels[:, column]
        inside = (values >= np.float32(output.low)) & (values <= np.float32(output.high))  # False for NaN
        if not inside.all():
            row = int(np.argmin(inside))
            raise TrainingError(
                f"{where}: {output.name} is {values[row]} in row {row} ({np.count_nonzero(~inside)} such rows), "
                f"expected [{output.low:g}, {output.high:g}]. Remove the episode or record it again."
            )


def check_present(labels: Labels, outputs: Sequence[OutputSpec]) -> None:
    """Refuse labels that are not there or out of range.

    Raises:
        TrainingError: If there are no labels, or one is NaN or out of its range.
    """
    if not len(labels):
        raise TrainingError("there are no samples to balance. Record some: `python -m training collect`.")
    check_ranges(labels, outputs)


def check_labels(labels: Labels, outputs: Sequence[OutputSpec]) -> None:
    """Refuse labels out of range, and outputs in which there is nothing to balance.

    Raises:
        TrainingError: If there are no labels, one is NaN or out of its range, or an output never varies.
    """
    check_present(labels, outputs)
    for column, output in enumerate(outputs):
        values = labels[:, column]
        if values.min() == values.max():
            others = ",".join(other.name for other in outputs if other is not output)
            raise TrainingError(
                f"{output.name} is {values[0]:g} in all {len(values)} samples, expected an output that varies: it "
                f"cannot be balanced. Train without it, with `--outputs {others or 'OUTPUT,...'}`, or on the data as "
                f"they are, with `--balance none`; or add episodes in which {output.name} is used: drive some that do, "
                "or of an embedded game collect more tracks."
            )
