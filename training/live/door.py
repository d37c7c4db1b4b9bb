"""Balance at the door of a buffer: how many copies of an arriving sample it takes."""

from bisect import bisect_right

import numpy as np

from agent.contract.spec import OutputSpec
from training.data.balancing.bins import fixed_bins

MOST_COPIES = 10
"""Copies that a buffer takes of the rarest sample: of one moment in a drive more would be learnt by heart."""


class Door:
    """Evens out the bins of one output, as rule ``v3`` does for a data set that is known as a whole.

    Of a bin that holds twice its share of what arrived so far, every second sample is let in; of one that holds half of
    its share, each is let in twice. The share of every bin that has a sample is the same.

    Args:
        output: Whose labels are evened out.
        seed: Of the chances.
    """

    def __init__(self, output: OutputSpec, seed: int) -> None:
        self._starts: list[float] = fixed_bins(output).starts.tolist()
        self._counts = [0] * len(self._starts)
        self._total = self._bins = 0  # samples, and bins that have any
        self._rng = np.random.default_rng(seed)

    def count(self, label: float) -> None:
        """Take note of a sample that arrived; its label is a float32."""
        place = self._bin(label)
        self._bins += self._counts[place] == 0
        self._counts[place] += 1
        self._total += 1

    def copies(self, label: float) -> int:
        """Return how many copies of a sample are let in; its bin has been counted."""
        wanted = min(self._total / (self._bins * self._counts[self._bin(label)]), MOST_COPIES)
        return int(wanted) + int(self._rng.random() < wanted % 1.0)

    def _bin(self, label: float) -> int:
        return bisect_right(self._starts, label) - 1
