"""Checks of settings: each takes a value, or its text from the command line, and returns the value.

All raise ``ValueError`` with one line: what was found and what was expected.
"""

import math
import operator
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agent.contract.controls import filled_axes
from agent.contract.errors import GameError
from agent.contract.profile import Region

_MAX_SEED = 2**32 - 1
_MAX_RATE_HZ = 1000.0
_FIRST_PORT = 1024
_VIDEO_SUFFIXES = (".mp4", ".webp", ".gif")


def whole(value: Any, low: int, high: int | None = None) -> int:
    """Return a whole number from ``low`` to ``high`` (None: no upper end)."""
    try:
        if isinstance(value, bool):
            raise TypeError
        found = int(value) if isinstance(value, str) else operator.index(value)
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is not a whole number") from None
    if found < low or (high is not None and found > high):
        expected = f"from {low} to {high}" if high is not None else f"of {low} or more"
        raise ValueError(f"{value} is out of range, expected a whole number {expected}")
    return found


def at_least_one(value: Any) -> int:
    """Return a whole number of at least 1."""
    return whole(value, 1)


def processor_threads(value: Any) -> int:
    """Return a number of threads for one network: 1 to 1,024, which is more than machines have."""
    return whole(value, 1, 1024)


def at_least_zero(value: Any) -> int:
    """Return a whole number of at least 0."""
    return whole(value, 0)


def number(value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """Return a finite number from ``low`` to ``high``."""
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not (math.isfinite(found) and low <= found <= high):
        if math.isinf(low) and math.isinf(high):
            expected = "finite number"
        elif math.isinf(high):
            expected = f"number of {low:g} or more"
        else:
            expected = f"number from {low:g} to {high:g}"
        raise ValueError(f"{value!r} is not possible, expected a {expected}")
    return found


def positive(value: Any) -> float:
    """Return a finite number above 0."""
    found = number(value)
    if found <= 0:
        raise ValueError(f"{value} is not above 0")
    return found


def not_negative(value: Any) -> float:
    """Return a finite number of at least 0."""
    found = number(value)
    if found < 0:
        raise ValueError(f"{value} is below 0")
    return found


def control_rate(value: Any) -> float:
    """Return a control rate in Hz, above 0 and at most 1000."""
    found = positive(value)
    if found > _MAX_RATE_HZ:
        raise ValueError(f"{value} Hz is more than the {_MAX_RATE_HZ:g} Hz any loop here can pace")
    return found


def track_seed(value: Any) -> int:
    """Return a track's seed, from 0 to 2^32 - 1."""
    return whole(value, 0, _MAX_SEED)


def port(value: Any) -> int:
    """Return a TCP port, from 1024 to 65535, or 0 for any."""
    found = whole(value, 0, 65535)
    if 0 < found < _FIRST_PORT:
        raise ValueError(f"{value} is a port of the system's own, expected one from {_FIRST_PORT} to 65535")
    return found


def host(value: Any) -> str:
    """Return an address of this machine, in figures or as a name."""
    found = text(value).strip("[]")
    if not found or len(found) > 253 or not all(each.isalnum() or each in ".:-%" for each in found):
        raise ValueError(f"{value!r} is not an address, expected one of this machine, such as 192.168.1.5, or 0.0.0.0")
    return found


def cores(value: Any) -> tuple[int, ...]:
    """Return numbers of processor cores, each once, from ``0,1`` or from several numbers."""
    return tuple(dict.fromkeys(whole(part, 0, 4095) for part in _parts(value)))


def output_names(value: Any) -> tuple[str, ...]:
    """Return names of a network's outputs, from ``steering,throttle`` or from several names."""
    names = tuple(text(part).strip() for part in _parts(value))
    if not filled_axes(names):
        raise ValueError("there are no outputs, expected at least one")
    return names


def region(value: Any) -> Region:
    """Return a part of the screen, from ``left,top,width,height`` in pixels."""
    if isinstance(value, Region):
        return value
    try:
        return Region(*map(int, _parts(value)))
    except (TypeError, ValueError, GameError):
        raise ValueError(f"{value!r} is not a region, expected left,top,width,height in pixels") from None


def text(value: Any) -> str:
    """Return a text."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text")
    return value


def path(value: Any) -> Path:
    """Return a path."""
    if not isinstance(value, str | Path):
        raise ValueError(f"{value!r} is not a path")
    if value == "":  # it would be the working folder
        raise ValueError("an empty text is not a path: a variable of the shell may be unset")
    return Path(value)


def video_path(value: Any) -> Path:
    """Return the path of a film: .mp4, .webp or .gif."""
    return _with_suffix(value, _VIDEO_SUFFIXES)


def png_path(value: Any) -> Path:
    """Return the path of a picture: .png."""
    return _with_suffix(value, (".png",))


def _with_suffix(value: Any, suffixes: tuple[str, ...]) -> Path:
    found = path(value)
    if found.suffix.lower() not in suffixes:
        raise ValueError(f"{str(value)!r} should end in {' or '.join(suffixes)}")
    return found


def _parts(value: Any) -> Iterable[Any]:
    return value.split(",") if isinstance(value, str) else value
