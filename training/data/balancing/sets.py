"""An epoch made of sets: one sample of every cell that is not empty, in every set.

A cell's samples come in a random order, and none comes again in an epoch before all of them have come. The number of
sets is chosen so that the epoch is about as long as the data.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

CANDIDATES = 8
"""Samples of a bin that sub-balancing chooses among.

Measured on the 28,098 samples of 60 CarRacing episodes; effective bins (see ``training.data.balance_report``) of
what each head is fed, mean of three epochs, and seconds an epoch of one feed:

==========  ========  ========  =====  =======
candidates  steering  throttle  brake  seconds
==========  ========  ========  =====  =======
1 (as v3)       8.25      4.25   3.06     0.10
2               8.58      4.13   3.17     0.10
4               8.78      4.06   3.24     0.16
8               8.89      4.04   3.25     0.30
16              8.93      4.03   3.27     0.40
64              8.95      4.02   3.27     1.63
==========  ========  ========  =====  =======

Eight have nine tenths of the gain. Throttle gets a little less even: whoever brakes is off the throttle, so that what
evens out the brake piles up at throttle 0.
"""

Indices = npt.NDArray[np.int64]
"""int64, shape (n,): indices of samples, or the number of each sample's cell."""


def members_of(cells: Indices) -> list[Indices]:
    """Return the samples of every cell that is not empty, by ascending number of the cell."""
    order = np.argsort(cells, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(cells[order])) + 1)


def epoch_of_sets(members: Sequence[Indices], rng: np.random.Generator) -> Indices:
    """Return one epoch's samples in the order they are fed.

    Args:
        members: The samples of each cell; no cell is empty.
        rng: Decides all of it.
    """
    sets = _number_of_sets(members)
    columns = []
    for samples in members:
        passes = np.tile(samples, (-(-sets // len(samples)), 1))
        columns.append(rng.permuted(passes, axis=1).ravel()[:sets])
    return rng.permuted(np.stack(columns, axis=1), axis=1).ravel()


def epoch_of_evened_sets(
    members: Sequence[Indices], others: Sequence[Indices], rng: np.random.Generator, candidates: int = CANDIDATES
) -> Indices:
    """Return one epoch as ``epoch_of_sets`` does, choosing each sample so that it evens out the other outputs too.

    From the next few samples waiting in the cell, it takes the one whose bins of the other outputs were fed least so
    far, and sends the rest back to wait. The sum over the other outputs of (bins x samples fed in the candidate's bin)
    is by how much the candidate raises the chi-squared distance between what was fed and an even histogram.

    Args:
        members: The samples of each cell; no cell is empty.
        others: Each other output's bin of every sample, int64, shape (n,).
        rng: Decides the order samples wait in, and the order within a set.
        candidates: How many waiting samples to choose among.
    """
    # Plain lists: element by element they are several times faster than arrays.
    bins = [np.unique(cells, return_inverse=True)[1].tolist() for cells in others]
    fed = [[0] * (max(cells) + 1) for cells in bins]
    pairs = list(zip(bins, fed, strict=True))
    waiting: list[deque[int]] = [deque() for _ in members]
    turns = rng.permuted(np.tile(np.arange(len(members)), (_number_of_sets(members), 1)), axis=1)
    epoch = []
    for cell in turns.ravel().tolist():
        queue = waiting[cell]
        if not queue:
            queue.extend(rng.permutation(members[cell]).tolist())
        drawn = [queue.popleft() for _ in range(min(candidates, len(queue)))]
        best = min(drawn, key=lambda sample: sum(len(count) * count[cells[sample]] for cells, count in pairs))
        drawn.remove(best)
        queue.extend(drawn)
        for cells, count in pairs:
            count[cells[best]] += 1
        epoch.append(best)
    return np.array(epoch, np.int64)


def _number_of_sets(members: Sequence[Indices]) -> int:
    return max(1, round(sum(len(samples) for samples in members) / len(members)))
