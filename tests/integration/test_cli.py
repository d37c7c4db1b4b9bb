"""The command line: what it prints, what it returns, and what it makes of bad input."""

import errno
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from agent.cli import main
from agent.contract.controls import NEUTRAL, Controls
from agent.contract.episodes.reading import Episode
from agent.contract.observation import Observation
from agent.contract.spec import GRAPH_FILE, SPEC_FILE, WEIGHTS_FILE, ModelSpec, OutputSpec
from agent.engines.base import Prediction
from agent.engines.constant import ConstantEngine
from agent.games import registry
from agent.games.base import Simulator
from agent.observers.video import VideoWriter

REPOSITORY = Path(__file__).parents[2]
CONSTANT = ("--engine", "constant")


@pytest.mark.parametrize("module", ["agent.cli", "agent.contract.preprocess"])
def test_import_stays_light(module: str) -> None:
    heavy = {"tensorflow", "vgamepad", "mss", "training", "openvino", "gymnasium", "pygame", "pyarrow", "rich"}
    probe = f"import sys, {module}; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=REPOSITORY)
    assert run.returncode == 0, f"importing {module} failed or pulled in too much: {run.stderr.strip()}"


def run_json(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    """Run a command that must succeed; return the one JSON object it printed."""
    assert main([*argv, "--json"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


@pytest.mark.parametrize("command", [(), ("drive",), ("evaluate",), ("record",), ("replay",)])
def test_help_shows_an_example(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main([*command, "--help"])
    assert raised.value.code == 0
    assert f"python -m agent {' '.join(command)}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        ((), "required"),
        (("fly",), "invalid choice"),
        (("drive", "--rate", "0"), "not above 0"),
        (("drive", "--rate", "-5"), "not above 0"),
        (("drive", "--rate", "nan"), "expected a finite number"),
        (("drive", "--rate", "inf"), "expected a finite number"),
        (("drive", "--rate", "fast"), "expected a finite number"),
        (("drive", "--rate", "1e9"), "more than the 1000 Hz"),
        (("evaluate", "--rate", "0"), "not above 0"),
        (("drive", "--seed", "one"), "not a whole number"),
        (("drive", "--seed", "1.5"), "not a whole number"),
        (("drive", "--seed", "-1"), "out of range"),
        (("evaluate", "--seed-start", "4294967296"), "out of range"),
        (("evaluate", "--tracks", "0"), "out of range"),
        (("drive", "--laps", "0"), "out of range"),
        (("drive", "--seconds", "nan"), "expected a finite number"),
        (("drive", "--laps", "1", "--seconds", "5"), "not allowed with"),
        (("drive", "--engine", "steam"), "invalid choice"),
        (("drive", "--threads", "0"), "out of range"),
        (("drive", "--threads", "100000"), "expected a whole number from 1 to 1024"),
        (("drive", "--video", "lap.avi"), "should end in .mp4"),
        (("drive", "--show-input", "seen.txt"), "should end in .png"),
        (("record",), "--out"),
        (("replay",), "EPISODE"),
        (("replay", "x.parquet", "--tolerance", "-1"), "below 0"),
        (("replay", "x.parquet", "--reference", "a", "--write-reference", "b"), "not allowed with"),
    ],
)
def test_bad_usage_exits_with_2_and_says_why(
    argv: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        main(argv)
    output = capsys.readouterr()
    assert raised.value.code == 2
    assert output.out == ""
    assert complaint in output.err.splitlines()[-1]


def fail(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    """Run a command that must fail with exit code 1; return its only line."""
    assert main([str(argument) for argument in argv]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1, output.err
    assert output.err.startswith("error: ")
    return output.err


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder whose files fit their checksums; what is in them is for the engines' own tests."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in (WEIGHTS_FILE, GRAPH_FILE):
        (folder / name).write_bytes(name.encode() * 100)
    write_spec(folder, ModelSpec("tiny", "pilotnet", "carracing"))
    return folder


def write_spec(folder: Path, spec: ModelSpec) -> None:
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (WEIGHTS_FILE, GRAPH_FILE)}
    (folder / SPEC_FILE).write_text(replace(spec, sha256=sums).to_json())


@pytest.mark.parametrize("command", [("drive",), ("evaluate", "--tracks", "1"), ("record", "--out", "unused")])
def test_missing_model_folder(command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = fail(capsys, *command, "--weights", tmp_path / "nowhere")
    assert "nowhere" in line
    assert "--weights" in line


@pytest.mark.parametrize("name", [WEIGHTS_FILE, GRAPH_FILE])
def test_missing_or_truncated_files(name: str, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = model / name
    path.write_bytes(path.read_bytes()[:50])
    line = fail(capsys, "evaluate", "--tracks", "1", "--weights", model, "--engine", "openvino")
    assert name in line
    assert "truncated" in line
    path.unlink()
    line = fail(capsys, "evaluate", "--tracks", "1", "--weights", model, "--engine", "openvino")
    assert name in line
    assert "No such file" in line


def test_file_that_is_no_graph(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = fail(capsys, "evaluate", "--tracks", "1", "--weights", model)
    assert GRAPH_FILE in line
    assert "`python -m training export`" in line


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ('"rate_hz": 25.0', '"rate_hz": 0'),
        ('"width_px": 480', '"width_px": "wide"'),
        ('"backbone": "pilotnet",', ""),
        ("{", ""),
    ],
)
def test_damaged_spec(change: str, complaint: str, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = model / SPEC_FILE
    assert change in path.read_text()
    path.write_text(path.read_text().replace(change, complaint, 1))
    line = fail(capsys, "evaluate", "--tracks", "1", "--weights", model)
    assert str(path) in line
    if complaint == "":  # what is gone cannot be put right by hand
        assert "`python -m training fit`" in line


def test_model_with_other_outputs(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_spec(model, ModelSpec("odd", "pilotnet", "carracing", outputs=(OutputSpec("altitude", 0, 1),)))
    line = fail(capsys, "evaluate", "--tracks", "1", "--weights", model)
    assert "altitude" in line
    assert "expected steering, throttle, brake" in line


@pytest.mark.parametrize(
    ("engine", "module", "advice"),
    [
        ("tensorflow", "training.engines.keras_network", "pip install '.[training]'"),
        ("onnxruntime", "agent.engines.onnxruntime", "pip install '.[onnxruntime]'"),
        ("openvino-int8", "agent.engines.openvino", "choose another with --engine"),
        ("auto", "agent.engines.openvino", "choose another with --engine"),
    ],
)
def test_engine_whose_library_is_missing(
    engine: str,
    module: str,
    advice: str,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.engines.choice.user_cache_path", lambda name: tmp_path / "cache")
    monkeypatch.setitem(sys.modules, module, None)  # as where it is not installed
    line = fail(capsys, "evaluate", "--tracks", "1", "--weights", model, "--engine", engine)
    assert f"the engine {engine} cannot be imported" in line
    assert advice in line


@pytest.mark.parametrize(("set_by_user", "expected"), [(None, "3"), ("0", "0")])
def test_tensorflow_is_quiet_unless_the_user_wants_its_notes(
    set_by_user: str | None, expected: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "training.engines.keras_network", None)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", set_by_user or "")
    if set_by_user is None:
        monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    assert main(["evaluate", "--tracks", "1", "--weights", str(model), "--engine", "tensorflow"]) == 1
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == expected


@pytest.mark.parametrize("command", [("drive",), ("evaluate",), ("evaluate", "--real-time"), ("record", "--out", "x")])
def test_unknown_game(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert "expected one of: carracing" in fail(capsys, *command, "--game", "carracin", *CONSTANT)


def test_unreadable_episodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "missing.parquet" in fail(capsys, "replay", tmp_path / "missing.parquet", *CONSTANT)
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1" + bytes(200))
    assert "damaged.parquet" in fail(capsys, "replay", damaged, *CONSTANT)
    assert sorted(tmp_path.iterdir()) == [damaged]


@pytest.mark.parametrize("option", [("--record", ""), ("--video", "film.mp4"), ("--show-input", "seen.png")])
def test_unwritable_output(option: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocker = tmp_path / "a-file"
    blocker.write_text("not a folder")
    line = fail(capsys, "drive", *CONSTANT, option[0], blocker / option[1])
    assert "a-file" in line
    assert sorted(tmp_path.iterdir()) == [blocker]


def test_outputs_that_fail_on_the_way_let_the_lap_end_but_not_the_program_succeed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_is_full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setitem(registry._SIMULATORS, "carracing", make_short_carracing)
    monkeypatch.setattr(Path, "write_bytes", disk_is_full)  # how the picture and the animation are written
    (tmp_path / "lap.webp").touch()  # an earlier film
    outputs = ("--show-input", str(tmp_path / "seen.png"), "--video", str(tmp_path / "lap.webp"))
    assert main(["drive", *CONSTANT, *outputs]) == 1
    output = capsys.readouterr()
    assert "not finished in time after 0.5 s" in output.out, "the lap ends as ever"
    last = output.err.splitlines()[-1]
    assert last.startswith("error: an output of the drive failed: ")
    assert "seen.png cannot be written (No space left on device)" in last
    assert last.endswith("(1 more above)")
    assert "lap.webp cannot be written" in output.out
    assert "wrote" not in output.out
    assert [path.name for path in tmp_path.iterdir()] == ["lap.webp"]


def test_an_evaluation_names_the_films_that_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_episodes(monkeypatch, ticks=10)
    monkeypatch.setattr("cv2.VideoWriter.isOpened", lambda stream: False)
    assert main(["evaluate", *CONSTANT, "--tracks", "2", "--video", str(tmp_path), "--json"]) == 1
    output = capsys.readouterr()
    problems = [track["problems"] for track in json.loads(output.out)["tracks"]]
    assert [len(lines) for lines in problems] == [1, 1]
    assert "cannot write carracing-1.mp4" in problems[1][0]
    assert output.err.splitlines()[-1].startswith("error: an output of the drive failed: ")
    assert main(["evaluate", *CONSTANT, "--tracks", "1", "--video", str(tmp_path)]) == 1
    assert "track 0: OpenCV" in capsys.readouterr().out


@pytest.mark.parametrize("synced", [0, 1], ids=["at its creation", "with its first rows"])
def test_a_recording_that_fails_is_an_error_and_leaves_nothing(
    synced: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()

    def disk_is_full(descriptor: int) -> None:
        if next(calls) >= synced:
            raise OSError(errno.ENOSPC, "No space left on device")

    shorten_episodes(monkeypatch, ticks=20)
    monkeypatch.setattr(os, "fsync", disk_is_full)
    assert main(["record", *CONSTANT, "--out", str(tmp_path)]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "No space left on device" in output.err.splitlines()[-1]
    assert "Traceback" not in output.err
    assert list(tmp_path.iterdir()) == []


def test_the_expert_is_recorded_as_it_drives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from agent.games.carracing import HOLD_TICKS, CarRacing
    from training.collecting.experts.carracing import CarRacingExpert

    shorten_episodes(monkeypatch, ticks=100)
    assert main(["record", "--driver", "expert", "--episodes", "2", "--seed-start", "7", "--out", str(tmp_path)]) == 0
    returns = [float(line.split("return ")[1].split(",")[0]) for line in capsys.readouterr().out.splitlines()]
    for seed, episode_return in zip((7, 8), returns, strict=True):
        game = CarRacing(episode_ticks=100)
        game.reset(seed)
        expert = CarRacingExpert(game)
        expert.plan()
        driven = []
        while game.state.outcome == "driving":
            driven.append(expert.decide())
            game.advance(driven[-1], HOLD_TICKS)
        episode = Episode.open(tmp_path / f"carracing-{seed}.parquet")
        assert episode.header.driver == "expert"
        np.testing.assert_array_equal(episode.controls, np.stack([controls.to_array() for controls in driven]))
        np.testing.assert_array_equal(episode.executed, episode.controls)
        assert game.state.episode_return == pytest.approx(episode_return, abs=0.05)
        assert np.ptp(episode.controls[:, 0]) > 0.1, "the track bends"


def test_without_training_the_expert_is_missed_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as deleted:
        deleted.setitem(sys.modules, "training.collecting.courses", None)
        line = fail(capsys, "record", "--driver", "expert", "--out", tmp_path / "out")
        assert "training.collecting.courses:make_expert cannot be imported" in line
        assert "--driver policy" in line
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **selection: ())
    assert "no expert is installed" in fail(capsys, "record", "--driver", "expert", "--out", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_traceback_only_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--game", "x"]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert main(["evaluate", "--game", "x", "--verbose"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_weights_for_another_game_are_used_with_a_warning(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_spec(model, ModelSpec("tiny", "pilotnet", "go-karts"))
    assert main(["evaluate", "--tracks", "1", "--weights", str(model)]) == 1
    assert "trained on go-karts, not on carracing" in capsys.readouterr().err


@pytest.mark.thorough
def test_drive_for_seconds_with_everything_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = ("--record", str(tmp_path), "--video", str(tmp_path / "f.mp4"), "--show-input", str(tmp_path / "s.png"))
    report = run_json(capsys, "drive", *CONSTANT, "--seed", "3", "--seconds", "1", "--rate", "10", *outputs)
    assert (report["game"], report["engine"], report["outcome"]) == ("carracing", "constant", "driving")
    assert report["rate_used_hz"] == report["rate_asked_hz"] == 10
    assert 5 <= report["timing"]["ticks"] <= 11
    assert report["timing"]["ticks"] == report["laps"][0]["timing"]["ticks"]
    assert 0 < report["process_start_to_first_decision_s"] < 30
    if sys.platform == "linux":
        assert report["peak_memory_mb"] > 30
        assert 30 < report["game_peak_memory_mb"] != report["peak_memory_mb"]
    assert report["laps"][0]["problems"] == []
    assert report["laps"][0]["mean_speed"] > 0, "the controls reached the car"
    (episode,) = tmp_path.glob("*.parquet")
    recorded = Episode.open(episode)
    assert recorded.header.seed == 3
    assert len(recorded) == report["timing"]["ticks"]
    assert cv2.imread(str(tmp_path / "s.png")).shape == (270, 480, 3)
    assert cv2.VideoCapture(str(tmp_path / "f-3.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == len(recorded)
    assert sorted(report["laps"][0]["files"]) == sorted(str(path) for path in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == 3, "no half-written file is left"


def test_dry_run_leaves_the_car_alone(capsys: pytest.CaptureFixture[str]) -> None:
    report = run_json(capsys, "drive", *CONSTANT, "--seconds", "1", "--rate", "10", "--dry-run")
    assert report["timing"]["ticks"] >= 5
    assert report["laps"][0]["mean_speed"] < 1e-3


def test_drive_says_how_it_went(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drive", *CONSTANT, "--seconds", "0.5"]) == 0
    output = capsys.readouterr()
    assert output.out.startswith("track 0: return ")
    assert "stopped on the way" in output.out
    assert "missed" in output.err, "the status line"


def test_a_lap_cut_short_is_no_part_of_the_mean(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._SIMULATORS, "carracing", make_short_carracing)
    report = run_json(capsys, "drive", *CONSTANT, "--seconds", "1.3")
    *whole, last = report["laps"]
    assert {lap["outcome"] for lap in whole} == {"timeout"}
    assert last["outcome"] == "driving"
    assert report["return"] == pytest.approx(sum(lap["return"] for lap in whole) / len(whole))


def test_films_of_several_laps_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._SIMULATORS, "carracing", make_short_carracing)
    assert main(["drive", *CONSTANT, "--laps", "2", "--video", str(tmp_path / "film.mp4")]) == 0
    output = capsys.readouterr().out
    assert [line.split()[1] for line in output.splitlines() if "wrote" in line] == [
        str(tmp_path / "film-0.mp4"),
        str(tmp_path / "film-1.mp4"),
    ]
    assert "2 laps: mean return" in output


def test_a_lap_cut_short_ends_when_driving_ends_and_not_when_its_film_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_long(video: VideoWriter) -> bytes:
        time.sleep(1.5)
        return b"film"

    monkeypatch.setattr(VideoWriter, "_animation", take_long)
    report = run_json(capsys, "drive", *CONSTANT, "--seconds", "0.3", "--video", str(tmp_path / "film.gif"))
    assert 0.2 <= report["laps"][0]["seconds"] < 1.2


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break otherwise there")
def test_a_reader_that_goes_away_causes_no_traceback() -> None:
    command = [sys.executable, "-m", "agent", "drive", *CONSTANT, "--seconds", "0.2"]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY)
    assert program.stdout is not None
    program.stdout.close()
    _, errors = program.communicate(timeout=60)
    assert program.returncode == 1
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors


def shorten_episodes(monkeypatch: pytest.MonkeyPatch, ticks: int) -> None:
    def make_simulator() -> Simulator:
        from agent.games.carracing import CarRacing

        return CarRacing(episode_ticks=ticks)

    monkeypatch.setitem(registry._SIMULATORS, "carracing", make_simulator)


def test_recorded_episode_replays_and_matches_its_own_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_episodes(monkeypatch, ticks=20)
    assert main(["record", *CONSTANT, "--episodes", "2", "--seed-start", "7", "--out", str(tmp_path)]) == 0
    assert "not finished in time after 0.4 s" in capsys.readouterr().out
    episode, other = tmp_path / "carracing-7.parquet", tmp_path / "carracing-8.parquet"
    assert sorted(tmp_path.iterdir()) == [episode, other]
    rows = Episode.open(episode)
    assert len(rows) == 10
    assert rows.speed[0] == 0
    assert (rows.speed[1:] > 0).all()
    assert "exists" in fail(capsys, "record", *CONSTANT, "--seed-start", "7", "--out", tmp_path)

    reference = tmp_path / "reference.json"
    report = run_json(capsys, "replay", str(episode), *CONSTANT, "--write-reference", str(reference))
    assert report["outputs"]["throttle"]["max_error"] == 0
    assert run_json(capsys, "replay", str(episode), *CONSTANT, "--reference", str(reference))["comparison"]["passed"]

    monkeypatch.setattr("agent.engines.registry.SLOWLY_STRAIGHT_ON", Controls(0.0, 0.2, 0.0))
    assert main(["replay", str(episode), *CONSTANT, "--reference", str(reference)]) == 1
    assert "10 of 10 frames differ" in capsys.readouterr().out
    assert main(["replay", str(episode), *CONSTANT, "--reference", str(reference), "--tolerance", "0.11"]) == 0
    capsys.readouterr()
    assert (
        "other frames" in fail(capsys, "replay", other, *CONSTANT, "--reference", reference).replace("\n", " ") + "\n"
    )


def make_short_carracing() -> Simulator:
    from agent.games.carracing import CarRacing

    return CarRacing(episode_ticks=25)


def test_laps_follow_each_other_on_the_next_tracks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._SIMULATORS, "carracing", make_short_carracing)
    report = run_json(capsys, "drive", *CONSTANT, "--laps", "2", "--seed", "3", "--record", str(tmp_path))
    assert [(lap["seed"], lap["outcome"], lap["seconds"]) for lap in report["laps"]] == [
        (3, "timeout", 0.5),
        (4, "timeout", 0.5),
    ]
    assert report["return"] == pytest.approx(sum(lap["return"] for lap in report["laps"]) / 2)
    assert report["timing"]["ticks"] == sum(lap["timing"]["ticks"] for lap in report["laps"])
    assert sorted(path.name[:12] for path in tmp_path.iterdir()) == ["carracing-3-", "carracing-4-"]


def test_real_time_evaluation_has_a_row_a_track_and_the_timing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._SIMULATORS, "carracing", make_short_carracing)
    report = run_json(capsys, "evaluate", *CONSTANT, "--tracks", "2", "--real-time", "--rate", "20")
    assert [(track["seed"], track["outcome"]) for track in report["tracks"]] == [(0, "timeout"), (1, "timeout")]
    assert (report["real_time"], report["rate_used_hz"], report["decision_period_s"]) == (True, 20.0, 0.05)
    assert 10 <= report["timing"]["ticks"] <= 22


def test_rate_is_lowered_with_one_line_unless_it_was_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.driving.rate.warm_up", lambda engine: 0.1)
    assert main(["drive", *CONSTANT, "--seconds", "0.3", "--json"]) == 0
    output = capsys.readouterr()
    report = json.loads(output.out)
    assert report["rate_asked_hz"] == 25
    assert 5 <= report["rate_used_hz"] < 10
    assert f"good for {report['rate_used_hz']:g} Hz" in output.err.splitlines()[0]
    assert main(["drive", *CONSTANT, "--seconds", "0.3", "--json", "--rate", "20"]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["rate_used_hz"] == 20
    assert "all the same, as asked" in output.err.splitlines()[0]


def test_evaluate_in_lockstep_is_the_same_every_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_episodes(monkeypatch, ticks=100)
    first = run_json(capsys, "evaluate", *CONSTANT, "--tracks", "2", "--seed-start", "4")
    again = run_json(capsys, "evaluate", *CONSTANT, "--tracks", "2", "--seed-start", "4")
    assert [track["seed"] for track in first["tracks"]] == [4, 5]
    assert first["summary"] == again["summary"]
    assert first["tracks"] == again["tracks"]
    assert (first["real_time"], first["rate_used_hz"], first["tracks"][0]["seconds"]) == (False, 25.0, 2.0)
    half = run_json(capsys, "evaluate", *CONSTANT, "--tracks", "1", "--seed-start", "4", "--rate", "12.5")
    assert half["rate_used_hz"] == 12.5
    assert half["tracks"][0]["episode_return"] == pytest.approx(first["tracks"][0]["episode_return"], abs=50)


def test_the_expert_is_evaluated_as_it_is_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_episodes(monkeypatch, ticks=100)
    report = run_json(capsys, "evaluate", "--driver", "expert", "--tracks", "2", "--seed-start", "7")
    assert (report["model"], report["rate_used_hz"]) == ("expert", 25.0)
    assert main(["record", "--driver", "expert", "--episodes", "2", "--seed-start", "7", "--out", str(tmp_path)]) == 0
    recorded = [line.split("return ")[1].split(",")[0] for line in capsys.readouterr().out.splitlines()]
    assert [f"{track['episode_return']:.1f}" for track in report["tracks"]] == recorded
    line = fail(capsys, "evaluate", "--driver", "expert", "--real-time")
    assert "Leave --real-time out" in line


def test_tracks_without_names_cannot_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "the tracks of carracing have no names" in fail(capsys, "evaluate", *CONSTANT, "--track", "monza")


def test_named_tracks_are_each_driven_once_unless_told_otherwise(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, ...]] = []

    def make_named(tracks: tuple[str, ...] = ("a", "b")) -> Simulator:
        made.append(tracks)
        return make_short_carracing()

    monkeypatch.setitem(registry._SIMULATORS, "carracing", make_named)
    monkeypatch.setitem(registry._TRACK_NAMES, "carracing", ("a", "b"))
    for options, tracks, driven in (
        ((), ("a", "b"), 2),
        (("--track", "c", "a", "d"), ("c", "a", "d"), 3),
        (("--track", "c", "--tracks", "4"), ("c",), 4),
    ):
        report = run_json(capsys, "evaluate", *CONSTANT, *options)
        assert (made[-1], [track["seed"] for track in report["tracks"]]) == (tracks, list(range(driven)))


def test_a_rate_between_whole_ticks_is_rounded_with_a_note(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_episodes(monkeypatch, ticks=20)
    assert main(["evaluate", *CONSTANT, "--tracks", "1", "--rate", "20", "--json"]) == 0
    output = capsys.readouterr()
    assert "20 Hz is not a whole number of the game's ticks of 20 ms: deciding every 2, at 25 Hz\n" in output.err
    assert json.loads(output.out)["rate_used_hz"] == 25
    assert main(["evaluate", *CONSTANT, "--tracks", "1", "--rate", "16.666667", "--json"]) == 0
    assert "not a whole number" not in capsys.readouterr().err, "three ticks to seven digits"


def test_evaluate_prints_a_table_and_films(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_episodes(monkeypatch, ticks=20)
    assert main(["evaluate", *CONSTANT, "--tracks", "1", "--video", str(tmp_path)]) == 0
    output = capsys.readouterr()
    assert "at 25 Hz: mean" in output.out.replace("\n", " ")
    assert "timeout" in output.out
    assert output.err.startswith("track 0: return "), "a progress bar is for terminals, lines for logs"
    assert [path.name for path in tmp_path.iterdir()] == ["carracing-0.mp4"]


def make_crashing_carracing() -> Simulator:
    """CarRacing that breaks once it has been driven for a second; built in the game's own process."""
    simulator = registry._make_carracing()
    advance = simulator.advance
    driven = 0

    def break_down(controls: Controls, ticks: int = 1) -> None:
        nonlocal driven
        driven += controls != NEUTRAL
        if driven > 50:
            raise RuntimeError("the wheels came off")
        advance(controls, ticks)

    simulator.advance = break_down  # type: ignore[method-assign]
    return simulator


def test_a_fault_ends_the_drive_with_its_summary_and_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._SIMULATORS, "carracing", make_crashing_carracing)
    assert main(["drive", *CONSTANT, "--json", "--record", str(tmp_path)]) == 3
    output = capsys.readouterr()
    report = json.loads(output.out)
    assert report["fault"] == report["laps"][0]["fault"] == "the game died: RuntimeError: the wheels came off"
    assert report["timing"]["ticks"] > 5
    assert output.err.splitlines()[-1] == f"fault, controls neutral: {report['fault']}"
    (episode,) = tmp_path.glob("*.parquet")
    assert len(Episode.open(episode)) == report["laps"][0]["predictions"]


def test_a_bug_ends_the_drive_like_any_other_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    infer, passes = ConstantEngine.infer, itertools.count()

    def fail(engine: ConstantEngine, observation: Observation) -> Prediction:
        if next(passes) == 60:  # the network is warmed up before
            raise RuntimeError("nobody expected this")
        return infer(engine, observation)

    monkeypatch.setattr(ConstantEngine, "infer", fail)
    assert main(["drive", *CONSTANT, "--json", "--record", str(tmp_path)]) == 3
    output = capsys.readouterr()
    report = json.loads(output.out)
    assert report["fault"].startswith("unexpected RuntimeError: nobody expected this (test_cli.py, line ")
    assert output.err.splitlines()[-1] == f"fault, controls neutral: {report['fault']}"
    assert "Traceback" not in output.err
    (episode,) = tmp_path.glob("*.parquet")
    assert len(Episode.open(episode)) == report["laps"][0]["predictions"]


def _heed_signals() -> None:
    """Undo what tests inherit that run in a shell's background (no SIGINT) or under nohup (no SIGHUP)."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.skipif(sys.platform == "win32", reason="needs Unix' signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_ctrl_c_ends_a_drive_with_its_summary_and_130(tmp_path: Path, name: str) -> None:
    seen = tmp_path / "seen.png"
    command = [sys.executable, "-m", "agent", "drive", *CONSTANT, "--show-input", str(seen)]
    program = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        start_new_session=True,
        preexec_fn=_heed_signals,
    )
    deadline = time.monotonic() + 30
    while not seen.exists():  # written at the first tick
        assert time.monotonic() < deadline
        assert program.poll() is None, program.communicate()
        time.sleep(0.02)
    if name == "SIGINT":
        os.killpg(program.pid, signal.SIGINT)  # as a terminal does: to the game's process too
    else:
        program.send_signal(getattr(signal, name))
    output, errors = program.communicate(timeout=20)
    assert program.returncode == 130
    assert "stopped on the way" in output
    assert "Traceback" not in errors
    assert [path.name for path in tmp_path.iterdir()] == ["seen.png"]
