"""Label distribution smoothing: weights from how rare a label is, its neighbourhood included.

Source: Y. Yang, K. Zha, Y. Chen, H. Wang, D. Katabi, "Delving into Deep Imbalanced Regression", ICML 2021 (LDS, with
its square-root inverse weighting; Gaussian kernel of 5 bins, sigma 2 bins, as in its code).
"""

import math

import numpy as np
import numpy.typing as npt

from agent.contract.spec import OutputSpec
from training.data.balancing.bins import unit

BINS_PER_UNIT = 50
"""Density bins in one unit of an output's range: 0.02 for steering, throttle and brake, so that the kernel reaches as
far as half a bin of the other rules: the peak at exact 0 does not make all small labels look common."""
KERNEL_BINS = 5
SIGMA_BINS = 2.0
MAX_WEIGHT = 10.0
"""No sample counts more than ten average ones; a batch of 16 with a single rare label stays a batch."""


def density_weights(values: npt.NDArray[np.float32], output: OutputSpec) -> npt.NDArray[np.float32]:
    """Return weights inverse to the square root of the smoothed density at each label.

    Args:
        values: float32, shape (n,), inside the output's range.
        output: Its range.

    Returns:
        float32, shape (n,), above 0, at most ``MAX_WEIGHT``, mean 1.
    """
    width = unit(output) / BINS_PER_UNIT
    bins = math.ceil((output.high - output.low) / width)
    cells = np.floor((values.astype(np.float64) - output.low) / width).astype(np.int64)
    cells = np.clip(cells, 0, bins - 1)  # the exact high end, and ends that float32 rounds outwards
    counts = np.bincount(cells, minlength=bins)
    offsets = np.arange(KERNEL_BINS) - KERNEL_BINS // 2
    kernel = np.exp(-(offsets**2) / (2 * SIGMA_BINS**2))
    # Beyond the range there is nothing, as in the paper's code: a peak at an exact end, which driving has more often
    # than a slope that ends there, then counts as much as the same peak in the middle.
    density = np.convolve(counts, kernel, "same")
    rarity = 1 / np.sqrt(density[cells])
    weights = np.minimum(rarity / rarity.mean(), MAX_WEIGHT)
    while weights.mean() < 1 - 1e-6:  # what clipping took, the others get
        weights = np.minimum(weights / weights.mean(), MAX_WEIGHT)
    return np.asarray(weights, np.float32)
