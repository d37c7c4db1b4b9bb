"""Several processes that share out every batch train the network that one process would."""

import csv
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from deferred import Deferred
from safetensors.numpy import load_file

from agent.contract.controls import Controls
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.errors import TrainingError
from agent.contract.observation import Frame
from training.cli import main

pytestmark = pytest.mark.thorough

keras = Deferred("keras")
Team = Deferred("training.fitting.distribution:Team")

STEPS = ["--steps", "6", "--steps-per-round", "2", "--warmup-steps", "2", "--batch", "8", "--float32"]
SIZE = ["--backbone", "pilotnet", "--width", "120", "--height", "68", "--validation-episodes", "1", "--quiet"]
needs_jax = pytest.mark.skipif(find_spec("jax") is None, reason="needs JAX: pip install '.[jax]'")


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


def fit(data: Path, out: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "training", "fit", "--data", str(data), "--out", str(out), *STEPS, *SIZE, *options]
    environment = os.environ | {"KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=400)


def read_losses(out: Path) -> list[dict[str, float]]:
    with (out / "log.csv").open(newline="") as file:
        return [{name: float(value) for name, value in row.items() if "loss" in name} for row in csv.DictReader(file)]


@pytest.mark.slow
@needs_jax
def test_two_processes_have_the_losses_of_one(data: Path, tmp_path: Path) -> None:
    for name, options in {"one": [], "two": ["--workers", "2"]}.items():
        result = fit(data, tmp_path / name, *options)
        assert result.returncode == 0, result.stderr
    one, two = (read_losses(tmp_path / name) for name in ("one", "two"))
    assert len(two) == 3
    for alone, together in zip(one, two, strict=True):
        # Sums over two half batches round differently from one sum, which AdamW enlarges: 0.15 % after six steps.
        assert together == pytest.approx(alone, rel=5e-3)
    weights = [load_file(tmp_path / name / "checkpoint" / "weights.safetensors") for name in ("one", "two")]
    for name, value in weights[0].items():
        np.testing.assert_allclose(weights[1][name], value, rtol=0.01, atol=1e-3, err_msg=name)


@pytest.mark.slow
@needs_jax
def test_two_processes_go_on_with_the_run_that_one_began(data: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert fit(data, whole).returncode == 0
    command = [sys.executable, "-m", "training", "fit", "--data", str(data), "--out", str(parts), *STEPS, *SIZE]
    begun = subprocess.Popen(
        command, env=os.environ | {"KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3"}, stdout=subprocess.DEVNULL
    )
    while not (parts / "log.csv").exists():
        assert begun.poll() is None
        time.sleep(0.05)
    begun.kill()
    begun.wait()
    rounds = len(read_losses(parts))
    assert rounds < 3, "killed too late to prove anything"
    again = fit(data, parts, "--workers", "2")
    assert again.returncode == 0, again.stderr
    assert "going on after round" in again.stdout + again.stderr
    for alone, together in zip(read_losses(whole), read_losses(parts), strict=True):
        assert together == pytest.approx(alone, rel=5e-3)


def test_the_parts_of_a_batch_are_the_batch() -> None:
    parts = [Team(index, 3).part(12) for index in range(3)]
    assert [list(range(12))[part] for part in parts] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_a_batch_that_cannot_be_shared_out_is_refused() -> None:
    with pytest.raises(TrainingError, match="a batch of 10 cannot be shared out equally to 3 workers"):
        Team(0, 3).part(10)


@pytest.mark.parametrize("index", [-1, 2])
def test_a_worker_that_is_not_one_of_them_is_refused(index: int) -> None:
    with pytest.raises(TrainingError, match=f"worker {index} of 2, expected a number from 0 to 1"):
        Team(index, 2)


def test_a_team_needs_jax() -> None:
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Keras runs on another backend")
    with pytest.raises(TrainingError, match="needs JAX, Keras runs on tensorflow"):
        Team(0, 2, "127.0.0.1:1").check(8)


def test_a_worker_without_a_coordinator_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--data", str(tmp_path), "--out", str(tmp_path), "--worker", "0"]) == 1
    assert "--worker and --coordinator go together" in capsys.readouterr().err


def test_a_worker_of_one_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["fit", "--data", str(tmp_path), "--out", str(tmp_path), "--worker", "0", "--coordinator", "127.0.0.1:1"]
    assert main(command) == 1
    assert "say how many with --workers" in capsys.readouterr().err


@pytest.mark.slow
def test_one_that_fails_takes_all_others_along() -> None:
    # Worker 1 fails at once, on its arguments; worker 2 would run on for minutes.
    code = """
import subprocess, sys, time
from training.fitting import distribution
real = subprocess.Popen
def start(command, **options):
    index = command[command.index("--worker") + 1]
    script = "raise SystemExit(3)" if index == "1" else "import time; time.sleep(300)"
    process = real([sys.executable, "-c", script], **options)
    print(process.pid, flush=True)
    return process
distribution.subprocess.Popen = start
with distribution.local_team(3, []):
    time.sleep(300)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert "a worker process ended with code 3" in run.stderr
    for pid in run.stdout.split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)
