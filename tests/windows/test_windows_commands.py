"""Commands on Windows: games, doctor, the embedded drive, a profile by dialogue; odd paths, code pages, open files."""

import ctypes
import json
import os
import subprocess
from pathlib import Path

import pytest
from on_windows import report_of

from agent.contract.episodes.reading import Episode
from agent.games.profile_files import load_profile
from tests.waiting import agent

pytestmark = pytest.mark.windows


def test_the_embedded_game_is_driven_and_recorded_where_paths_are_long_and_odd(tmp_path: Path) -> None:
    folder = tmp_path / "Täglich gefahren 走" / ("a long name" * 9) / ("and another" * 9)
    assert len(str(folder)) > 200
    report = report_of(
        *("drive", "--engine", "constant", "--rate", "8", "--seconds", "4"),
        *("--record", str(folder), "--video", str(folder / "the lap.webp"), "--show-input", str(folder / "ä.png")),
    )
    assert report["fault"] is None
    (episode,) = folder.glob("*.parquet")
    assert len(str(episode)) > 260
    assert len(Episode.open(episode)) > 5
    assert (folder / "the lap-0.webp").stat().st_size > 1000
    assert (folder / "ä.png").stat().st_size > 1000
    assert report["laps"][0]["mean_speed"] > 0
    assert report["process_start_to_first_decision_s"] > 0
    assert report["peak_memory_mb"] > 50


def test_the_doctor_presses_a_key_and_says_which_driver_is_missing() -> None:
    done = subprocess.run(agent("doctor", "--json"), capture_output=True, text=True, encoding="utf-8", timeout=300)
    findings = {each["name"]: each for each in json.loads(done.stdout)["findings"]}
    assert findings["versions"]["verdict"] == findings["display"]["verdict"] == findings["keys"]["verdict"] == "OK"
    if done.returncode:  # without ViGEmBus, as under Wine
        assert findings["gamepad"]["verdict"] == "failed"
        assert "expected the ViGEmBus driver" in findings["gamepad"]["text"]
    else:
        assert findings["gamepad"]["verdict"] == "OK"


@pytest.mark.parametrize("code_page", ["cp437", "cp932"])
def test_a_code_page_that_lacks_characters_is_printed_in(
    code_page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    games = tmp_path / "local" / "hoodcam" / "games"
    games.mkdir(parents=True)
    (games / "mine.toml").write_text(
        'title = "Märchen 走る 🏎"\nrate_hz = 20\nnotes = "x"\n[capture]\nmonitor = 1\n', encoding="utf-8"
    )
    monkeypatch.setenv("PYTHONUTF8", "0")
    monkeypatch.setenv("PYTHONIOENCODING", code_page)
    done = subprocess.run(agent("games"), capture_output=True, timeout=300)
    shown = done.stdout.decode(code_page)
    assert done.returncode == 0, done.stderr
    assert "mine" in shown
    assert ("走る" in shown) == (code_page == "cp932")


def test_a_profile_is_written_by_dialogue(tmp_path: Path) -> None:
    answers = ("my-game", "Mein Spiel", "0", "", "20", "keyboard", "n", "a", "d", "w", "s", "", "")
    done = subprocess.run(
        agent("games", "new"),
        input="\n".join((*answers, "")),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    profile = load_profile(tmp_path / "local" / "hoodcam" / "games" / "my-game.toml")
    assert (profile.title, profile.rate_hz, profile.controller) == ("Mein Spiel", 20.0, "keyboard")
    assert (profile.keys.left, profile.keys.right, profile.keys.throttle, profile.keys.brake) == ("a", "d", "w", "s")


@pytest.fixture
def locked(tmp_path: Path) -> Path:
    """A file that another program has open and shares with nobody."""
    path = tmp_path / "input.png"
    path.write_bytes(b"before")
    kernel32 = ctypes.windll.kernel32
    kernel32.CreateFileW.restype = ctypes.c_void_p
    handle = kernel32.CreateFileW(str(path), 0xC0000000, 0, None, 3, 0, None)
    assert handle != ctypes.c_void_p(-1).value
    yield path
    kernel32.CloseHandle(ctypes.c_void_p(handle))


def test_a_file_that_is_open_elsewhere_is_told_in_one_line_and_the_drive_goes_on(locked: Path) -> None:
    done = subprocess.run(
        agent("drive", "--engine", "constant", "--rate", "8", "--seconds", "2", "--show-input", str(locked)),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "input.png" in done.stderr
    assert "track 0: return" in done.stdout


def test_two_drives_at_once_do_not_share_memory(tmp_path: Path) -> None:
    command = agent("drive", "--engine", "constant", "--rate", "8", "--seconds", "2", "--json")
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=os.getcwd()) for _ in range(2)]
    reports = [json.loads(process.communicate(timeout=300)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert all(report["laps"] for report in reports)
