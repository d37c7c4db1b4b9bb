"""What tests of games in a window share, on every desktop."""

import sys
import time
from collections.abc import Callable
from typing import TypeVar

from agent.capture.screen import ScreenSource
from agent.contract.errors import BlindError

Environment = dict[str, str]
_T = TypeVar("_T")

_PATIENCE_S = 200.0 if sys.platform == "win32" else 30.0  # under Wine, a program takes many times as long to start


def agent(*arguments: str) -> list[str]:
    """Return a command of the agent's."""
    return [sys.executable, "-m", "agent", *arguments]


def wait_for(what: str, found: Callable[[], _T], seconds: float = _PATIENCE_S) -> _T:
    """Return what ``found`` does as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.05)
    return result


def finding(source: ScreenSource) -> str:
    """Return why nothing is seen; empty if something is, the picture of a game at rest included."""
    try:
        source.read()
    except BlindError as blind:
        return "" if "not changed" in str(blind) else str(blind)
    return ""
