"""What a new user types first: is this machine fit, which games are there, and here is mine."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.cli import main
from agent.commands.games import _ask_region, _first_monitor, _write
from agent.contract.errors import CaptureError, GameError
from agent.contract.profile import Rectangle, Region, SteeringRamp
from agent.controllers import gamepad
from agent.games import profile_files
from agent.games.profile_files import load_profile


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No display, no driver for the pad, and no profiles of the person who runs the tests."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "XDG_SESSION_TYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(gamepad, "UINPUT", tmp_path / "uinput")
    monkeypatch.setattr(profile_files, "user_folder", lambda: tmp_path / "own")


def doctor(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    code = main(["doctor", "--json", *options])
    findings = json.loads(capsys.readouterr().out)["findings"]
    return code, {finding["name"]: finding for finding in findings}


def test_a_bare_machine_is_told_what_it_lacks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_driver() -> None:
        raise OSError("[Errno 2] No such file or directory: '/dev/uinput'")

    monkeypatch.setattr("vgamepad.VX360Gamepad", no_driver)
    code, findings = doctor(capsys)
    assert code == 1
    assert findings["versions"]["verdict"] == "OK"
    assert findings["display"]["verdict"] == "failed"
    assert "expected a desktop" in findings["display"]["text"]
    assert findings["gamepad"]["verdict"] == "failed"
    assert "sudo modprobe uinput" in findings["gamepad"]["text"]
    assert "network" not in findings


def test_a_pad_that_may_not_be_plugged_in_is_told_how_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "uinput").touch()
    monkeypatch.setattr(gamepad.os, "access", lambda path, mode: False)
    assert "udevadm control --reload" in gamepad._missing_driver(PermissionError("denied"))
    monkeypatch.setattr(gamepad.sys, "platform", "win32")
    assert "ViGEmBus" in gamepad._missing_driver(Exception("VIGEM_ERROR_BUS_NOT_FOUND"))


def test_a_game_without_display_and_weights(capsys: pytest.CaptureFixture[str]) -> None:
    code, findings = doctor(capsys, "--game", "gta5", "--no-pad")
    assert code == 1
    assert findings["window"]["text"].startswith("there is no display (DISPLAY is not set), expected")
    assert findings["network"]["verdict"] == "warning"
    assert "there are no weights for gta5 yet" in findings["network"]["text"]
    assert "gamepad" not in findings


@pytest.mark.parametrize("session", ["WAYLAND_DISPLAY"])
def test_wayland_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, session: str) -> None:
    monkeypatch.setenv(session, "wayland-0")
    _, findings = doctor(capsys, "--game", "gta5", "--no-pad")
    assert "Wayland session without X" in findings["window"]["text"]


def test_weights_that_were_asked_for_must_be_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, findings = doctor(capsys, "--game", "carracing", "--no-pad", "--weights", str(tmp_path / "none"))
    assert code == 1
    assert findings["network"]["verdict"] == "failed"


def test_driving_without_a_display_is_refused_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drive", "--game", "carracing-window"]) == 1
    assert capsys.readouterr().err.startswith("error: there is no display (DISPLAY is not set)")


def test_playing_without_a_display_is_refused() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "SDL_VIDEODRIVER"}
    command = [sys.executable, "-m", "agent", "play"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "error: no window can be opened" in done.stderr


def test_games_are_listed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "broken.toml").write_text("title = 3")
    assert main(["games"]) == 1
    printed = capsys.readouterr()
    for name in ("carracing", "carracing-window", "supertuxkart", "torcs", "gta5"):
        assert name in printed.out
    assert "broken.toml: title is 3" in printed.err


def answer(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(answers) + "\n"))


def test_a_profile_is_written_by_asking(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer(
        monkeypatch,
        "My Game",
        "my-game",
        'The "Game"',
        "Game - Level",
        "1,2",
        "0,30,1280,690",
        "30",
        "keyboard",
        "y",
        "0.4",
        "",
    )
    assert main(["games", "new"]) == 0
    profile = load_profile(tmp_path / "own" / "my-game.toml")
    assert (profile.title, profile.rate_hz, profile.controller) == ('The "Game"', 30.0, "keyboard")
    assert profile.capture is not None
    assert (profile.capture.window, str(profile.capture.region)) == ("Game - Level", "0,30,1280,690")
    assert profile.mirrored == (Rectangle(0.0, 0.0, 1.0, 1.0),)
    assert profile.keys.steering_ramp == SteeringRamp(0.2, 0.4, 0.28)
    assert "python -m agent doctor --game my-game" in capsys.readouterr().out


def test_titles_are_shown_as_they_are(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    text = 'title = "[red]A[/b]"\nrate_hz = 20\nnotes = "none"\n[capture]\nwindow = "[/c]"\n'
    (tmp_path / "own" / "marked.toml").write_text(text)
    assert main(["games"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("marked"))
    assert "[red]A[/b]" in line
    assert "window '[/c]'" in line


def test_a_terminal_of_one_column_still_gets_the_names(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1")
    assert main(["games"]) == 0
    assert "torcs" in capsys.readouterr().out.split("`python")[0]


def test_a_title_beyond_the_basic_plane_is_written_as_toml(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer(monkeypatch, "racer", "Racer \N{RACING CAR}", "", "", "20", "keyboard", "y", "", "")
    assert main(["games", "new"]) == 0
    assert load_profile(tmp_path / "own" / "racer.toml").title == "Racer \N{RACING CAR}"


def test_a_name_that_is_a_path_is_asked_for_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    paths = ("../outside", str(tmp_path / "outside"), "a/b", r"a\b", "..", "C:outside", "a\x00b", "")
    answer(monkeypatch, *paths, "inside", "", "", "", "20", "keyboard", "y", "", "")
    assert main(["games", "new"]) == 0
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["own", "own/inside.toml"]


def test_a_profile_without_a_pad_to_sweep_has_no_dead_zone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_driver() -> None:
        raise OSError("no uinput")

    monkeypatch.setattr("vgamepad.VX360Gamepad", no_driver)
    answer(monkeypatch, "other", "", "", "", "20", "gamepad", "y", "n")
    assert main(["games", "new"]) == 0
    profile = load_profile(tmp_path / "own" / "other.toml")
    assert profile.pad.steering_dead_zone == 0.0
    assert profile.mirrored == ()
    assert profile.capture is not None
    assert profile.capture.window is None


def test_what_no_profile_may_say_is_asked_for_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers = ("racer", "", "Racer\u3000\u200bEX", "", "0", "1e9", "20", "keyboard", "n")
    answer(monkeypatch, *answers, "a", "a", "w", "s", "a", "d", "w", "s", "-1", "0", "")
    assert main(["games", "new"]) == 0
    profile = load_profile(tmp_path / "own" / "racer.toml")
    assert profile.capture is not None
    assert (profile.capture.window, profile.rate_hz) == ("Racer EX", 20.0)
    assert [key for _, key, _ in profile.keys.pressed] == ["a", "d", "w", "s"]
    assert profile.keys.steering_ramp is None
    assert profile.stuck is not None
    assert profile.stuck.action == "reverse"
    assert "the key 'a' drives two things" in capsys.readouterr().err


class Screen:
    """A grabber of one monitor of 1280 x 1024."""

    monitors = (Region(0, 0, 1280, 1024), Region(0, 0, 1280, 1024))

    def close(self) -> None:
        pass


@pytest.mark.parametrize("faulty", ["5000,5000,100,100", "0,0,1281,1024", "1200,0,100,100", "-5,0,100,100", "a"])
def test_a_part_beyond_the_screen_is_asked_for_again(
    faulty: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.capture.registry.open_grabber", lambda name: Screen())
    answer(monkeypatch, faulty, "0,0,1280,1024")
    assert _ask_region(_first_monitor()) == Region(0, 0, 1280, 1024)
    assert capsys.readouterr().err.count("\n") == 1


def test_where_no_screen_can_be_read_any_part_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_screen(name: str) -> Screen:
        raise CaptureError("no display")

    monkeypatch.setattr("agent.capture.registry.open_grabber", no_screen)
    answer(monkeypatch, "5000,5000,100,100")
    assert _ask_region(_first_monitor()) == Region(5000, 5000, 100, 100)


def test_a_profile_that_does_not_load_replaces_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "own" / "racer.toml"
    path.parent.mkdir()
    path.write_text("good")
    with pytest.raises(GameError, match="rate_hz"):
        _write(path, 'title = "x"\nrate_hz = 0\nnotes = "none"\n')
    assert path.read_text() == "good"
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupted_interview_writes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer(monkeypatch, "third")
    assert main(["games", "new"]) == 130
    assert not (tmp_path / "own").exists()
