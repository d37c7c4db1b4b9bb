"""An unmodified 3D game under Xvfb: its window is found, its frames flow, and its kart is driven by keys."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from agent.capture.desktop import open_desktop
from agent.capture.screen import ScreenSource
from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import BlindError, GameError
from agent.contract.observation import Frame
from agent.controllers.keyboard import Keyboard
from agent.games.registry import find_game
from agent.games.supertuxkart.window import race_in_window
from agent.games.virtual_desktop import joined
from tests.waiting import Environment, wait_for

pytestmark = [pytest.mark.game, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "model_weights" / "supertuxkart"
PROFILE = find_game("supertuxkart").profile
STILL = 2.0  # mean change of a grey level from picture to picture; leaves move, and so does the exhaust
AHEAD = (slice(40, 150), slice(100, 380))  # of the 480 x 270 window: the scene above the kart


@pytest.fixture
def race(display: Environment, tmp_path: Path) -> Iterator[None]:
    """A race that has been started, seen through its window."""
    with joined(display), ExitStack() as stack:
        try:
            stack.enter_context(race_in_window("lighthouse", display, tmp_path, 480, 270))
        except GameError as exc:
            pytest.skip(str(exc))
        wait_for("the game's window", lambda: titles_with("SuperTuxKart"), 120)
        yield


def titles_with(text: str) -> list[str]:
    desktop = open_desktop()
    try:
        return [window.title for window in desktop.windows() if text in window.title]
    finally:
        desktop.close()


def watch(source: ScreenSource, keyboard: Keyboard, controls: Controls, seconds: float) -> tuple[int, float, float]:
    """Hold controls; return new pictures seen, the median change of a grey level and of the scene sideways, in px."""
    changes, shifts = [], []
    last: Frame | None = None
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        keyboard.send(controls)
        try:
            frame = source.read()
        except BlindError:  # a race at rest may show the same picture for a while
            frame = last
        if frame is not None and last is not None and frame.index > last.index:
            before, now = (grey(picture) for picture in (last, frame))
            changes.append(float(np.abs(now - before).mean()))
            (shift, _), _ = cv2.phaseCorrelate(before, now, cv2.createHanningWindow(before.shape[::-1], cv2.CV_32F))
            shifts.append(shift)
        last = frame
        time.sleep(0.05)
    return len(changes), float(np.median(changes or [0.0])), float(np.median(shifts or [0.0]))


def grey(frame: Frame) -> cv2.typing.MatLike:
    return cv2.cvtColor(frame.pixels, cv2.COLOR_BGRA2GRAY)[AHEAD].astype(np.float32)


def test_the_kart_moves_under_throttle_and_turns_under_steering(race: None) -> None:
    assert PROFILE.capture is not None
    with ScreenSource(PROFILE.capture) as source, Keyboard(PROFILE.keys) as keyboard:
        wait_for("the starting grid", lambda: 0 < watch(source, keyboard, NEUTRAL, 2)[1] < STILL, 120)
        _, at_rest, _ = watch(source, keyboard, NEUTRAL, 2)
        wait_for("the race", lambda: watch(source, keyboard, Controls(0.0, 1.0), 1)[1] > STILL, 60)  # after a countdown
        pictures, moving, _ = watch(source, keyboard, Controls(0.0, 1.0), 4)
        _, _, left = watch(source, keyboard, Controls(-1.0, 1.0), 1)
        watch(source, keyboard, Controls(0.0, 1.0), 0.5)
        _, _, right = watch(source, keyboard, Controls(1.0, 1.0), 1)
    sys.stdout.write(
        f"{pictures / 4:.0f} new pictures a second seen (20 looked for); change of a grey level at rest {at_rest:.2f}, "
        f"under throttle {moving:.2f}; the scene moves {left:+.1f} px a picture steering left, {right:+.1f} right\n"
    )
    assert pictures >= 20
    assert moving > 5 * at_rest
    assert left > 1  # steering left, the scene moves right
    assert right < -1


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="needs model_weights/supertuxkart")
def test_one_command_drives_a_race_to_its_end_and_takes_everything_down(tmp_path: Path) -> None:
    before = {process.pid for process in psutil.process_iter()}
    film = tmp_path / "lap.mp4"
    options = ["--track", "lighthouse", "--video", str(film), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "agent", "games", "run", "supertuxkart", "--engine", "openvino-int8", *options],
        capture_output=True,
        text=True,
        timeout=500,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    drive, timing = report["drive"], report["drive"]["timing"]
    sys.stdout.write(
        f"lighthouse in {report['seconds']:.1f} s; {drive['predictions_per_second']:.1f} decisions a second, latency "
        f"p50 {timing['latency_p50_s'] * 1e3:.0f} ms, p99 {timing['latency_p99_s'] * 1e3:.0f} ms, the game drew "
        f"{report['game_pictures_per_second']:.1f} pictures a second\n"
    )
    assert 20 < report["seconds"] < 70
    assert drive["fault"] is None
    assert drive["stuck_given_up"] == 0
    assert film.stat().st_size > 100_000
    left = [process.name() for process in psutil.process_iter(["name"]) if process.pid not in before]
    assert not {"Xvfb", "openbox", "supertuxkart"} & set(left)
