"""The balancing rules: which samples are fed, how often, and how much weight each of their labels has.

A rule is built from the helpers in the modules beside this one: ``bins.py`` sorts labels into bins, ``sets.py`` draws
samples evenly from groups, ``reweight.py`` computes label weights. To add a rule, write it here and name it in
``registry.py``.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from agent.contract.spec import OutputSpec
from training.data.balancing.base import Feed, Labels
from training.data.balancing.bins import fixed_bins, joint_bins
from training.data.balancing.labels import check_labels, check_present
from training.data.balancing.reweight import density_weights
from training.data.balancing.sets import Indices, epoch_of_evened_sets, epoch_of_sets, members_of

ALL = "all"
"""Name of the feed of a rule that has only one."""


class Unbalanced:
    """``none``: each sample once an epoch, unweighted. Only this rule accepts an output that never varies."""

    name = "none"

    def feeds(self, labels: Labels, outputs: Sequence[OutputSpec]) -> tuple[Feed, ...]:
        check_present(labels, outputs)
        return (Feed(ALL, np.ones_like(labels), partial(_shuffled, len(labels))),)


class JointCells:
    """``v1``: balanced over all outputs at once.

    The bins of all outputs make a grid of cells: 9 x 5 x 5 for steering, throttle and brake. An epoch is a sequence of
    sets. A set is one sample from every cell that is not empty, so rare cells are fed as often as common ones.
    """

    name = "v1"

    def feeds(self, labels: Labels, outputs: Sequence[OutputSpec]) -> tuple[Feed, ...]:
        check_labels(labels, outputs)
        cells = np.zeros(len(labels), np.int64)
        for column, output in enumerate(outputs):
            bins = joint_bins(output)
            # Renumber at each step. With many outputs, the cells' numbers would overflow otherwise.
            cells = np.unique(cells * len(bins) + bins.assign(labels[:, column]), return_inverse=True)[1]
        return (Feed(ALL, np.ones_like(labels), partial(epoch_of_sets, members_of(cells))),)


class OwnLabel:
    """``v2``: each output has a feed of its own, balanced by that output's label; the other labels have weight 0."""

    name = "v2"

    def feeds(self, labels: Labels, outputs: Sequence[OutputSpec]) -> tuple[Feed, ...]:
        check_labels(labels, outputs)
        feeds = []
        for column, (output, cells) in enumerate(zip(outputs, _fixed_cells(labels, outputs), strict=True)):
            weights = np.zeros_like(labels)
            weights[:, column] = 1
            feeds.append(Feed(output.name, weights, partial(epoch_of_sets, members_of(cells))))
        return tuple(feeds)


class AllLabels:
    """``v3``: balanced as v2, but all labels of a sample have weight 1."""

    name = "v3"

    def feeds(self, labels: Labels, outputs: Sequence[OutputSpec]) -> tuple[Feed, ...]:
        check_labels(labels, outputs)
        weights = np.ones_like(labels)
        return tuple(
            Feed(output.name, weights, partial(epoch_of_sets, members_of(cells)))
            for output, cells in zip(outputs, _fixed_cells(labels, outputs), strict=True)
        )


class EvenedOthers:
    """``v4``: balanced as v3; within each bin, samples are drawn to even out the other outputs' histograms."""

    name = "v4"

    def feeds(self, labels: Labels, outputs: Sequence[OutputSpec]) -> tuple[Feed, ...]:
        check_labels(labels, outputs)
        weights = np.ones_like(labels)
        cells = _fixed_cells(labels, outputs)
        return tuple(
            Feed(output.name, weights, partial(epoch_of_evened_sets, members_of(cells[own]), _without(cells, own)))
            for own, output in enumerate(outputs)
        )


class Reweighted:
    """``reweight``: each sample once an epoch, each label weighted by how rare it is among its output's labels."""

    name = "reweight"

    def feeds(self, labels: Labels, outputs: Sequence[OutputSpec]) -> tuple[Feed, ...]:
        check_labels(labels, outputs)
        columns = [density_weights(labels[:, column], output) for column, output in enumerate(outputs)]
        return (Feed(ALL, np.stack(columns, axis=1), partial(_shuffled, len(labels))),)


def _shuffled(count: int, rng: np.random.Generator) -> Indices:
    return rng.permutation(count)


def _fixed_cells(labels: Labels, outputs: Sequence[OutputSpec]) -> list[Indices]:
    return [fixed_bins(output).assign(labels[:, column]) for column, output in enumerate(outputs)]


def _without(cells: list[Indices], own: int) -> list[Indices]:
    return cells[:own] + cells[own + 1 :]
