"""A package of somebody else's adds an engine, a game and a grabber, and what is broken of it harms nothing else."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.capture import registry as grabbers
from agent.capture.screen import ScreenSource
from agent.cli import main
from agent.contract.errors import AgentError, CaptureError, EngineError, GameError
from agent.contract.profile import Capture
from agent.contract.spec import ModelSpec
from agent.controllers.memory import MemoryController
from agent.driving.loop import drive
from agent.engines import registry as engines
from agent.engines.choice import candidates
from agent.games import registry as games
from agent.games.profile_files import load_profile
from agent.measuring.doctor import examine
from agent.policies.network import NetworkPolicy
from agent.sessions.game_run import started_game
from agent.system.pacing import Pacer

ROOT = Path(__file__).parents[2]
EXTRAS = ROOT / "tests" / "third_party"
BROKEN_ENGINES = ("no-such-module", "no-such-name", "of-another-type", "raises-at-import")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the package as pip does: its folder and its metadata are on Python's path."""
    monkeypatch.syspath_prepend(str(EXTRAS))


def one_line(exc: AgentError) -> str:
    assert str(exc).isprintable(), "one line, and nothing that steers a terminal"
    return str(exc)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(EXTRAS)))}
    return subprocess.run(
        [sys.executable, "-m", "agent", *command],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
        timeout=120,
    )


# --- what works -------------------------------------------------------------------------------------------------------


def test_without_the_package_nothing_of_it_is_known() -> None:
    assert "follower" not in engines.engine_names()
    assert "pond" not in games.game_names()
    assert "painted" not in grabbers.grabber_names()


@pytest.mark.usefixtures("installed")
def test_its_names_come_after_ours() -> None:
    theirs = [name for name in engines.engine_names() if name in (*BROKEN_ENGINES, "follower", "raises-when-made")]
    assert theirs == sorted((*BROKEN_ENGINES, "follower", "raises-when-made"))
    assert engines.engine_names().index("constant") < engines.engine_names().index("follower")
    assert games.game_names()[-3:] == ("broken-game", "other-name", "pond")
    assert grabbers.grabber_names() == ("mss", "broken-grabber", "no-grabber", "painted", "raising-grabber")
    assert "follower" in engines.EngineChoices()
    assert "painted" in grabbers.GrabberChoices()


@pytest.mark.usefixtures("installed")
def test_its_game_is_driven_by_its_engine_in_lockstep(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--game", "pond", "--engine", "follower", "--tracks", "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["game"], report["engine"]) == ("pond", "follower")
    assert [track["outcome"] for track in report["tracks"]] == ["lap", "lap"]
    assert main(["evaluate", "--game", "pond", "--engine", "constant", "--tracks", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [track["outcome"] for track in report["tracks"]] == ["left"], "without steering it drifts off"


@pytest.mark.thorough
def test_its_game_is_driven_in_real_time_in_a_process_of_its_own(tmp_path: Path) -> None:
    driven = run("drive", "--game", "pond", "--engine", "follower", "--json", "--record", str(tmp_path))
    assert driven.returncode == 0, driven.stderr
    (lap,) = json.loads(driven.stdout)["laps"]
    assert lap["outcome"] == "lap"
    (episode,) = tmp_path.rglob("*.parquet")
    assert "pond" in episode.name


@pytest.mark.usefixtures("installed")
def test_its_launcher_starts_its_game_and_the_users_own_profile_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with started_game("pond", on_screen=True) as pond:
        give_up_s = time.monotonic() + 20
        while not pond.results.finished and time.monotonic() < give_up_s:
            time.sleep(0.01)
        assert pond.results.seconds == 12.5
        assert pond.is_alive
    assert not pond.is_alive
    for name in ("pond", "broken-game"):
        (tmp_path / f"{name}.toml").write_text('title = "Mine"\nrate_hz = 20\nnotes = "none"\n[capture]\nmonitor = 1\n')
    monkeypatch.setattr("agent.games.profile_files.user_folder", lambda: tmp_path)
    mine = games.find_game("pond")
    assert (mine.profile.title, mine.make_simulator) == ("Mine", None)
    assert mine.launcher().usual.track == "north-bank"
    with pytest.raises(GameError, match="broken-game has no launcher"):
        games.find_game("broken-game").launcher()


@pytest.mark.usefixtures("installed")
def test_its_grabber_is_what_a_drive_sees_by() -> None:
    policy = NetworkPolicy(engines.load_engine("follower", Path("nowhere"), game="pond"))
    source, controller = ScreenSource(Capture(monitor=1, grabber="painted")), MemoryController()
    drive(source, controller, policy, Pacer(0.02), until=lambda: len(controller.sent) >= 5)
    assert source.counts.grabbed >= 5
    assert controller.sent[-2].steering == pytest.approx(160 / 255, abs=0.02), "the right half is brighter"


@pytest.mark.usefixtures("installed")
def test_a_profile_and_the_doctor_say_which_grabber(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('title = "Mine"\nrate_hz = 20\nnotes = "none"\n[capture]\nmonitor = 1\ngrabber = "painted"\n')
    profile = load_profile(path)
    assert profile.capture is not None
    assert profile.capture.grabber == "painted"
    found = {each.name: each for each in examine(profile, profile.capture, None, None, lambda *_: None, False)}
    assert (found["display"].verdict, found["window"].verdict) == ("OK", "OK")
    assert found["display"].text.endswith("read by painted")
    assert "320,200" in found["window"].text


# --- what is broken ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no-such-module", "ModuleNotFoundError: No module named 'pond_extras.nowhere'"),
        ("no-such-name", "has no attribute 'NOWHERE'"),
        ("raises-at-import", "RuntimeError: this package wants another Python"),
        ("of-another-type", "is of type Game, expected EngineEntry"),
    ],
)
def test_a_broken_engine_is_told_in_one_line(name: str, said: str) -> None:
    with pytest.raises(EngineError) as raised:
        engines.load_engine(name, Path("nowhere"))
    assert f"the package pond-extras offers {name!r}" in one_line(raised.value)
    assert said in str(raised.value)


@pytest.mark.usefixtures("installed")
def test_an_engine_that_cannot_be_made_is_told_in_one_line() -> None:
    with pytest.raises(EngineError) as raised:
        engines.load_engine("raises-when-made", Path("some/model"))
    said = (
        "the engine raises-when-made of the package pond-extras cannot be made (ZeroDivisionError: no use with model)"
    )
    assert said in one_line(raised.value)


@pytest.mark.usefixtures("installed")
def test_the_broken_ones_leave_the_others_alone() -> None:
    told: list[str] = []
    spec = ModelSpec("tiny", "pilotnet", "carracing")
    assert [entry.name for entry in candidates(spec, told.append)] == ["openvino-bf16", "openvino"]
    assert len(told) == len(BROKEN_ENGINES)
    assert engines.find_engine("openvino").package == "", "an engine of ours cannot be replaced"
    assert games.find_game("carracing").profile.title != "A boat on a pond"
    assert [name for name in grabbers.grabber_names() if name == "mss"] == ["mss"]


@pytest.mark.usefixtures("installed")
def test_a_broken_game_is_told_in_one_line_and_the_list_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(GameError) as raised:
        games.find_game("broken-game")
    assert "the package pond-extras offers 'broken-game'" in one_line(raised.value)
    with pytest.raises(GameError, match="its profile is called 'pond', expected the same name") as raised:
        games.find_game("other-name")
    one_line(raised.value)
    main(["games"])
    printed = capsys.readouterr()
    assert "A boat on a pond" in printed.out
    assert "carracing" in printed.out
    assert len([line for line in printed.err.splitlines() if line.startswith("error: ")]) == 2


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken-grabber", "RuntimeError: this package wants another Python"),
        ("raising-grabber", "the grabber raising-grabber of the package pond-extras cannot be opened (KeyError: "),
        ("no-grabber", "is of type int, expected Callable"),
        ("nobody's", "is unknown, expected one of mss, broken-grabber"),
    ],
)
def test_a_broken_grabber_is_told_in_one_line(name: str, said: str) -> None:
    with pytest.raises(CaptureError) as raised:
        ScreenSource(Capture(monitor=1, grabber=name)).__enter__()
    assert said in one_line(raised.value)


def test_a_package_with_damaged_metadata_harms_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(EXTRAS, tmp_path / "whole")
    damaged = tmp_path / "damaged" / "aaa-1.0.dist-info"
    damaged.mkdir(parents=True)
    (damaged / "METADATA").write_text("Metadata-Version: 2.1\nName: aaa\nVersion: 1.0\n")
    (damaged / "entry_points.txt").write_bytes(b"[hoodcam.engines]\n\xff\xfe = \xff\n")
    monkeypatch.syspath_prepend(str(tmp_path / "whole"))
    monkeypatch.syspath_prepend(str(tmp_path / "damaged"))
    assert "follower" in engines.engine_names()
    assert engines.find_engine("follower").runtime == "numpy"


def test_the_help_lists_what_is_there_and_a_broken_one_does_not_end_it() -> None:
    helped = run("drive", "--help")
    assert helped.returncode == 0, helped.stderr
    text = " ".join(helped.stdout.split())
    assert "follower" in text
    assert "painted" in text
