"""What a network would be fed under a balancing rule, measured before training: histograms, counts, pedals.

Imports no Keras: labels are all it reads.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich import box
from rich.console import Console
from rich.table import Table

from agent.contract.controls import YIELDING_AXES
from agent.contract.episodes.reading import Episode
from agent.contract.errors import TrainingError
from agent.contract.spec import STEERING_THROTTLE_BRAKE, OutputSpec
from training.data.balancing.base import Balancing, Labels
from training.data.balancing.bins import fixed_bins
from training.data.balancing.labels import check_ranges
from training.data.balancing.registry import balancing_rule
from training.data.rows import labelled_rows

UNBALANCED = "none"
"""The rule that feeds the data as they are; every other rule is compared with it."""

_PEDALS = YIELDING_AXES[0]  # throttle and brake
_SEED = 0  # of the one epoch that is measured
_BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class FedOutput:
    """The samples that one output's head is fed.

    Attributes:
        shares: Share of the loss' weight in each fixed bin of the output; they sum to 1.
        effective_samples: Kish's effective sample size, (sum w)² / sum w², where w is what a sample counts in this
            output's loss over an epoch: times drawn x weight. This many different samples, drawn once each with equal
            weight, would average out as much noise: a sample drawn a hundred times is still one sample.
        effective_bins: The same for the shares, 1 / sum share²: this many equally full bins would be as even.
    """

    shares: tuple[float, ...]
    effective_samples: float
    effective_bins: float


@dataclass(frozen=True, slots=True)
class FedPedals:
    """How throttle and brake come together in the samples that carry both labels: shares of draws, summing to 1."""

    neither: float
    throttle_only: float
    brake_only: float
    both: float


@dataclass(frozen=True, slots=True)
class Fed:
    """What a rule feeds.

    Attributes:
        outputs: By output, in the order of the spec.
        pedals: None if no sample carries both labels, or the model lacks one of the two outputs.
    """

    outputs: dict[str, FedOutput]
    pedals: FedPedals | None


@dataclass(frozen=True, slots=True)
class BalanceReport:
    """A data set under one or more rules.

    Attributes:
        episodes: Number of episodes that the labels came from.
        samples: Number of labels of each output.
        bins: By output, the names of its fixed bins, lowest first.
        empty: By output, the bins without a sample, which no rule can fill.
        rules: What each rule feeds; ``none``, the data as they are, comes first.
    """

    episodes: int
    samples: int
    bins: dict[str, tuple[str, ...]]
    empty: dict[str, tuple[str, ...]]
    rules: dict[str, Fed]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain dictionaries and lists, ready for JSON."""
        return asdict(self)


def read_labels(
    paths: Sequence[Path],
    progress: Callable[[], None] = lambda: None,
    outputs: Sequence[OutputSpec] = STEERING_THROTTLE_BRAKE,
) -> Labels:
    """Read the labels of every row that ``fit`` learns from; no picture is touched.

    Args:
        paths: Episodes; at least one.
        progress: Called after each episode.
        outputs: The outputs whose labels are read.

    Returns:
        float32, shape (n, outputs).

    Raises:
        TrainingError: If a label is out of its range; it names the file.
        EpisodeError: If an episode cannot be read, or holds NaN; it names the file.
    """
    parts = []
    for path in paths:
        episode = Episode.open(path)
        labels = episode.labels([output.name for output in outputs])[labelled_rows(episode)]
        check_ranges(labels, outputs, str(path))
        parts.append(labels)
        progress()
    if not sum(map(len, parts)):
        raise TrainingError(
            "there is nothing to learn from: all rows were recorded while a network drove, and none is a person's. "
            "Take over while it drives."
        )
    return np.concatenate(parts)


def report_balance(
    labels: Labels, outputs: Sequence[OutputSpec], rule_names: Sequence[str], episodes: int
) -> BalanceReport:
    """Measure one epoch of each rule, and of the data as they are.

    Args:
        labels: float32, shape (n, outputs).
        outputs: Their names and ranges.
        rule_names: Such as ``("v2", "v3")``.
        episodes: How many episodes the labels are from, for the report.

    Raises:
        TrainingError: If a rule is unknown, a label is out of range, or an output never varies.
    """
    bins = {output.name: fixed_bins(output) for output in outputs}
    cells = {name: bins[name].assign(labels[:, column]) for column, name in enumerate(bins)}
    names = dict.fromkeys((UNBALANCED, *rule_names))
    rules = {name: _measure(balancing_rule(name), labels, outputs, cells) for name in names}
    filled = {name: set(numbers.tolist()) for name, numbers in cells.items()}
    return BalanceReport(
        episodes=episodes,
        samples=len(labels),
        bins={name: its_bins.names for name, its_bins in bins.items()},
        empty={
            name: tuple(text for number, text in enumerate(its_bins.names) if number not in filled[name])
            for name, its_bins in bins.items()
        },
        rules=rules,
    )


def _measure(
    rule: Balancing, labels: Labels, outputs: Sequence[OutputSpec], cells: dict[str, npt.NDArray[np.int64]]
) -> Fed:
    rng = np.random.default_rng(_SEED)
    names = [output.name for output in outputs]
    pedals = [names.index(name) for name in _PEDALS if name in names]
    weights = np.zeros(labels.shape)
    paired = np.zeros(len(labels))
    for feed in rule.feeds(labels, outputs):
        epoch = feed.epoch(rng)
        drawn = np.bincount(epoch, minlength=len(labels)) / len(epoch)  # every feed has an equal share of a batch
        weights += drawn[:, None] * feed.weights
        paired += drawn * (feed.weights[:, pedals] > 0).all(axis=1)
    fed = {}
    for column, output in enumerate(outputs):
        weight = weights[:, column]
        sums = np.asarray(np.bincount(cells[output.name], weight, len(fixed_bins(output))), np.float64)
        fed[output.name] = FedOutput(tuple((sums / sums.sum()).tolist()), _kish(weight), _kish(sums))
    return Fed(fed, _pedals(labels[:, pedals] > 0, paired) if len(pedals) == 2 and paired.any() else None)


def _pedals(pressed: npt.NDArray[np.bool_], drawn: npt.NDArray[np.float64]) -> FedPedals:
    throttle, brake = pressed.T
    parts = (~throttle & ~brake, throttle & ~brake, ~throttle & brake, throttle & brake)
    return FedPedals(*(float(drawn[part].sum() / drawn.sum()) for part in parts))


def _kish(weights: npt.NDArray[np.float64]) -> float:
    return float(weights.sum() ** 2 / (weights**2).sum())


def print_report(report: BalanceReport, console: Console) -> None:
    """Print a table for each output and one for the pedals: a column for the data and for each rule, in percent."""
    rules = report.rules
    console.print(f"{report.samples:,} samples of {report.episodes} episodes; share of each bin in %, data = none")
    for name, bins in report.bins.items():
        table = _table(name, rules)
        columns = [_histogram(fed.outputs[name].shares, console) for fed in rules.values()]
        for text, *cells in zip(bins, *columns, strict=True):
            table.add_row(text, *cells)
        table.add_section()
        outputs = [fed.outputs[name] for fed in rules.values()]
        table.add_row("effective bins", *(f"{output.effective_bins:.1f}" for output in outputs))
        table.add_row("eff. samples", *(f"{output.effective_samples:,.0f}" for output in outputs))
        console.print(table)
        empty = report.empty[name]
        if empty:
            console.print(f"{name}: {len(empty)} of {len(bins)} bins are empty: {', '.join(empty)}", soft_wrap=True)
    if all(name in report.bins for name in _PEDALS):
        table = _table("pedals", rules)
        for key in FedPedals.__slots__:
            shares = [None if fed.pedals is None else getattr(fed.pedals, key) for fed in rules.values()]
            table.add_row(key.replace("_", " "), *("-" if share is None else _percent(share) for share in shares))
        console.print(table)
        if any(fed.pedals is None for fed in rules.values()):
            console.print("-: no sample carries both labels: how they go together cannot be learnt")


def _table(title: str, rules: dict[str, Fed]) -> Table:
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column(title)
    for name in rules:
        table.add_column("data" if name == UNBALANCED else name, justify="right")
    return table


def _histogram(shares: Sequence[float], console: Console) -> list[str]:
    """Return a cell for each bin: a block as high as its share of the largest one, and its percentage."""
    largest = max(shares)
    cells = []
    for share in shares:
        block = "" if console.options.ascii_only else _BLOCKS[math.ceil(share / largest * (len(_BLOCKS) - 1))]
        cells.append(f"{block} {_percent(share)}" if share else "")
    return cells


def _percent(share: float) -> str:
    return f"{share:.2%}"[:-1]


def draw_report(report: BalanceReport, path: Path) -> None:
    """Write the histograms as a PNG: a row for each rule over the data's outline, a column for each output.

    Raises:
        TrainingError: If matplotlib is not installed.
        OSError: If the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure  # not pyplot: no display, no global state
    except ImportError as exc:
        raise TrainingError(
            f"the picture needs matplotlib, which cannot be imported ({exc}). Install it with `python -m pip install "
            '-e ".[training]"`, or leave --out away.'
        ) from exc

    data = report.rules[UNBALANCED]
    height_in = 1.9 * len(report.rules) + 1.2
    figure = Figure(figsize=(5.2 * len(report.bins), height_in), layout="constrained")
    grid = figure.subplots(len(report.rules), len(report.bins), squeeze=False, sharex="col", sharey=True)
    figure.suptitle(f"What each head is fed: {report.samples:,} samples of {report.episodes} episodes; grey: the data")
    for row, (rule, fed) in zip(grid, report.rules.items(), strict=True):
        for axes, (name, output) in zip(row, fed.outputs.items(), strict=True):
            bins = report.bins[name]
            positions = np.arange(len(bins))
            axes.bar(positions, 100 * np.array(data.outputs[name].shares), width=1.0, color="0.85")
            axes.bar(positions, 100 * np.array(output.shares), width=0.6, color="0.45" if rule == UNBALANCED else "C0")
            axes.set_yscale("log")  # rare bins are the point, and one in a thousand would be no bar
            axes.set_ylim(0.02, 100)
            axes.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
            axes.set_title(
                f"{rule}: {name}, {output.effective_bins:.1f} effective bins, "
                f"{output.effective_samples:,.0f} effective samples",
                fontsize=9,
            )
    for axes in grid[:, 0]:
        axes.set_ylabel("share, %")
    for axes, bins in zip(grid[-1], report.bins.values(), strict=True):
        axes.set_xticks(np.arange(len(bins)), bins, rotation=90, fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=100)
