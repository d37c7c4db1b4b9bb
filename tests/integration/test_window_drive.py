"""A whole drive of a game in a window, from the command line on: what only shows once all of it is wired up.

The screen, the person and the gamepad are made up; the guard's process, the loop and everything between are real.
"""

import json
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from agent.cli import main
from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import ControllerError
from agent.contract.profile import KeyMap, PadMap, Region
from agent.controllers import keyboard
from agent.controllers.guard.client import GuardedController
from agent.games.profile_files import load_profile
from agent.sessions import window_drive
from agent.settings.drive import DriveSettings

BY_HAND = Controls(-0.75)
PROFILE = """title = "Made up"
notes = "Of the tests."
rate_hz = 20
controller = "{controller}"
[capture]
monitor = 1
[stuck]
action = "press"
press = "{press}"
after_s = 1.0
for_s = 0.3
attempts = 1
"""


class Screen:
    """A car at rest: noise that stays the same but for a corner that flickers, so that nothing is frozen."""

    def __init__(self) -> None:
        self._pixels = np.random.default_rng(0).integers(0, 256, (90, 160, 4), np.uint8)
        self.monitors = [Region(0, 0, 160, 90)] * 2
        self.pictures_left: int | None = None  # before Ctrl-C is pressed; None: it is not

    def grab(self, *_: Any) -> Any:
        self._pixels[0, 0] += 1
        if self.pictures_left is not None:
            self.pictures_left -= 1
            if self.pictures_left == 0:
                raise KeyboardInterrupt
        return self._pixels.copy()

    def close(self) -> None:
        pass


class LoggingPad:
    """Writes what it is sent into a file, a line each; made in the guard's process, like the gamepad it stands for."""

    def __init__(self, pad: PadMap | KeyMap, further: tuple[str, ...] = ()) -> None:
        self._path = Path(os.environ["HOODCAM_TEST_LOG"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, controls: Controls) -> None:
        self._write(f"{controls.values}")

    def hold(self, name: str) -> None:
        self._write(f"+{name}")

    def release(self, name: str) -> None:
        self._write(f"-{name}")

    def _write(self, line: str) -> None:
        with self._path.open("a") as file:
            file.write(line + "\n")


class Person:
    reach_the_game = False

    def __call__(self) -> Controls | None:
        return BY_HAND


def a_person(*_: object, **__: object) -> AbstractContextManager[Person]:
    return nullcontext(Person())


def nobody(*_: object, **__: object) -> AbstractContextManager[Any]:
    return nullcontext(lambda: None)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "pad.log"
    path.touch()
    monkeypatch.setenv("HOODCAM_TEST_LOG", str(path))
    monkeypatch.setattr("agent.capture.registry.open_grabber", lambda *_: Screen())
    monkeypatch.setattr("agent.controllers.gamepad.Gamepad", LoggingPad)
    monkeypatch.setattr("agent.controllers.keyboard.Keyboard", LoggingPad)
    monkeypatch.setattr("agent.driving.takeover.open_takeover", nobody)
    return path


def write_profile(tmp_path: Path, controller: str = "gamepad", press: str = "y") -> Path:
    path = tmp_path / "made_up.toml"
    path.write_text(PROFILE.format(controller=controller, press=press))
    return path


def drive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seconds: float, rate: float, ending: int = 0
) -> dict[str, Any]:
    arguments = ["--engine", "constant", "--seconds", str(seconds), "--rate", str(rate), "--json"]
    assert main(["drive", "--game", str(write_profile(tmp_path)), *arguments]) == ending
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_person_who_takes_over_drives_and_the_loop_hears_of_them(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.driving.takeover.open_takeover", a_person)
    report = drive(tmp_path, capsys, seconds=2.5, rate=20)
    lines = log.read_text().splitlines()
    assert str(BY_HAND.values) in lines
    assert report["interventions"] >= 1
    assert report["stuck_events"] == 0, "a person at rest is left to it"


def test_a_slow_loop_is_not_let_go_of_between_two_ticks(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = drive(tmp_path, capsys, seconds=3.0, rate=3)  # a period of 333 ms: controls hold for 500
    assert report["predictions"] >= 4
    assert report["controls_expired"] == 0


@contextmanager
def calling(act: Callable[[], None], logger: str, words: str) -> Iterator[None]:
    """Call a function as soon as something is logged."""

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if words in record.getMessage():
                act()

    listener = Listener()
    logging.getLogger(logger).addHandler(listener)
    try:
        yield
    finally:
        logging.getLogger(logger).removeHandler(listener)


def test_a_car_that_is_stuck_is_rescued_by_the_profiles_button_and_given_up_in_the_end(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen()
    monkeypatch.setattr("agent.capture.registry.open_grabber", lambda *_: screen)

    def press_ctrl_c_a_second_later() -> None:
        screen.pictures_left = 20

    # Ended by what happens and not by the clock: on a busy machine, late decisions put off when the car is given up.
    with calling(press_ctrl_c_a_second_later, "agent.driving.stuck", "attempts failed"):
        report = drive(tmp_path, capsys, seconds=200.0, rate=20, ending=130)
    lines = log.read_text().splitlines()
    assert ("+y" in lines, "-y" in lines) == (True, True)
    assert (report["stuck_attempts"], report["stuck_given_up"]) == (1, 1)
    last = lines[-15:]
    assert set(last) == {str(NEUTRAL.values)}, "a car that nothing helps is not driven on"


class Keys:
    """A desktop's keys, as the agent's process has them."""

    def __init__(self) -> None:
        self.released: set[str] = set()

    def __call__(self) -> "Keys":
        return self

    def release(self, name: str) -> None:
        self.released.add(name)


def send_for_ever(controller: GuardedController) -> None:
    for _ in range(100):
        controller.send(Controls(1.0, 1.0, 0.0))
        time.sleep(0.05)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of Unix")
def test_after_a_killed_guard_the_keys_that_drive_are_let_go_of_and_the_rescue_key_with_them(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = Keys()
    monkeypatch.setattr(keyboard, "_PynputKeys", keys)
    profile = load_profile(write_profile(tmp_path, "keyboard", "backspace"))
    controller = window_drive._make_controller(DriveSettings(game=profile.name), profile)
    assert isinstance(controller, GuardedController)
    with controller:
        controller.send(Controls(1.0, 1.0, 0.0))
        assert controller.pid is not None
        os.kill(controller.pid, signal.SIGKILL)
        with pytest.raises(ControllerError, match="has ended"):
            send_for_ever(controller)
    assert keys.released == {*(key for _, key, _ in profile.keys.pressed), "backspace"}
