"""Numbers on a command line: what argparse's own ``int`` and ``float`` let through or explain badly."""

import argparse
import math


def whole(text: str, low: int, high: int | None = None) -> int:
    """Return a whole number from ``low`` to ``high`` (None: no upper end).

    Raises:
        argparse.ArgumentTypeError: If it is none, or outside.
    """
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if value < low or (high is not None and value > high):
        expected = f"from {low} to {high}" if high is not None else f"of {low} or more"
        raise argparse.ArgumentTypeError(f"{text} is out of range, expected a whole number {expected}")
    return value


def at_least_one(text: str) -> int:
    """Return a whole number of at least 1."""
    return whole(text, 1)


def number(text: str, low: float = -math.inf, high: float = math.inf) -> float:
    """Return a finite number from ``low`` to ``high``.

    Raises:
        argparse.ArgumentTypeError: If it is none, or outside.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and low <= value <= high):
        if math.isinf(low) and math.isinf(high):
            expected = "finite number"
        elif math.isinf(high):
            expected = f"number of {low:g} or more"
        else:
            expected = f"number from {low:g} to {high:g}"
        raise argparse.ArgumentTypeError(f"{text!r} is no {expected}")
    return value
