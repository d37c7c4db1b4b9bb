"""TORCS' settings as a player would have changed them, and the game's own account of its laps."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from agent.contract.errors import GameError
from agent.contract.observation import Pixels
from agent.games.launching import GameResults
from agent.games.registry import find_game
from agent.games.torcs.progress import Progress
from agent.games.torcs.window import (
    HEIGHT_PX,
    STEERING_S,
    WIDTH_PX,
    Session,
    _is_menu,
    _write_settings,
    session_in_window,
)

SETTINGS = {
    "config/raceman/practice.xml": """
        <section name="Tracks"><section name="1"><attstr name="name" val="g-track-1"/></section></section>
        <section name="Practice"><attnum name="laps" val="20"/></section>
        <section name="Drivers"><section name="1"><attnum name="idx" val="4"/></section></section>""",
    "drivers/human/preferences.xml": """
        <section name="mouse"><attnum name="steer sensitivity" val="0.8"/></section>
        <section name="Preferences"><section name="Drivers"><section name="1"/></section></section>""",
    "config/screen.xml": """<section name="Screen Properties"><attnum name="x" val="640"/></section>""",
    "config/graph.xml": """<section name="Display Mode"><section name="Player"/></section>""",
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The game's own files, as far as they matter."""
    folder = tmp_path / "data"
    for name, sections in SETTINGS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"<params>{sections}</params>", encoding="utf-8")
    track = folder / "tracks" / "oval" / "e-track-5"
    track.mkdir(parents=True)
    (track / "e-track-5.xml").touch()
    monkeypatch.setattr("agent.games.torcs.window._DATA", folder)
    return folder


def value(folder: Path, name: str, *path: str) -> str | None:
    found = ElementTree.parse(folder / name).getroot()
    for each in path:
        found = next(child for child in found if child.get("name") == each)
    return found.get("val")


def test_settings_are_those_of_the_game_but_for_what_a_player_would_change(data: Path, tmp_path: Path) -> None:
    _write_settings(tmp_path / "own", "e-track-5", "oval", laps=3)
    practice = ("config/raceman/practice.xml", "Practice", "laps")
    assert value(tmp_path / "own", *practice) == "3"
    assert value(data, *practice) == "20", "the game's own file is left alone"
    assert value(tmp_path / "own", "config/raceman/practice.xml", "Tracks", "1", "category") == "oval"
    assert value(tmp_path / "own", "config/raceman/practice.xml", "Drivers", "1", "idx") == "1"
    assert value(tmp_path / "own", "drivers/human/preferences.xml", "mouse", "steer sensitivity") == "0.2"
    assert (
        value(tmp_path / "own", "drivers/human/preferences.xml", "Preferences", "Drivers", "1", "auto reverse") == "yes"
    )
    assert value(tmp_path / "own", "config/screen.xml", "Screen Properties", "x") == "320"
    assert value(tmp_path / "own", "config/graph.xml", "Display Mode", "Player", "camera") == "1"


def test_laps_are_those_that_the_game_writes_down_in_the_end(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    session = Session(process, tmp_path)
    assert session.laps_s == []
    assert session.results == GameResults(figures={"rounds": 0.0})
    assert not session.is_alive
    path = tmp_path / ".torcs" / "results" / "practice" / "results-2026-11-24.xml"
    path.parent.mkdir(parents=True)
    numbers = '<attnum name="time" val="61.5"/><attnum name="top speed" val="20"/>'
    text = f'<params><section name="1">{numbers}</section></params>'
    path.write_text(text[:40], encoding="utf-8")
    assert session.laps_s == [], "it is being written"
    path.write_text(text.replace("</params>", '<attnum name="time" val="0"/></params>'), encoding="utf-8")
    assert session.laps_s == [61.5]
    assert session.results == GameResults(True, 61.5, (61.5,), {"rounds": 0.0})
    assert not Session(process, tmp_path, laps=2).results.finished


def test_the_profile_reckons_with_the_wheel_that_the_settings_make() -> None:
    ramp = find_game("torcs").profile.keys.steering_ramp
    assert ramp is not None
    assert 3 * ramp.full_s == pytest.approx(STEERING_S, abs=0.001), "a third of the lock counts as all of it"
    assert 2 * ramp.half_s == pytest.approx(ramp.full_s, abs=0.001)


def race(degrees: float | None) -> Pixels:
    """A picture with the car's mark on the map, in that direction from its middle, anticlockwise from the right."""
    picture = np.full((HEIGHT_PX, WIDTH_PX, 4), (60, 90, 120, 255), np.uint8)
    picture[170, 100] = (0, 0, 200, 255)  # red that is not on the map
    if degrees is not None:
        angle = np.radians(degrees)
        picture[round(37.5 - 20 * np.sin(angle)), round(294.5 + 17 * np.cos(angle))] = (20, 20, 220, 255)
    return picture


@pytest.mark.parametrize("direction", [1, -1])
def test_the_way_is_read_from_the_map(direction: int) -> None:
    progress = Progress()
    progress.add(race(None), 0.0)
    for step in range(91):  # 2.5 times round, 10 degrees a second, over the seam at 180 degrees
        progress.add(race(-114 + direction * 10 * step), 5.0 + step)
        progress.add(race(None), 5.5 + step)
        banner = race(-114 + direction * 10 * step)
        banner[20:22, 280:300] = (0, 0, 200, 255)  # the start's, behind the map
        progress.add(banner, 5.6 + step)
    assert progress.rounds == pytest.approx(2.5, abs=0.02)
    assert progress.rounds_s == pytest.approx([36.0, 72.0], abs=1.0)
    progress.add(race(-114 + direction * 890), 100.0)
    assert progress.rounds == pytest.approx(2.47, abs=0.02), "it went back"
    progress.add(race(0), 101.0)
    assert progress.rounds == pytest.approx(2.47, abs=0.02), "no car leaps"


def test_menus_are_told_from_races() -> None:
    menu, race = np.zeros((2, 180, 320, 3), np.int16)
    menu[..., 0], menu[60:70, 100:200] = 60, (0, 0, 255)
    race[:90], race[90:] = (200, 160, 120), (40, 60, 45)
    assert _is_menu(menu)
    assert not _is_menu(race)


def test_a_missing_game_and_an_unknown_track_are_told(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: sys.executable)
    with (
        pytest.raises(GameError, match="no track 'nosuch', expected one of: e-track-5"),
        session_in_window("nosuch", {}, tmp_path),
    ):
        pytest.fail("there is no such track")
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(GameError, match="apt install torcs"), session_in_window("e-track-5", {}, tmp_path):
        pytest.fail("there is no game")
