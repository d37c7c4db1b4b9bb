"""What the game tests share besides fixtures."""

import time
from collections.abc import Callable
from typing import TypeVar

Environment = dict[str, str]
_T = TypeVar("_T")


def wait_for(what: str, found: Callable[[], _T], seconds: float = 30.0) -> _T:
    """Return what ``found`` does as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.05)
    return result
