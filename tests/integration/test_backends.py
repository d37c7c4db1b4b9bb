"""The joint step runs on every Keras backend that is installed, with the same losses and the same weights file."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from agent.contract.controls import Controls
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.observation import Frame

pytestmark = pytest.mark.thorough

INSTALLED = [name for name in ("tensorflow", "jax", "torch") if find_spec(name)]

RUN = """
import json, sys
from dataclasses import replace
from pathlib import Path
from agent.games.carracing import PROFILE
from training.fitting.config import FitConfig
from training.fitting.fit import fit

data, out, init, step = sys.argv[1:]
config = replace(FitConfig.debug((Path(data),), Path(out)), init=init, steps=3, balance="reweight", step=step)
history = fit(config, PROFILE, report=lambda line: None, verbose=0).history
print(json.dumps([{name: row[name] for name in row if "loss" in name} for row in history]))
"""


def run(backend: str, *arguments: Any) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", RUN, *map(str, arguments)]
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


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


@pytest.mark.slow
def test_backends_agree_on_losses_and_write_the_same_file(data: Path, tmp_path: Path) -> None:
    if len(INSTALLED) < 2:
        pytest.skip(f"needs two of tensorflow, jax and torch; found {', '.join(INSTALLED)}")
    losses, tensors = {}, {}
    init = "none"
    for backend in INSTALLED:
        out = tmp_path / backend
        if init == "none":  # the first one makes the weights that all start from
            made = run(backend, data, tmp_path / "start", init, "joint")
            assert made.returncode == 0, made.stderr
            init = str(tmp_path / "start" / "checkpoint" / "weights.safetensors")
        finished = run(backend, data, out, init, "joint")
        assert finished.returncode == 0, finished.stderr
        losses[backend] = json.loads(finished.stdout.splitlines()[-1])
        tensors[backend] = load_file(out / "checkpoint" / "weights.safetensors")
    first, *others = INSTALLED
    for other in others:
        for row, expected in zip(losses[other], losses[first], strict=True):
            assert row == pytest.approx(expected, rel=1e-4), other  # 4e-7 was measured
        assert {key: value.shape for key, value in tensors[other].items()} == {
            key: value.shape for key, value in tensors[first].items()
        }
        for key, values in tensors[first].items():  # 6e-7 was measured
            assert tensors[other][key] == pytest.approx(values, abs=1e-4), (other, key)


@pytest.mark.slow
@pytest.mark.parametrize("backend", [name for name in INSTALLED if name != "tensorflow"])
def test_the_helper_step_says_that_it_needs_tensorflow(backend: str, data: Path, tmp_path: Path) -> None:
    refused = run(backend, data, tmp_path / "run", "none", "helper")
    assert refused.returncode == 1
    message = refused.stderr.splitlines()[-1]
    assert f"the helper step needs TensorFlow, Keras runs on {backend}. Train with --step joint" in message
