"""A training killed with SIGKILL goes on as if it never was, and a full disk loses nothing that was written."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from deferred import Deferred
from safetensors import SafetensorError
from safetensors.numpy import load_file

from agent.contract.controls import Controls
from agent.contract.durable import find_folder
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.errors import TrainingError
from agent.contract.observation import Frame
from agent.games.carracing import PROFILE
from training.fitting.config import FitConfig

pytestmark = pytest.mark.thorough

if TYPE_CHECKING:
    from training.fitting.run import FitResult

keras_parts = Deferred("training.fitting.keras_parts")
fit = Deferred("training.fitting.fit:fit")

# Small buffers: a resumed run starts in the middle of an epoch of each of v3's three feeds.
SETTINGS = {"steps": 9, "steps_per_round": 3, "balance": "v3", "buffer_size": 10, "batch_size": 6}

# Arguments: data, out, when to kill oneself: never, or in the checkpoint of round 2 once half of it is written.
RUN = f"""
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from agent.games.carracing import PROFILE
from training.fitting import keras_parts, run as module
from training.fitting.config import FitConfig
from training.fitting.fit import fit

class Timer(module.StepTimer):
    def on_train_batch_end(self, batch, logs=None):
        print("step", flush=True)
        super().on_train_batch_end(batch, logs)

module.StepTimer = Timer
data, out, kill = sys.argv[1:]
save_file = keras_parts.save_file
def save_half(tensors, path):
    save_file(tensors, path)
    os.truncate(path, path.stat().st_size // 2)
    os.kill(os.getpid(), signal.SIGKILL)
if kill == "in the checkpoint":
    keras_parts.save_file = save_half
config = replace(FitConfig.debug((Path(data),), Path(out)), **{SETTINGS!r})
fit(config, PROFILE, report=lambda line: print(line, flush=True), verbose=0)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for number in range(2):
        header = EpisodeHeader("carracing", "test", 25.0, seed=number)
        with EpisodeWriter(folder / f"{number}.parquet", header) as writer:
            for tick in range(24):
                label = Controls(rng.uniform(-1, 1), rng.uniform(), rng.uniform())
                frame = Frame(rng.integers(0, 256, (80, 100, 3), np.uint8), tick * 40_000_000, tick)
                writer.write(EpisodeRow(frame, label, label, speed=float(tick)))
    return folder


def make_config(data: Path, out: Path, **settings: Any) -> FitConfig:
    return replace(FitConfig.debug((data,), out), **(SETTINGS | settings))


def silently(line: str) -> None:
    """Report nothing."""


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[FitConfig, "FitResult"]:
    config = make_config(data, tmp_path_factory.mktemp("whole"))
    return config, fit(config, PROFILE, report=silently, verbose=0)


def kill_run(data: Path, out: Path, kill: str, when: Callable[[list[str]], bool]) -> list[str]:
    """Start a run; kill it when its lines say so, unless it has killed itself; return its lines."""
    lines: list[str] = []
    command = [sys.executable, "-c", RUN, str(data), str(out), kill]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.strip())
            if when(lines):
                process.kill()
    assert process.returncode == -signal.SIGKILL, lines
    return lines


@pytest.mark.slow
def test_a_run_killed_within_a_round_and_within_a_checkpoint_ends_as_an_uninterrupted_one(
    data: Path, whole: tuple[FitConfig, "FitResult"], tmp_path: Path
) -> None:
    steps = random.randint(4, 8)  # in round 2 or 3: what is gone on from is a checkpoint

    def at_a_random_moment(lines: list[str]) -> bool:
        if lines.count("step") < steps:
            return False
        time.sleep(random.uniform(0, 0.5))  # within the step, the validation, the export or the checkpoint
        return True

    kill_run(data, tmp_path, "never", at_a_random_moment)
    if len(read_history(tmp_path)) < 3:
        lines = kill_run(data, tmp_path, "in the checkpoint", lambda lines: False)
        assert not any(line.startswith("round") for line in lines), "killed in the first checkpoint that it wrote"
        assert (tmp_path / "checkpoint.partial").exists()
    resumed = fit(make_config(data, tmp_path), PROFILE, report=silently, verbose=0)
    assert_same(resumed, tmp_path, whole)
    assert not list(tmp_path.glob("*.partial"))


def read_history(out: Path) -> list[dict[str, float]]:
    folder = find_folder(out / "checkpoint")
    assert folder is not None
    history: list[dict[str, float]] = json.loads((folder / "history.json").read_text())
    return history


def assert_same(resumed: "FitResult", out: Path, whole: tuple[FitConfig, "FitResult"]) -> None:
    """Compare losses and weights: equal but for the order in which threads add up."""
    finished, result = whole
    for row, expected_row in zip(resumed.history, result.history, strict=True):
        for name in ("step", "samples", "learning_rate", "loss", "steering_loss", "brake_loss", "validation_loss"):
            assert row[name] == pytest.approx(expected_row[name], rel=1e-4), name
    expected = load_file(finished.out / "checkpoint" / "weights.safetensors")
    for name, values in load_file(out / "checkpoint" / "weights.safetensors").items():
        assert values == pytest.approx(expected[name], rel=1e-4, abs=1e-5), name


def test_a_full_disk_keeps_the_last_checkpoint(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file, saved = keras_parts.save_file, []

    def fill_up(tensors: Any, path: Path) -> None:
        saved.append(path)
        if len(saved) == 2:
            path.write_bytes(b"half")
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        save_file(tensors, path)

    monkeypatch.setattr(keras_parts, "save_file", fill_up)
    with pytest.raises(TrainingError, match=r"checkpoint of round 2 could not .*No space left.*before it is kept"):
        fit(make_config(data, tmp_path), PROFILE, report=silently, verbose=0)
    assert not list(tmp_path.glob("*.partial")), "what is half written is given back to the disk"
    assert len(read_history(tmp_path)) == 1
    load_file(tmp_path / "checkpoint" / "optimizer.safetensors")


def test_a_log_that_a_kill_left_behind_its_checkpoint_is_made_up_for(
    data: Path, whole: tuple[FitConfig, "FitResult"]
) -> None:
    config, _ = whole
    log = config.out / "log.csv"
    complete = log.read_text()
    log.unlink()
    fit(config, PROFILE, report=silently, verbose=0)
    assert log.read_text() == complete


def test_a_row_says_what_an_experiment_asks(whole: tuple[FitConfig, "FitResult"]) -> None:
    config, result = whole
    row = result.history[-1]
    assert row["samples"] == 3 * 6
    assert row["samples_per_second"] == pytest.approx(6 / row["seconds_per_step"])
    assert 0 < row["seconds_per_step"] < row["training_seconds"] < row["seconds"]
    assert 0 <= row["co_pressed"] <= 1
    assert {
        f"{name}_{kind}" for name in ("steering", "throttle", "brake") for kind in ("mae", "rmse", "correlation")
    } <= (row.keys())
    text = (config.out / "checkpoint" / "history.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)[-1]["return"] is None
