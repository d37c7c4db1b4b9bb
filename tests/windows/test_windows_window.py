"""The whole way on Windows: a game in its window, found through user32, captured through GDI, driven by keys."""

import ctypes
import json
import subprocess
import sys
import time
from ctypes import wintypes
from pathlib import Path

import numpy as np
import pytest
from on_windows import TITLE, Play, report_of

from agent.capture.desktop import find_window, open_desktop
from agent.capture.registry import open_grabber
from agent.capture.screen import ScreenSource
from agent.contract.episodes.reading import Episode
from agent.contract.errors import BlindError
from agent.contract.profile import Capture
from tests.waiting import agent, finding, wait_for

pytestmark = pytest.mark.windows

LEFT, UP, RIGHT, F12 = 0x25, 0x26, 0x27, 0x7B  # winuser.h: virtual keys
SW_MINIMIZE, SW_RESTORE = 6, 9


def key(code: int, up: bool = False) -> None:
    """Press or release a key as a person does: through the system, not the window."""
    ctypes.windll.user32.keybd_event(code, 0, 2 * up, 0)


def test_the_window_is_captured_exactly_and_followed(play: Play, tmp_path: Path) -> None:
    process = play()
    user32, desktop = ctypes.windll.user32, open_desktop()
    window = find_window(desktop, TITLE)
    handle = wintypes.HWND(window.handle)
    with ScreenSource(Capture(window=TITLE)) as source:
        before = source.region()
        assert (before.width, before.height) == (400, 320)
        grabber = open_grabber("mss")
        at_rest = grabber.grab(before)
        assert at_rest[..., :3].std() > 10
        assert np.array_equal(source.read().pixels[..., :3], at_rest[..., :3])

        user32.SetWindowPos(handle, 0, 400, 300, 0, 0, 0x15)  # no size, no order, not activated
        wait_for("the window to move", lambda: source.region() != before)
        wait_for("the same picture", lambda: np.array_equal(grabber.grab(source.region()), at_rest))

        user32.ShowWindow(handle, SW_MINIMIZE)
        wait_for("the window to vanish", lambda: finding(source).endswith("is minimised"))
        user32.ShowWindow(handle, SW_RESTORE)
        wait_for("the window to come back", lambda: not finding(source))

        user32.SetWindowPos(handle, 0, 1100, 300, 0, 0, 0x15)
        wait_for("the window to stick out", lambda: "partly outside" in finding(source))

        process.terminate()
        process.wait()
        with pytest.raises(BlindError, match="was closed; waiting for the game to show another"):
            wait_for("the end", lambda: source.read() is None)


def test_a_car_is_driven_by_keys(play: Play, tmp_path: Path) -> None:
    laps = tmp_path / "lap.jsonl"
    play("--laps", "1", "--report", str(laps))
    report = report_of(
        *("drive", "--game", "carracing-window", "--controller", "keyboard", "--engine", "constant"),
        *("--rate", "10", "--seconds", "8"),
    )
    lap = json.loads(wait_for("the lap's end", lambda: laps.exists() and laps.read_text()))
    assert report["fault"] is None
    assert lap["speed"] > 1  # it rolls on: a tenth of the throttle, and no brake at the end
    assert lap["progress"] > 0.005


@pytest.mark.slow  # the network needs a core of its own
def test_the_network_drives_what_it_sees_by_keys(play: Play, tmp_path: Path) -> None:
    laps = tmp_path / "lap.jsonl"
    play("--laps", "1", "--report", str(laps))
    # At the rate that this machine can hold.
    report = report_of("drive", "--game", "carracing-window", "--controller", "keyboard", "--seconds", "14")
    lap = json.loads(wait_for("the lap's end", lambda: laps.exists() and laps.read_text()))
    timing = report["timing"]
    sys.stdout.write(json.dumps({"lap": lap, "timing": timing, "captured": report["captured"]}) + "\n")
    assert report["fault"] is None
    assert lap["progress"] > 0.005  # how far depends on what else this machine does
    assert timing["latency_p50_s"] < timing["period_s"]
    assert report["captured"]["grabbed"] > 0.5 * timing["ticks"]


def test_a_person_at_the_keys_is_recorded(play: Play, tmp_path: Path) -> None:
    play()
    recorder = subprocess.Popen(
        agent(
            *("record", "--game", "carracing-window", "--input", "keyboard", "--seconds", "10", "--json"),
            *("--out", str(tmp_path / "episodes")),
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert recorder.stderr is not None
    wait_for("the recorder", lambda: "F9" in recorder.stderr.readline())
    for code, up, seconds in ((UP, False, 1), (LEFT, False, 2), (LEFT, True, 0.5), (F12, False, 0.3), (F12, True, 0.2)):
        key(code, up)
        time.sleep(seconds)
    for code, up, seconds in ((RIGHT, False, 2), (RIGHT, True, 0.5), (UP, True, 0.0)):
        key(code, up)
        time.sleep(seconds)
    output, errors = recorder.communicate(timeout=300)
    assert recorder.returncode == 0, errors
    report = json.loads(output)
    (episode,) = (Episode.open(Path(path)) for path in report["files"])
    steering, throttle = episode.controls[:, 0], episode.controls[:, 1]
    assert (steering.min(), steering.max()) == (-1.0, 1.0)
    assert np.argmin(steering) < np.argmax(steering)  # left came first
    assert set(throttle.tolist()) >= {0.0, 1.0}
    assert report["marks"] == episode.telemetry["mark"].sum() == 1
    assert episode.frame(0).pixels.shape == (320, 400, 3)


def test_the_doctor_finds_the_window_and_shows_it(play: Play, tmp_path: Path) -> None:
    play()
    report = report_of("doctor", "--game", "carracing-window", "--no-pad", "--picture", str(tmp_path / "seen.png"))
    findings = {each["name"]: each["verdict"] for each in report["findings"]}
    assert findings["window"] == findings["keys"] == "OK"
    assert (tmp_path / "seen.png").stat().st_size > 1000
