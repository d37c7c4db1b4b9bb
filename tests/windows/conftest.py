"""Tests on Windows: on a real one, or where there is none, all of them inside Wine's; see docs/windows.md."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from on_windows import TITLE, Play

from tests.waiting import agent, wait_for


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run what is marked `windows` on Windows, and what is marked `wine` elsewhere."""
    other = "wine" if sys.platform == "win32" else "windows"
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker(other)])
    items[:] = [item for item in items if not item.get_closest_marker(other)]


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Play]:
    """Starts the game in its window, in its own small size, and ends it."""
    from agent.capture.desktop import open_desktop

    processes = []

    def start(*options: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            agent("play", "--seed", "500000", "--scale", "0.4", *options), text=True, stdout=subprocess.DEVNULL
        )
        processes.append(process)
        desktop = open_desktop()
        wait_for(
            "the game's window",
            lambda: any(TITLE in window.title and "waiting" in window.title for window in desktop.windows()),
        )
        assert process.poll() is None
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's profiles and remembered engines out of it, and these tests' out of theirs."""
    folder = tmp_path / "local"
    folder.mkdir()
    monkeypatch.setenv("WIN_PD_OVERRIDE_LOCAL_APPDATA", str(folder))
    monkeypatch.setenv("PYTHONUTF8", "1")
