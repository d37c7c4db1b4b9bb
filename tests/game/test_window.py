"""The whole way, for real: a game in its own process and window, driven by what is on the screen through a gamepad."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from agent.capture.screen import ScreenSource
from agent.contract.episodes.reading import Episode
from agent.contract.errors import BlindError, CaptureError
from agent.contract.profile import Capture
from agent.games.carracing import CarRacing
from agent.games.virtual_desktop import joined, virtual_desktop
from tests.waiting import Environment, agent, finding, wait_for, windows_titled

pytestmark = pytest.mark.game

TITLE = "Hoodcam CarRacing"
SEED = 500000
EV_ABS, ABS_X, ABS_Z, ABS_RZ = 3, 0, 2, 5  # linux/input-event-codes.h
Play = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def on_display(display: Environment) -> Iterator[Environment]:
    """Makes this process one of the desktop's programs."""
    with joined(display):
        yield display


@pytest.fixture
def play(on_display: Environment) -> Iterator[Play]:
    """Starts the game in its window, and ends it."""
    processes = []

    def start(*options: str, environment: Environment = on_display) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            agent("play", "--seed", str(SEED), *options), env=environment, text=True, stdout=subprocess.DEVNULL
        )
        processes.append(process)
        wait_for(
            "the game's window",
            lambda: process.poll() is None and "waiting" in "".join(w.title for w in windows_titled(TITLE)),
        )
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def xdotool(environment: Environment, *arguments: str) -> None:
    subprocess.run(["xdotool", *arguments], env=environment, check=True, capture_output=True)


def test_the_window_shows_what_the_embedded_game_would_and_is_followed(play: Play, display: Environment) -> None:
    play()
    simulator = CarRacing()
    simulator.reset(SEED)
    start = simulator.render()[..., :3]
    with ScreenSource(Capture(window=TITLE)) as source:
        before = source.region()
        assert np.array_equal(source.read().pixels[..., :3], start)

        (window,) = windows_titled(TITLE)
        xdotool(display, "windowmove", str(window.handle), "40", "60")
        wait_for("the window to move", lambda: source.region() != before)
        assert np.array_equal(source.read().pixels[..., :3], start)

        xdotool(display, "windowminimize", str(window.handle))
        wait_for("the window to vanish", lambda: finding(source).endswith("is minimised"))
        xdotool(display, "windowactivate", str(window.handle))
        wait_for("the window to come back", lambda: not finding(source))

        xdotool(display, "windowmove", str(window.handle), "900", "60")
        wait_for("the window to stick out", lambda: "partly outside" in finding(source))


def test_a_closed_window_is_told(play: Play) -> None:
    process = play()
    with ScreenSource(Capture(window=TITLE)) as source:
        source.read()
        process.terminate()
        process.wait()
        with pytest.raises(BlindError, match="was closed; waiting for the game to show another"):
            wait_for("the end", lambda: source.read() is None)


def drive(environment: Environment, *options: str) -> dict[str, Any]:
    command = agent("drive", "--game", "carracing-window", "--json", *options)
    done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_the_network_drives_what_it_sees_through_a_gamepad(
    play: Play, emulated_pad: Environment, tmp_path: Path
) -> None:
    report_path = tmp_path / "lap.jsonl"
    play("--laps", "1", "--report", str(report_path), environment=emulated_pad)
    # Until a little before the game's 20 s are up: the window is gone soon after the lap. Nobody takes over: umockdev
    # tells nobody of a new device any more once one program has stopped looking for them.
    report = drive(emulated_pad, "--seconds", "18", "--rate", "15", "--no-takeover")
    lap = json.loads(wait_for("the lap's end", lambda: report_path.exists() and report_path.read_text()))
    timing = report["timing"]
    sys.stdout.write(json.dumps({"lap": lap, "timing": timing, "captured": report["captured"]}) + "\n")
    assert lap["progress"] > 0.05  # how far depends on what else this machine does: 10 % where it was busy, 66 % alone
    assert lap["episode_return"] > 0  # the road was left no sooner than tiles were found
    # A busy machine lets the game draw nothing for a while, and what stands still is not driven by: 22 of 232 at worst.
    assert report["blind_ticks"] < timing["ticks"] / 2
    assert 0 < timing["latency_p50_s"] < timing["latency_p99_s"] < 1

    plugged_in, *changes = (json.loads(line) for line in Path(emulated_pad["PAD_LOG"]).read_text().splitlines())
    assert plugged_in["name"] == "Microsoft X-Box 360 pad"
    moves = [change for change in changes if change.get("type") == EV_ABS]
    assert len({move["value"] for move in moves if move["code"] == ABS_X}) > 20
    last = {move["code"]: move["value"] for move in moves}
    assert {ABS_X, ABS_Z, ABS_RZ} <= last.keys()
    assert all(abs(value) <= 1 for value in last.values()), "the pad was not left neutral"


def test_a_car_is_driven_by_keys(play: Play, on_display: Environment, tmp_path: Path) -> None:
    report_path = tmp_path / "lap.jsonl"
    play("--laps", "1", "--report", str(report_path))
    drive(on_display, "--controller", "keyboard", "--engine", "constant", "--rate", "20", "--seconds", "8")
    lap = json.loads(wait_for("the lap's end", lambda: report_path.exists() and report_path.read_text()))
    assert lap["speed"] > 1  # it rolls on: a tenth of the throttle, and no brake at the end
    assert lap["progress"] > 0.005


def doctor(environment: Environment, *options: str) -> tuple[int, dict[str, dict[str, str]]]:
    done = subprocess.run(
        agent("doctor", "--json", *options), env=environment, text=True, capture_output=True, timeout=60
    )
    return done.returncode, {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_the_doctor_finds_the_window_and_shows_it(play: Play, on_display: Environment, tmp_path: Path) -> None:
    play()
    picture = tmp_path / "seen.png"
    code, findings = doctor(on_display, "--game", "carracing-window", "--no-pad", "--picture", str(picture))
    assert code == 0, findings
    assert findings["window"]["verdict"] == "OK"
    assert "1000,800" in findings["window"]["text"]
    assert findings["picture"]["verdict"] == "warning"  # the car has not been started
    assert cv2.imread(str(picture)).shape == (800, 1000, 3)

    code, findings = doctor(on_display, "--game", "carracing-window", "--no-pad", "--window", "Doom")
    assert code == 1
    assert "no window has 'Doom' in its title" in findings["window"]["text"]
    assert TITLE in findings["window"]["text"]


def test_the_doctor_reads_the_pad_back(emulated_pad: Environment) -> None:
    code, findings = doctor(emulated_pad)
    assert findings["gamepad"]["verdict"] == "OK", findings
    assert "read back within" in findings["gamepad"]["text"]
    assert code == 0


def test_a_person_at_the_keys_is_recorded(play: Play, on_display: Environment, tmp_path: Path) -> None:
    play()
    command = agent(
        "record",
        "--game",
        "carracing-window",
        "--input",
        "keyboard",
        "--seconds",
        "10",
        "--json",
        "--out",
        str(tmp_path),
    )
    recorder = subprocess.Popen(command, env=on_display, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert recorder.stderr is not None
    wait_for("the recorder", lambda: "F9" in recorder.stderr.readline())
    # Each is held for longer than a slow disk makes the recorder drop frames.
    for key, seconds in (("keydown Up", 1), ("keydown Left", 2), ("keyup Left", 0.5), ("key F12", 0.5)):
        xdotool(on_display, *key.split())
        time.sleep(seconds)
    for key, seconds in (("keydown Right", 2), ("keyup Right", 0.5), ("keyup Up", 0)):
        xdotool(on_display, *key.split())
        time.sleep(seconds)
    output, _ = recorder.communicate(timeout=30)
    assert recorder.returncode == 0
    report = json.loads(output)
    sys.stdout.write(output)
    (episode,) = (Episode.open(Path(path)) for path in report["files"])
    assert len(episode) == report["frames"]
    assert report["frames"] + report["repeated"] + report["blind"] + report["dropped"] == report["timing"]["ticks"]
    steering, throttle = episode.controls[:, 0], episode.controls[:, 1]
    assert steering.min() == -1.0
    assert steering.max() == 1.0
    assert np.argmin(steering) < np.argmax(steering)  # left came first
    assert set(throttle.tolist()) >= {0.0, 1.0}
    assert report["marks"] == episode.telemetry["mark"].sum() == 1
    assert episode.frame(0).pixels.shape == (800, 1000, 3)


def test_a_desktop_that_goes_away_ends_a_recording_with_one_line(tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    with ExitStack() as ended:
        try:
            environment = ended.enter_context(virtual_desktop(640, 480))
        except CaptureError as exc:
            pytest.skip(str(exc))
        new = [child for child in psutil.Process().children(recursive=True) if child not in before]
        (server,) = (child for child in new if child.name() == "Xvfb")  # below its supervisor
        game = subprocess.Popen(agent("play"), env=environment, stderr=subprocess.DEVNULL)
        ended.callback(game.kill)
        with joined(environment):
            wait_for("the game's window", lambda: windows_titled(TITLE))
        command = agent("record", "--game", "carracing-window", "--input", "keyboard", "--out", str(tmp_path))
        recording = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        ended.callback(recording.kill)
        assert recording.stderr is not None
        said = recording.stderr.readline()
        assert said.startswith("looking at the window 'Hoodcam CarRacing"), said
        said += recording.stderr.readline()
        assert said.splitlines()[-1].startswith("F9"), said
        time.sleep(1)  # into the recording
        server.kill()
        said += recording.communicate(timeout=60)[1]
    assert recording.returncode == 1, said
    assert "Traceback" not in said
    assert re.search(r"^error: the X server of the display .* is gone", said.splitlines()[-1]), said
