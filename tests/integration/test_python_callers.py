"""The sessions called as from a notebook: the page's examples run, and nothing but the caller prints."""

import re
from pathlib import Path

import pytest

from agent.contract.episodes.reading import Episode
from agent.contract.errors import SpecError
from agent.games import registry
from agent.games.base import Simulator
from agent.sessions.evaluate import evaluate
from agent.sessions.live import Lap, drive_live
from agent.sessions.record_simulator import record_simulator
from agent.settings.drive import DriveSettings
from agent.settings.evaluate import EvaluateSettings
from agent.settings.record import RecordSettings

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def make_short_carracing() -> Simulator:
    from agent.games.carracing import CarRacing

    return CarRacing(episode_ticks=25)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._SIMULATORS, "carracing", make_short_carracing)


def test_the_pages_examples_do_what_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    for example in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(example, names)
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["track 500000", "track 500001"]
    assert lines[2].startswith("mean return ")
    assert lines[2].endswith(" at 25 Hz")
    assert lines[3] == "tracks: 0 is out of range, expected a whole number of 1 or more"
    assert f"# {lines[3]}" in PAGE.read_text(encoding="utf-8")
    assert (len(lines), output.err) == (4, "")


def test_every_name_of_the_pages_table_exists() -> None:
    import importlib

    named = re.findall(r"`((?:agent|training)\.[\w.]+)`", PAGE.read_text(encoding="utf-8"))
    assert len(named) > 10
    for name in named:
        if name == "agent.contract.errors":
            continue
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name


def test_an_evaluation_says_what_the_command_says(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    settings = EvaluateSettings(tracks=2, engine="constant", rate=20.0)
    evaluation = evaluate(settings, note=told.append)
    assert [track.seed for track in evaluation.report.tracks] == [0, 1]
    assert evaluation.to_dict()["summary"]["mean"] == evaluation.report.mean
    assert (evaluation.rate_used_hz, evaluation.interrupted, evaluation.problems) == (25.0, False, [])
    assert len(told) == 1
    assert "20 Hz is not a whole number" in told[0]
    assert capsys.readouterr() == ("", "")


def test_an_interrupted_evaluation_has_the_tracks_that_were_finished() -> None:
    def interrupt(result: object, tracks: int) -> None:
        assert tracks == 3
        raise KeyboardInterrupt

    evaluation = evaluate(EvaluateSettings(tracks=3, engine="constant"), interrupt)
    assert evaluation.interrupted
    assert len(evaluation.report.tracks) == 1


def test_a_drive_returns_its_laps_and_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    laps: list[Lap] = []
    drive = drive_live(DriveSettings(laps=2, engine="constant", record=tmp_path), laps.append)
    assert drive.laps == tuple(laps)
    assert [lap.seed for lap in laps] == [0, 1]
    assert [path for lap in laps for path in lap.files] == sorted(tmp_path.iterdir())
    assert drive.to_dict()["return"] == sum(drive.returns) / 2
    assert (drive.fault, drive.interrupted) == (None, False)
    assert capsys.readouterr() == ("", "")


def test_a_recording_returns_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = record_simulator(RecordSettings(out=tmp_path, engine="constant", episodes=2, seed_start=7))
    assert paths == [tmp_path / "carracing-7.parquet", tmp_path / "carracing-8.parquet"]
    assert Episode.open(paths[0]).header.game == "carracing"
    assert capsys.readouterr() == ("", "")


def test_what_the_world_does_is_an_error_to_catch(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="nowhere"):
        evaluate(EvaluateSettings(weights=tmp_path / "nowhere"))
