"""Bins of one output's labels, with edges that are exact in float32.

Every bin is a run of neighbouring float32 numbers and is given by its first number. So it is exact whether an edge
belongs to the bin below or above it, and 0 can be a separate bin without any tolerance.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from agent.contract.spec import OutputSpec

FIXED_WIDTH = Fraction(1, 10)
"""Width of the bins of Balancing_v2 and its successors, for a range that reaches 1."""

# Inner edges of Balancing_v1's bins, as shares of the range, or of each half of a range that crosses 0.
_JOINT_EDGES = (Fraction(2, 10), Fraction(8, 10))
_JOINT_HALF_EDGES = (Fraction(2, 10), Fraction(6, 10))


@dataclass(frozen=True)
class Bins:
    """Disjoint bins that cover an output's closed range, lowest first.

    Attributes:
        names: Such as ``{0}`` or ``(0, 0.1)``.
        starts: float64, shape (bins,): the lowest float32 of each bin, ascending.
    """

    names: tuple[str, ...]
    starts: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.names)

    def assign(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Return each value's bin.

        Args:
            values: float32, shape (n,), inside the range.

        Returns:
            int64, shape (n,), from 0 to ``len(self) - 1``.
        """
        # In float64: the bin above {0} starts at float32's smallest subnormal, which equals 0 to a processor that was
        # told to flush them (TensorFlow does so).
        return np.searchsorted(self.starts, values.astype(np.float64), side="right") - 1


def joint_bins(output: OutputSpec) -> Bins:
    """Return Balancing_v1's bins of one output: 5, or 9 where 0 lies inside the range.

    [0, 1] has ``{0} (0,.2) [.2,.8) [.8,1) {1}`` and [-1, 1] has ``{-1} (-1,-.6) [-.6,-.2) [-.2,0) {0} (0,.2] (.2,.6]
    (.6,1) {1}``: the source's. Other ranges take the same shares: of the whole range, or of the half below 0 and the
    half above it.
    """
    low, high = Fraction(output.low), Fraction(output.high)
    if not low < 0 < high:
        return _build(low, [(low + share * (high - low), True) for share in _JOINT_EDGES], high)
    below = [(low * share, True) for share in reversed(_JOINT_HALF_EDGES)]
    above = [(high * share, False) for share in _JOINT_HALF_EDGES]
    return _build(low, below + above, high)


def fixed_bins(output: OutputSpec) -> Bins:
    """Return bins of width 0.1, with the exact ends and exact 0 as bins of their own.

    12 for [0, 1]: ``{0} (0,.1) [.1,.2) ... [.9,1) {1}``. 23 for [-1, 1]: ten on each side of ``{0}`` and the two ends.
    (The source counts 21 for steering, which has room for two of the three exact values only. Nothing differs where
    full lock never happens, because a bin without samples takes no part.) An edge belongs to the bin farther from 0,
    so that a mirrored label falls into the mirrored bin.

    The width scales with the range: a tenth of the larger of its ends' magnitudes, with edges at multiples of that;
    for a range that does not reach 0, a tenth of its length, with edges counted from its low end.
    """
    low, high = Fraction(output.low), Fraction(output.high)
    reaches_zero = low <= 0 <= high
    origin = Fraction(0) if reaches_zero else low
    width = FIXED_WIDTH * (max(-low, high) if reaches_zero else high - low)
    first, last = math.floor((low - origin) / width) + 1, math.ceil((high - origin) / width) - 1
    return _build(low, [(origin + width * k, k > 0) for k in range(first, last + 1)], high)


def unit(output: OutputSpec) -> float:
    """Return what counts as 1 in an output's range: ten widths of its fixed bins."""
    return max(-output.low, output.high) if output.low <= 0 <= output.high else output.high - output.low


def _build(low: Fraction, edges: Sequence[tuple[Fraction, bool]], high: Fraction) -> Bins:
    """Cut out the exact ends, and 0 where the range crosses it, and split what is left at the edges.

    Args:
        low: Low end.
        edges: Inner edges, ascending, each with whether it belongs to the bin above it.
        high: High end.
    """
    exact = [low, Fraction(0), high] if low < 0 < high else [low, high]
    names: list[str] = []
    starts: list[float] = []
    for value, following in zip(exact, [*exact[1:], None], strict=True):
        names.append(f"{{{_text(value)}}}")
        starts.append(float(_float32(value)))
        if following is None:
            break
        inner = [(edge, upwards) for edge, upwards in edges if value < edge < following]
        bounds = [(value, False), *inner, (following, True)]  # an exact value belongs to neither side
        for (left, from_left), (right, right_is_above) in pairwise(bounds):
            opening, closing = "[" if from_left else "(", ")" if right_is_above else "]"
            names.append(f"{opening}{_text(left)}, {_text(right)}{closing}")
            start = _float32(left)
            starts.append(float(start if from_left else np.nextafter(start, np.float32(np.inf))))
    return Bins(tuple(names), np.array(starts))


def _float32(value: Fraction) -> np.float32:
    return np.float32(float(value))


def _text(value: Fraction) -> str:
    return f"{float(value):g}"
