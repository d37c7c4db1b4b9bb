"""What recordings lack, told before a network is trained on them, each with what to do about it."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from agent.contract.controls import STRAIGHT
from training.data.augment import ANTISYMMETRIC_OUTPUTS
from training.data.samples import Samples

LEAST_S = 20.0
"""Less driving than this holds too few bends to learn from."""
LEAST_SHARE = 0.02
"""A direction that is steered in less of the time than this was hardly shown."""
STILL_S = 3.0
"""A picture that stays the same for so long is of a paused game or a menu."""
IDLE_S = 10.0
"""Nobody drives for so long without a touch of anything."""

_ENOUGH_S = 300.0


def find_gaps(samples: Samples, rate_hz: float, is_mirrored: bool) -> list[str]:
    """Return what recordings lack, most important first; a line each, empty if nothing stands out.

    Args:
        samples: What the network learns from, in the order of time within each episode.
        rate_hz: Samples a second.
        is_mirrored: Whether training mirrors pictures, so that one direction teaches the other.
    """
    seconds = len(samples) / rate_hz
    gaps = []
    if seconds < LEAST_S:
        gaps.append(
            f"there are only {seconds:.0f} s of driving, expected {LEAST_S:.0f} s at the very least: record "
            f"{_ENOUGH_S / 60:.0f} minutes"
        )
    gaps += _stills(samples, rate_hz)
    for column, name in enumerate(samples.output_names):
        gaps += _one_sided(name, samples.labels[:, column], is_mirrored)
    return gaps


def _stills(samples: Samples, rate_hz: float) -> list[str]:
    """Return what to say of pauses and menus that were recorded by mistake."""
    gaps = []
    newest = [samples.newest(sample) for sample in range(len(samples))]
    same = [first == second for first, second in pairwise(newest)]
    still_s = _time_in_runs(np.array(same, bool), rate_hz, STILL_S)
    if still_s:
        gaps.append(
            f"the picture stands still for {still_s:.0f} s in all: a paused game, a menu or a loading screen was "
            "recorded. Take it back with F11 while you record, or leave those episodes out"
        )
    idle = np.all(np.abs(samples.labels) < 1e-3, axis=1)
    idle_s = _time_in_runs(idle, rate_hz, IDLE_S)
    if idle_s > still_s:
        gaps.append(
            f"nothing is pressed for {idle_s:.0f} s in all, {IDLE_S:.0f} s and more at a time: the network learns to "
            "wait there. Leave those episodes out, or pause with F10 while you do not drive"
        )
    return gaps


def _time_in_runs(which: npt.NDArray[np.bool_], rate_hz: float, least_s: float) -> float:
    """Return how many seconds lie in unbroken runs of at least ``least_s``."""
    if not which.any():
        return 0.0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], which, [False]]).astype(np.int8)))
    lengths = (edges[1::2] - edges[::2]) / rate_hz
    return float(lengths[lengths >= least_s].sum())


def _one_sided(name: str, labels: npt.NDArray[np.float32], is_mirrored: bool) -> list[str]:
    if len(labels) == 0:
        return []
    if labels.max() - labels.min() < 1e-3:
        return [
            f"{name} never changes: it cannot be learnt. Use it while you record, or leave it out of --outputs if the "
            "game does not need it"
        ]
    if name not in ANTISYMMETRIC_OUTPUTS or is_mirrored:
        return []
    left, right = float((labels < -STRAIGHT).mean()), float((labels > STRAIGHT).mean())
    return [
        f"there are hardly any {side} bends ({share:.1%} of the time): drive some, or the same road the other way round"
        for side, share in (("left", left), ("right", right))
        if share < LEAST_SHARE
    ]


def describe_skill(names: Sequence[str], row: dict[str, float]) -> list[str]:
    """Return how well each output is predicted on the held-out spans, in words; a line each.

    Args:
        names: The outputs.
        row: A round of a run's history, with ``NAME_correlation`` for each.
    """
    lines = []
    for name in names:
        correlation = row.get(f"{name}_correlation", float("nan"))
        if np.isnan(correlation):
            lines.append(f"{name}: not known, because it does not change in the held-out time")
            continue
        words = next(text for limit, text in _SKILL if correlation >= limit)
        lines.append(f"{name}: predicted {words} (correlation {correlation:.2f} on held-out time)")
    return lines


_SKILL = (
    (0.8, "well"),
    (0.5, "fairly; more driving helps"),
    (-2.0, "badly; record more driving in which it changes"),
)
