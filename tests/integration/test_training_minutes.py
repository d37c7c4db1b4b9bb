"""`fit --minutes`: planned, told what the data lack, interrupted and gone on with, on a tiny network."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from deferred import Deferred

from agent.games.carracing import PROFILE
from training.collecting.collect import CollectConfig, record_episode
from training.fitting.config import SETTINGS, FitConfig

pytestmark = pytest.mark.thorough

fit = Deferred("training.fitting.fit:fit")
fit_module = Deferred("training.fitting.fit")
run_module = Deferred("training.fitting.run")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("episodes")
    for seed in (100, 101):
        record_episode(CollectConfig(folder, seed, 1, noise=3.0, decisions=40), seed)
    return folder


@pytest.mark.slow
def test_a_run_by_time_is_planned_interrupted_and_gone_on_with(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[FitConfig] = []

    def plan(config: FitConfig, make_run: Any, export: Any, started_s: float) -> FitConfig:
        planned.append(config)
        return replace(config, steps=6, steps_per_round=2)

    monkeypatch.setattr(fit_module, "plan", plan)
    config = replace(FitConfig.debug((data,), tmp_path), minutes=20.0)
    real, lines = run_module.Run.train_round, list[str]()

    def interrupted(self: Any, index: int, *arguments: Any, **named: Any) -> Any:
        row = real(self, index, *arguments, **named)
        if index == 1:
            raise KeyboardInterrupt
        return row

    monkeypatch.setattr(run_module.Run, "train_round", interrupted)
    monkeypatch.setattr(run_module.Run, "validate", lambda self: validated(next(losses)))
    losses = iter([0.5, 0.25])  # of the first round, and of the part of the second that Ctrl-C left
    with pytest.raises(KeyboardInterrupt):
        fit(config, PROFILE, report=lines.append, verbose=0)
    assert [line for line in lines if line.startswith("look at the data: there are only 2 s of driving")]
    assert f"it is better: {tmp_path / 'best'} is what was learnt up to now (validation loss 0.25)" in lines
    assert lines[-1].startswith(f"{tmp_path / 'best'} is what was learnt up to now")
    assert (tmp_path / "best" / "weights.safetensors").read_bytes() == (
        tmp_path / "last" / "weights.safetensors"
    ).read_bytes()

    monkeypatch.setattr(run_module.Run, "train_round", real)
    losses = iter([0.4, 0.3, 0.2])
    result = fit(config, PROFILE, report=lines.append, verbose=0)
    assert len(planned) == 1, "the plan of an interrupted run is kept"
    assert [row["step"] for row in result.history] == [2, 4, 6]
    assert json.loads((tmp_path / SETTINGS).read_text())["steps"] == 6

    result = fit(replace(config, minutes=30.0), PROFILE, report=lines.append, verbose=0)
    assert [row["step"] for row in result.history] == [2, 4, 6, 8], "half as many minutes more, one round of two steps"


def validated(loss: float) -> dict[str, float]:
    names = ("steering", "throttle", "brake")
    return {"validation_loss": loss} | {f"{name}_correlation": 0.5 for name in names}
