"""The game's own account of a race, and what is said where game or desktop cannot be started."""

import subprocess
import sys
from pathlib import Path

import pytest

from agent.contract.errors import CaptureError, GameError
from agent.games.launching import GameResults
from agent.games.supertuxkart.window import Race, race_in_window
from agent.games.virtual_desktop import virtual_desktop

HIGHSCORES = """<?xml version="1.0"?>
<highscores version="1">
  <highscore track-name="zengarden" number-of-karts="1" difficulty="2" number-of-laps="1" reverse="false">
    <entry time="40.149300" name="Player" kartname="tux"/>
    {more}
  </highscore>
</highscores>
"""


@pytest.fixture
def race(tmp_path: Path) -> Race:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return Race(process, tmp_path)


def put(folder: Path, text: str) -> None:
    path = folder / "config" / "supertuxkart" / "config-0.10" / "highscore.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_a_race_takes_what_the_game_writes_down_in_the_end(race: Race, tmp_path: Path) -> None:
    assert race.seconds is None
    assert race.results == GameResults()
    put(tmp_path, '<?xml version="1.0"?>\n<highscores version="1">\n</highscores>')
    assert race.seconds is None
    put(tmp_path, HIGHSCORES.format(more="")[:150])
    assert race.seconds is None, "it is being written"
    put(tmp_path, HIGHSCORES.format(more=""))
    assert race.seconds == pytest.approx(40.1493)
    assert (race.results.finished, race.results.seconds) == (True, race.seconds)
    put(tmp_path, HIGHSCORES.format(more='<entry time="-1" name="" kartname=""/>'))
    assert race.seconds == pytest.approx(40.1493), "a place that nobody has taken"


def test_a_missing_game_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(GameError, match="apt install supertuxkart"), race_in_window("lighthouse", {}, tmp_path):
        pytest.fail("there is no game")


def test_a_track_that_the_game_does_not_have_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for track, kind in (
        ("zengarden", ""),
        ("lighthouse", 'arena="N"'),
        ("stadium", 'arena="Y"'),
        ("end", 'internal="Y"'),
    ):
        (tmp_path / "data" / "tracks" / track).mkdir(parents=True)
        (tmp_path / "data" / "tracks" / track / "track.xml").write_text(f"<track {kind}/>")
    monkeypatch.setattr("shutil.which", lambda *_, **__: sys.executable)
    monkeypatch.setattr("agent.games.supertuxkart.window.DEBIAN_DATA", tmp_path / "data")
    with (
        pytest.raises(GameError, match="no track 'nosuch', expected one of: lighthouse, zengarden"),
        race_in_window("nosuch", {}, tmp_path),
    ):
        pytest.fail("there is no such race")


@pytest.mark.skipif(sys.platform == "win32", reason="X servers are for Unix")
def test_a_missing_desktop_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(CaptureError, match="apt install xvfb openbox"), virtual_desktop():
        pytest.fail("there is no X server")
