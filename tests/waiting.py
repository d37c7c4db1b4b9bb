"""What tests of games in a window share, on every desktop."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from agent.capture.desktop import open_desktop
from agent.capture.desktop_base import Window
from agent.capture.screen import ScreenSource
from agent.contract.errors import BlindError

Environment = dict[str, str]
_T = TypeVar("_T")

_ROOT = Path(__file__).parents[1]
_PATIENCE_S = 200.0 if sys.platform == "win32" else 30.0  # under Wine, a program takes many times as long to start
_STARTING_S = 120.0  # a game beside another program that starts


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


@contextmanager
def running(command: list[str], environment: Environment, said: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a program until the end of the block, in a session of its own; its errors go to a file."""
    with said.open("w") as file:
        process = subprocess.Popen(
            command, env=environment, cwd=_ROOT, stdout=subprocess.PIPE, stderr=file, text=True, start_new_session=True
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()  # closes the pipe


def windows_titled(title: str) -> list[Window]:
    """Return the desktop's windows that have these words in their titles."""
    with closing(open_desktop()) as desktop:
        return [window for window in desktop.windows() if title in window.title]


@contextmanager
def running_game(command: list[str], environment: Environment, said: Path, title: str) -> Iterator[None]:
    """Run a game until the end of the block; its window is there when the block begins."""
    with running(command, environment, said):
        wait_for("the game's window", lambda: windows_titled(title), _STARTING_S)
        yield


def finding(source: ScreenSource) -> str:
    """Return why nothing is seen; empty if something is, the picture of a game at rest included."""
    try:
        source.read()
    except BlindError as blind:
        return "" if "not changed" in str(blind) else str(blind)
    return ""
