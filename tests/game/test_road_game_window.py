"""The road game for real: opens a window, is found by its title, hears keys, and is driven by the scripted person."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from road_game.driver import Manner
from road_game.person import Keyboard, person_at

from agent.capture.desktop_base import Window
from agent.games.virtual_desktop import joined
from tests.waiting import Environment, wait_for, windows_titled

pytestmark = pytest.mark.game

ROOT = Path(__file__).parents[2]
TITLE = "A Road of One's Own"
Play = Callable[..., Path]


@pytest.fixture
def play(display: Environment, tmp_path: Path) -> Iterator[Play]:
    """Starts the game with options and returns its log; this process is one of the desktop's programs, too."""
    processes = []

    def start(*options: str) -> Path:
        log = tmp_path / "race.jsonl"
        command = [sys.executable, "-m", "tests.road_game", "--title", TITLE, "--log", str(log), *options]
        process = subprocess.Popen(command, env=display, cwd=ROOT)
        processes.append(process)
        wait_for("the game's window", lambda: process.poll() is None and windows_titled(TITLE))
        wait_for("its keyboard", lambda: log.exists() and rows(log) and rows(log)[-1]["focused"])
        return log

    with joined(display):
        yield start
    for process in processes:
        process.kill()
        process.wait()


def window_of(width_px: int, log: Path) -> Window:
    """Return the game's only window, once it has that width and hears keys."""

    def found() -> list[Window]:
        those = windows_titled(TITLE)
        return those if [window.region.width for window in those] == [width_px] else []

    (window,) = wait_for(f"a window {width_px} px wide", found)
    shown = len(rows(log))  # the lines before may be of the window before
    wait_for("its keyboard", lambda: any(row["focused"] for row in rows(log)[shown + 2 :]))
    return window


def rows(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines(keepends=True)[1:] if line.endswith("\n")]


def test_the_person_drives_a_few_hundred_metres_by_keys(play: Play) -> None:
    log = play("--seed", "1")
    with person_at(log, Manner(swerves_per_minute=0, wait_s=(0.2, 0.5)), seed=0) as person:
        seen = person.drive_races(races=1, seconds=25, recorded=False)
    assert seen[0]["state"] == "menu"
    assert max(row["distance_m"] for row in seen) > 250
    assert sum(row["off_road"] for row in seen) < 0.1 * len(seen)
    assert {"left", "right"} == {("left", "right")[row["steering"] > 0] for row in seen if row["steering"]}
    held = ("steering", "throttle", "brake")
    wait_for("the keys to be let go of", lambda: [rows(log)[-1][name] for name in held] == [0, 0, 0])


def test_the_full_screen_is_another_window_and_the_pause_stops_the_car(play: Play, display: Environment) -> None:
    log = play("--size", "480x270")
    before = window_of(480, log)

    def press(key: str) -> None:
        subprocess.run(["xdotool", "key", key], env=display, check=True)

    press("f")
    full = window_of(1280, log)
    assert full.handle != before.handle
    press("f")
    window_of(480, log)
    with Keyboard() as keyboard:
        keyboard.tap("enter")
        wait_for("the race", lambda: rows(log)[-1]["state"] == "driving")
        keyboard.hold(frozenset({"up"}))
        wait_for("the car to move", lambda: rows(log)[-1]["distance_m"] > 3)
        press("p")
        wait_for("the pause", lambda: rows(log)[-1]["state"] == "paused")
        stood = rows(log)[-1]["distance_m"]
        wait_for("a second", lambda: len([row for row in rows(log) if row["state"] == "paused"]) > 20)
        assert rows(log)[-1]["distance_m"] == stood


def test_the_game_ends_by_itself(display: Environment, tmp_path: Path) -> None:
    log = tmp_path / "race.jsonl"
    command = [sys.executable, "-m", "tests.road_game", "--seconds", "2", "--log", str(log)]
    assert subprocess.run(command, env=display, cwd=ROOT, timeout=60, check=False).returncode == 0
    assert rows(log)[-1]["state"] == "menu"
