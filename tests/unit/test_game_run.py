"""A game that is started and driven: what is asked of it, what is reported, and that nothing is left behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from agent.capture.screen import CaptureCounts
from agent.cli import main
from agent.contract.errors import BlindError, GameError, SpecError
from agent.contract.observation import Frame, Pixels
from agent.contract.profile import Capture
from agent.games import registry
from agent.games.launching import GameResults, LaunchOptions
from agent.games.registry import find_game
from agent.sessions import game_run
from agent.sessions.beside import DriveBeside
from agent.sessions.game_run import run_game
from agent.settings.base import SettingsError
from agent.settings.drive import DriveSettings
from agent.settings.game_run import GameRunSettings

ROOT = Path(__file__).parents[2]
DRIVEN = {
    "predictions": 90,
    "predictions_per_second": 29.9,
    "timing": {"missed_deadlines": 1, "latency_p50_s": 0.009, "latency_p99_s": 0.02},
    "stuck_events": 2,
    "stuck_attempts": 1,
    "problems": [],
    "fault": None,
    "files": ["lap.mp4"],
}


@dataclass
class FakeGame:
    """Finishes after so many looks at it, or ends by itself."""

    finished_after: int = 3
    ends_after: int = 10**9
    looks: int = 0

    @property
    def is_alive(self) -> bool:
        return self.looks < self.ends_after

    @property
    def results(self) -> GameResults:
        self.looks += 1
        if self.looks < self.finished_after:
            return GameResults(figures={"rounds": 0.5})
        return GameResults(True, 38.2, (38.2,), {"rounds": 1.0})

    seen: list[int] = field(default_factory=list)

    def see(self, picture: Pixels, time_s: float) -> None:
        self.seen.append(int(picture[0, 0, 0]))


@dataclass
class FakeLauncher:
    """Notes what is asked of it."""

    game: FakeGame = field(default_factory=FakeGame)
    log: list[Any] = field(default_factory=list)
    packages = ("fake-game",)
    usual = LaunchOptions("oval", 1, 320, 180)
    rate_hz: float | None = 30.0

    @contextmanager
    def start(self, options: LaunchOptions, environment: Mapping[str, str], folder: Path) -> Iterator[FakeGame]:
        assert folder.is_dir()
        assert not list(folder.iterdir())
        self.log += [("start", options), environment.get("DISPLAY")]
        try:
            yield self.game
        finally:
            self.log.append("game ended")


class BlackSource:
    """A window whose pictures alternate between black and new ones."""

    def __init__(self, capture: Capture, frozen_s: float) -> None:
        self.counts = CaptureCounts()

    def __enter__(self) -> "BlackSource":
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def read(self) -> Frame:
        self.counts.grabbed += 1
        if self.counts.grabbed % 2:
            self.counts.repeated += 1
            raise BlindError("black")
        return Frame(np.full((4, 4, 3), self.counts.grabbed, np.uint8), 1, self.counts.grabbed)


class FakeDrive:
    """Stands for the process that drives."""

    def __init__(self, launcher: FakeLauncher, driven: dict[str, Any], seconds_left: float = 1e9) -> None:
        self.launcher, self.driven, self.looks_left = launcher, driven, seconds_left

    def __call__(self, settings: DriveSettings, note: object) -> "FakeDrive":
        self.settings = settings
        return self

    def __enter__(self) -> "FakeDrive":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self.launcher.log.append("drive closed")

    def wait_until_ready(self) -> None:
        self.launcher.log.append("network loaded")

    def begin(self) -> None:
        self.launcher.log.append("begin")

    def is_running(self, wait_s: float) -> bool:
        self.looks_left -= 1
        return self.looks_left >= 0

    def end(self) -> dict[str, Any]:
        self.launcher.log.append("end")
        return self.driven


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> FakeLauncher:
    """A launcher in the place of SuperTuxKart's, and no desktop and no drive."""
    fake = FakeLauncher()
    monkeypatch.setitem(registry._LAUNCHERS, "supertuxkart", lambda: fake)
    monkeypatch.setattr(game_run, "virtual_desktop", lambda *size: nullcontext({"DISPLAY": f":{size}"}))
    monkeypatch.setattr(game_run, "joined", lambda environment: nullcontext())
    monkeypatch.setattr(game_run, "_wait_for_window", lambda *_: None)
    monkeypatch.setattr(game_run, "ScreenSource", BlackSource)
    monkeypatch.setattr(game_run, "DriveBeside", FakeDrive(fake, DRIVEN))
    return fake


def test_a_game_is_started_once_the_network_is_loaded_and_ended_after_the_drive(launcher: FakeLauncher) -> None:
    run = run_game(GameRunSettings(game="supertuxkart"))
    assert launcher.log == [
        "network loaded",
        ("start", LaunchOptions("oval", 1, 320, 180)),
        ":(640, 400)",
        "begin",
        "end",
        "drive closed",
        "game ended",
        "drive closed",
    ]
    assert (run.results.seconds, run.game_alive, run.drive) == (38.2, True, DRIVEN)
    report = run.to_dict()
    assert json.loads(json.dumps(report)) == report | {"laps_s": [38.2]}
    assert {"track", "laps", "finished", "seconds", "figures", "game_pictures_per_second", "drive"} <= set(report)


def test_what_is_asked_for_reaches_the_game_and_the_drive(launcher: FakeLauncher) -> None:
    drive = game_run.DriveBeside
    settings = GameRunSettings(
        game="supertuxkart", track="moon", laps=3, size=(800, 600), seconds=7.0, video=Path("a.mp4"), cores=(0,), page=0
    )
    run_game(settings)
    assert launcher.log[1:3] == [("start", LaunchOptions("moon", 3, 800, 600)), ":(864, 664)"]
    asked: DriveSettings = drive.settings  # type: ignore[attr-defined]
    assert (asked.game, asked.rate, asked.seconds, asked.video) == ("supertuxkart", 30.0, 7.0, Path("a.mp4"))
    assert (asked.cores, asked.threads, asked.takeover, asked.page) == ((0,), 1, False, 0)
    run_game(GameRunSettings(game="supertuxkart", rate=12.0, threads=5))
    asked = drive.settings  # type: ignore[attr-defined]
    assert (asked.rate, asked.threads) == (12.0, 5)


def test_pictures_are_counted_and_shown_to_the_game(launcher: FakeLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(game_run, "_SEE_S", 0.0)
    with game_run._watched(Capture(), launcher.game) as watcher:
        give_up_s = time.monotonic() + 20
        while len(launcher.game.seen) < 3 and time.monotonic() < give_up_s:
            time.sleep(0.005)
    assert launcher.game.seen[:3] == [2, 4, 6], "those that are not black"
    assert 0 < watcher.per_second < 1 / game_run._COUNT_S


def test_a_game_without_a_window_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    desktop = SimpleNamespace(windows=lambda: [], close=lambda: None)
    monkeypatch.setattr(game_run, "open_desktop", lambda: desktop)
    profile = find_game("torcs").profile
    assert profile.capture is not None
    with pytest.raises(GameError, match="TORCS ended before it showed a window"):
        game_run._wait_for_window(profile.capture, FakeGame(ends_after=0), profile)
    monkeypatch.setattr(game_run, "_WINDOW_S", 0.0)
    with pytest.raises(GameError, match="TORCS showed no window 'torcs-bin' within 0 s"):
        game_run._wait_for_window(profile.capture, FakeGame(), profile)


def test_on_the_present_desktop_a_person_may_take_over(launcher: FakeLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":7")
    run_game(GameRunSettings(game="supertuxkart", on_screen=True))
    assert launcher.log[2] == ":7"
    assert game_run.DriveBeside.settings.takeover  # type: ignore[attr-defined]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not tell a process's cores")
def test_the_cores_are_shared_between_game_and_drive_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 5, 6, 7})
    kept: list[Any] = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cores: kept.append(cores))
    assert game_run._share_cores(None) == ([2, 5], [6, 7])
    assert game_run._share_cores((5,)) == ([2, 6, 7], [5])
    with game_run._kept_on([2, 5]):
        assert kept == [[2, 5]]
    assert kept[1:] == [{2, 5, 6, 7}]
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert game_run._share_cores(None) == ([], []), "one core is for both"
    with game_run._kept_on([]):
        assert len(kept) == 2


def test_install_asks_for_the_desktop_and_the_game(launcher: FakeLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(game_run, "install", asked.append)
    run_game(GameRunSettings(game="supertuxkart", install=True))
    run_game(GameRunSettings(game="supertuxkart", install=True, on_screen=True))
    assert asked == [("xvfb", "openbox", "fake-game"), ("fake-game",)]


@pytest.mark.parametrize(
    ("game", "driven", "code", "said"),
    [
        (FakeGame(), {}, 0, ""),
        (FakeGame(finished_after=10**9), {}, 1, ""),
        (FakeGame(finished_after=10**9), {"fault": "the window was closed"}, 3, "fault, controls neutral: the window"),
        (FakeGame(10**9, ends_after=2), {"fault": "the window was closed"}, 1, "error: the game ended by itself"),
        (FakeGame(), {"problems": ["the film is not whole"]}, 1, "error: an output of the drive failed: the film"),
    ],
)
def test_the_exit_code_says_whether_it_was_finished(
    game: FakeGame,
    driven: dict[str, Any],
    code: int,
    said: str,
    launcher: FakeLauncher,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    launcher.game = game
    monkeypatch.setattr(game_run, "DriveBeside", FakeDrive(launcher, DRIVEN | driven, 20))
    assert main(["games", "run", "supertuxkart"]) == code
    printed = capsys.readouterr()
    assert said in printed.err
    finished = game.finished_after < 100
    assert printed.out.splitlines()[0] == f"supertuxkart, oval: {'finished in 38.20 s' if finished else 'not finished'}"
    assert f"  rounds {1.0 if finished else 0.5:.2f}\n" in printed.out
    assert "90 decisions, 29.9 a second, missed deadlines 1; latency p50 9 ms, p99 20 ms" in printed.out
    assert "  wrote lap.mp4\n" in printed.out
    assert main(["games", "run", "supertuxkart", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["drive"]["files"] == ["lap.mp4"]


def test_a_game_that_nobody_can_start_is_told() -> None:
    with pytest.raises(GameError, match=r"gta5 has no launcher.*supertuxkart, torcs.*agent drive --game gta5"):
        run_game(GameRunSettings(game="gta5"))


def test_every_launcher_of_ours_is_for_a_game_in_a_window() -> None:
    assert registry.launched_names() == ("supertuxkart", "torcs")
    for name in registry.launched_names():
        game = find_game(name)
        assert game.profile.capture is not None
        launcher = game.launcher()
        assert launcher.packages
        assert launcher.usual.laps == 1


def test_torcs_is_started_at_the_size_at_which_its_map_is_read(tmp_path: Path) -> None:
    with pytest.raises(GameError, match="640 x 360 px, expected 320 x 180"):
        find_game("torcs").launcher().start(LaunchOptions("e-track-5", 1, 640, 360), {}, tmp_path)


@pytest.mark.parametrize("size", ["320", "320x", "0x180", "axb", "320x180x3", (320, 0)])
def test_a_size_that_is_none_is_told(size: Any) -> None:
    with pytest.raises(SettingsError, match="is not a size, expected WIDTHxHEIGHT"):
        GameRunSettings(game="torcs", size=size)
    assert GameRunSettings(game="torcs", size="640X360").size == (640, 360)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--engine", "nosuch"], "argument --engine: invalid choice: 'nosuch'"),
        (["--rate", "fast"], "argument --rate: 'fast' is not possible, expected a finite number"),
        (["--seconds", "0"], "argument --seconds: 0 is not above 0"),
        (["--video", "lap"], "argument --video: 'lap' should end in .mp4"),
    ],
)
def test_bad_usage_is_told_before_anything_is_started(
    options: list[str], said: str, launcher: FakeLauncher, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["games", "run", "supertuxkart", *options])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not launcher.log


# A game whose start never ends, in the place of the real one, and a desktop that is there already.
LIVE = """
import os, runpy, sys, time
from contextlib import contextmanager, nullcontext
from agent.games import registry
from agent.games.launching import LaunchOptions
from agent.sessions import game_run
from agent.sessions.beside import DriveBeside
from agent.system.supervised import supervised

class Launcher:
    packages, usual, rate_hz = (), LaunchOptions("oval", 1, 320, 180), None

    @contextmanager
    def start(self, options, environment, folder):
        with supervised([sys.executable, "-c", "import time; time.sleep(300)"]) as game:
            print(game.pid, flush=True)
            time.sleep(300)
            yield

registry._LAUNCHERS.update(supertuxkart=Launcher, torcs=Launcher)
game_run.virtual_desktop = lambda *size: nullcontext(dict(os.environ))
program, sys.argv = sys.argv[1], sys.argv[1:]
if program == "agent":
    from agent.cli import main
    sys.exit(main())
runpy.run_path(program, run_name="__main__")
"""
RUN = ["agent", "games", "run", "supertuxkart", "--engine", "constant"]
SCRIPT = [str(ROOT / "scripts" / "torcs_program.py"), "record", "--out", "episodes"]


@pytest.mark.skipif(sys.platform == "win32", reason="X servers are for Unix")
@pytest.mark.parametrize(
    ("arguments", "end"),
    [
        (RUN, "SIGTERM"),
        (RUN, "SIGKILL"),
        pytest.param(RUN, "SIGINT", marks=pytest.mark.slow),
        pytest.param(RUN, "SIGHUP", marks=pytest.mark.slow),
        (SCRIPT, "SIGTERM"),
        pytest.param(SCRIPT, "SIGINT", marks=pytest.mark.slow),
        pytest.param(SCRIPT, "SIGHUP", marks=pytest.mark.slow),
        pytest.param(SCRIPT, "SIGKILL", marks=pytest.mark.slow),
    ],
)
def test_everything_is_taken_down_whoever_ends_it(arguments: list[str], end: str, tmp_path: Path) -> None:
    live = subprocess.Popen(
        [sys.executable, "-c", LIVE, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert live.stdout is not None
    game = int(live.stdout.readline())
    started = psutil.Process(live.pid).children(recursive=True)
    assert game in [process.pid for process in started]
    live.send_signal(getattr(signal, end))
    told = live.communicate(timeout=60)[1].splitlines()
    if end != "SIGKILL":
        assert not psutil.pid_exists(game)
        assert told[-1] == "interrupted"
        assert live.returncode == 130
    assert not [line for line in told if "Traceback" in line]
    _, alive = psutil.wait_procs(started, timeout=20)  # nobody waited for them where it was killed
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def test_a_drive_beside_tells_why_it_cannot_begin_and_that_it_was_killed(tmp_path: Path) -> None:
    with (
        DriveBeside(DriveSettings(game="torcs", weights=tmp_path), lambda line: None) as drive,
        pytest.raises(SpecError, match=re.escape(str(tmp_path))),
    ):
        drive.wait_until_ready()
    with DriveBeside(DriveSettings(game="torcs", engine="constant"), lambda line: None) as drive:
        drive.wait_until_ready()
        assert drive.is_running(0.0)
        drive._child.process.kill()
        with pytest.raises(GameError, match=r"said nothing \(exit code -9\).*whether memory ran out"):
            drive.is_running(20.0)
