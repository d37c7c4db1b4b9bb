"""Whose a run's folder is: nobody's before a checkpoint, one process's at a time, and that of the same run later."""

import json
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.contract.errors import TrainingError
from agent.contract.locks import claim
from training.collecting.collect import collect, record_episode
from training.collecting.config import CollectConfig
from training.data.worker_pool import worker_pool
from training.fitting.config import FitConfig
from training.fitting.folder import settle
from training.fitting.settings import FitSettings
from training.in_use import in_use, refuse_in_use
from training.sessions.fit import train as train_from


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    (tmp_path / "data").mkdir()
    found = [tmp_path / "data" / f"{name}.parquet" for name in "bc"]
    for number, path in enumerate(found):
        path.write_bytes(b"x" * (number + 1))
    return found


@pytest.fixture
def config(tmp_path: Path) -> FitConfig:
    (tmp_path / "run").mkdir()
    return FitConfig.debug((tmp_path / "data",), tmp_path / "run")


def silently(line: str) -> None:
    """Report nothing."""


def train(config: FitConfig, paths: list[Path]) -> None:
    """Leave behind what a first round leaves behind."""
    settle(config, paths, silently)
    (config.out / "checkpoint").mkdir()


def test_a_folder_without_a_checkpoint_is_nobodys(config: FitConfig, paths: list[Path]) -> None:
    settle(config, paths, silently)
    settle(replace(config, batch_size=7), paths, silently)
    assert json.loads((config.out / "config.json").read_text())["batch_size"] == 7
    (config.out / "config.json").write_text("{")
    settle(config, paths, silently)
    assert json.loads((config.out / "config.json").read_text())["batch_size"] == config.batch_size


def test_a_run_that_was_moved_goes_on(config: FitConfig, paths: list[Path], tmp_path: Path) -> None:
    train(config, paths)
    config.out.rename(tmp_path / "moved")
    paths[0].parent.rename(tmp_path / "elsewhere")
    moved = [tmp_path / "elsewhere" / path.name for path in paths]
    settle(replace(config, out=tmp_path / "moved", data=(tmp_path / "elsewhere",)), moved, silently)


def test_a_relative_path_is_an_absolute_one(
    config: FitConfig, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absolute = replace(config, init=str(tmp_path / "weights.safetensors"))
    train(absolute, paths)
    recorded = json.loads((config.out / "config.json").read_text())
    del recorded["episodes"]  # as versions before this one recorded it
    (config.out / "config.json").write_text(json.dumps(recorded))
    monkeypatch.chdir(tmp_path)
    settle(replace(absolute, data=(Path("data"),), out=Path("run"), init="weights.safetensors"), paths, silently)
    (config.out / "config.json").write_text(json.dumps(recorded))
    with pytest.raises(TrainingError, match=r"other settings \(data\)"):
        settle(replace(absolute, data=(Path("others"),)), paths, silently)


def test_a_run_of_a_version_without_histories_goes_on_with_one_picture(config: FitConfig, paths: list[Path]) -> None:
    train(config, paths)
    recorded = json.loads((config.out / "config.json").read_text())
    del recorded["history"], recorded["history_ticks"]
    (config.out / "config.json").write_text(json.dumps(recorded))
    settle(config, paths, silently)
    with pytest.raises(TrainingError, match=r"other settings \(history\)"):
        settle(replace(config, history=4), paths, silently)


def test_more_steps_are_done_on_top_and_fewer_are_another_run(config: FitConfig, paths: list[Path]) -> None:
    train(replace(config, steps=10), paths)
    lines: list[str] = []
    settle(replace(config, steps=30), paths, lines.append)
    assert lines == [f"{config.out} was begun with 10 steps, and goes on to 30"]
    with pytest.raises(TrainingError, match=r"other settings \(steps\)"):
        settle(replace(config, steps=20), paths, silently)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda paths: paths.insert(0, paths[0].with_name("a.parquet")), "episodes: a.parquet is new. Go on with"),
        (lambda paths: paths.pop(), "episodes: c.parquet is gone or changed"),
        (lambda paths: paths[1].write_bytes(b"longer"), "c.parquet is new and c.parquet is gone or changed"),
        (lambda paths: paths.reverse(), "their order is another"),
    ],
)
def test_other_episodes_are_told(config: FitConfig, paths: list[Path], change: Any, message: str) -> None:
    train(config, paths)
    paths[0].with_name("a.parquet").write_bytes(b"new")
    change(paths)
    with pytest.raises(TrainingError, match=message) as caught:
        settle(config, paths, silently)
    assert f"--init {config.out / 'best'}" in str(caught.value)


def test_a_run_of_whole_episodes_says_how_it_goes_on(config: FitConfig, paths: list[Path]) -> None:
    train(replace(config, validation_episodes=2), paths)
    with pytest.raises(TrainingError, match=r"\(validation_episodes\).*`--validation-episodes 2`"):
        settle(replace(config, validation_episodes=0), paths, silently)


HOLD = """
import sys
from pathlib import Path
from training.in_use import in_use
with in_use(Path(sys.argv[1]), "trained in"):
    print("mine", flush=True)
    sys.stdin.read()
"""


def test_a_file_in_the_place_of_the_folder_is_told_before_keras_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.sessions.fit.start_keras", lambda: pytest.fail("Keras was started"))
    (tmp_path / "run").write_text("notes")
    with pytest.raises(TrainingError, match=r"--out \S*run is a file, expected a folder"):
        train_from(FitSettings((tmp_path,), tmp_path / "run"))


def test_a_folder_is_had_before_keras_starts_and_left_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second training that was started meanwhile was told only after 33 s."""
    folder = tmp_path / "run"

    def start() -> None:
        with pytest.raises(TrainingError, match="is being trained in by process"):
            refuse_in_use(folder)
        with pytest.raises(TrainingError, match="is being trained in by process"), in_use(folder, "trained in"):
            pass
        with in_use(folder, "trained in", ours=True):
            raise RuntimeError("no Keras")

    monkeypatch.setattr("training.sessions.fit.start_keras", start)
    monkeypatch.setattr("training.sessions.fit._run_of", lambda settings: (None, None))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no Keras"):
            train_from(FitSettings((tmp_path,), folder))
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("end", ["leaves", "is killed"])
def test_a_folder_is_one_processs_at_a_time(tmp_path: Path, end: str) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(TrainingError, match=f"is being trained in by process {other.pid}"), in_use(folder, "read"):
            pass
        settings = FitSettings((tmp_path,), folder)
        with pytest.raises(TrainingError, match=f"is being trained in by process {other.pid}"):
            train_from(settings)  # before Keras is imported, which would take longer than all of this test
        if end == "is killed":
            other.kill()
        else:
            other.communicate("")
        other.wait()
    with in_use(folder, "written"):
        assert len(list(folder.iterdir())) == 1
    assert not list(folder.iterdir())


def test_an_episode_that_another_collection_records_is_left_to_it(tmp_path: Path) -> None:
    config = CollectConfig(tmp_path, 100, 1)
    recording = tmp_path / ".unfinished" / "carracing-0000100.recording"
    recording.parent.mkdir()
    with recording.open("wb") as file:
        assert claim(file)
        for refused in (lambda: record_episode(config, 100), lambda: collect(config)):
            with pytest.raises(TrainingError, match=r"carracing-0000100\.parquet is being recorded by another process"):
                refused()
        assert recording.exists(), "it is not ours to remove"


def test_a_dead_worker_is_answered_with_what_the_command_has() -> None:
    with (
        pytest.raises(TrainingError, match="Repeat the command with a smaller --width or on"),
        worker_pool(1, "a smaller --width"),
    ):
        raise BrokenProcessPool
