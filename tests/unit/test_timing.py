"""Training for a stated time: the steps that fit into it, and its end. On a virtual clock; nothing is trained."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.contract.errors import TrainingError
from training.fitting.config import FitConfig
from training.fitting.folder import CHECKPOINT
from training.fitting.settings import LITTLE_DATA, SMALL, FitSettings
from training.fitting.timing import (
    ENOUGH_STEPS,
    LEAST_ROUNDS,
    LEAST_STEPS,
    MARGIN,
    PASSES,
    ROUNDS,
    TRIAL_STEPS,
    Deadline,
    plan,
    recorded,
)

BUILD_S, STEP_S, ROUND_S = 7.0, 0.25, 2.0


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Trial:
    """A run that takes virtual time, and no other."""

    def __init__(self, clock: Clock, config: FitConfig) -> None:
        self.clock, self.config = clock, config

    def train_round(self, index: int, board: None, verbose: int) -> dict[str, float]:
        self.clock.now_s += BUILD_S + self.config.steps * STEP_S
        return {"seconds_per_step": STEP_S}

    def average(self) -> None:
        self.clock.now_s += ROUND_S / 2

    def validate(self) -> dict[str, float]:
        self.clock.now_s += ROUND_S / 2
        return {}


def config_for(minutes: float, out: Path = Path("run")) -> FitConfig:
    return FitConfig(data=(Path("data"),), out=out, minutes=minutes)


def planned(
    minutes: float, exported: list[Path] | None = None, spent_s: float = 0.0, samples: int = 10**6
) -> FitConfig:
    clock = Clock()
    clock.now_s = spent_s
    folders = exported if exported is not None else []
    make: Any = lambda config: Trial(clock, config)  # noqa: E731
    return plan(config_for(minutes), make, lambda run, folder: folders.append(Path(folder)), 0.0, samples, clock)


@pytest.mark.parametrize("minutes", [3, 20, 45])
def test_the_planned_run_ends_in_time_and_uses_most_of_it(minutes: float) -> None:
    config = planned(minutes)
    trial_s = BUILD_S + TRIAL_STEPS * STEP_S + ROUND_S
    run_s = BUILD_S + config.steps * STEP_S + ROUNDS * ROUND_S
    assert 0.9 * MARGIN < (trial_s + run_s) / (minutes * 60) <= MARGIN
    assert config.steps == ROUNDS * config.steps_per_round


def test_no_more_steps_are_planned_than_the_samples_are_good_for() -> None:
    most = planned(45).steps
    assert most > 3 * ENOUGH_STEPS
    assert planned(45, samples=10).steps == ENOUGH_STEPS
    config = planned(45, samples=12000)
    assert config.steps * config.batch_size == pytest.approx(PASSES * 12000, rel=0.01)
    assert planned(3, samples=12000).steps == planned(3).steps


def test_time_spent_on_preprocessing_counts() -> None:
    assert planned(10, spent_s=300.0).steps == pytest.approx(planned(10).steps - 300 / STEP_S, abs=ROUNDS)


def test_where_validating_takes_long_there_are_fewer_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROUND_S", 30.0)
    config = planned(6)
    assert LEAST_ROUNDS <= config.steps // config.steps_per_round < ROUNDS


def test_the_trial_is_exported_before_the_first_round() -> None:
    exported: list[Path] = []
    planned(5, exported)
    assert len(exported) == 1
    assert not exported[0].exists()


def test_too_short_a_time_is_told_with_one_that_is_enough() -> None:
    with pytest.raises(TrainingError, match=r"0.4 minutes are too short here: a step takes 0.25 s") as raised:
        planned(0.4)
    enough = int(str(raised.value).partition("Give it ")[2].split()[0])
    assert enough == 1
    assert planned(enough).steps >= LEAST_STEPS


def kept_run(folder: Path, minutes: float, steps: int, each: int) -> None:
    (folder / CHECKPOINT).mkdir(parents=True)
    config = replace(config_for(minutes, folder), steps=steps, steps_per_round=each, warmup_steps=17)
    (folder / "config.json").write_text(config.to_json())


def test_an_interrupted_run_keeps_its_plan(tmp_path: Path) -> None:
    kept_run(tmp_path, 20, 1230, 123)
    config = recorded(config_for(20, tmp_path))
    assert config is not None
    assert (config.steps, config.steps_per_round, config.warmup_steps) == (1230, 123, 17)


@pytest.mark.parametrize(("minutes", "rounds"), [(30, 15), (40, 20), (10, 10)])
def test_more_minutes_are_more_rounds_and_fewer_are_not_fewer(tmp_path: Path, minutes: float, rounds: int) -> None:
    kept_run(tmp_path, 20, 1230, 123)
    config = recorded(config_for(minutes, tmp_path))
    assert config is not None
    assert config.steps == rounds * 123


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"minutes": "x"})])
def test_a_damaged_plan_is_left_to_the_comparison_of_settings(tmp_path: Path, text: str) -> None:
    kept_run(tmp_path, 20, 1230, 123)
    (tmp_path / "config.json").write_text(text)
    assert recorded(config_for(20, tmp_path)) is None


def test_a_round_is_begun_only_if_most_of_it_fits() -> None:
    clock = Clock()
    deadline = Deadline(config_for(10), 0.0, 0.0, clock)
    begun = 0
    while not deadline.is_over():
        begun += 1
        clock.now_s += 110.0
    assert begun == 5  # the sixth would have begun at 550 s, with 50 s left of the 55 s that are half of it


def test_what_was_spent_before_counts() -> None:
    clock = Clock()
    deadline = Deadline(config_for(10), 0.0, 601.0, clock)
    assert deadline.is_over()


def test_without_minutes_time_is_never_over() -> None:
    clock = Clock()
    deadline = Deadline(replace(config_for(1), minutes=0.0), 0.0, 0.0, clock)
    clock.now_s = 1e9
    assert not deadline.is_over()


def settings(**changes: Any) -> FitSettings:
    return FitSettings(data=(Path("data"),), out=Path("run"), **changes)


def test_minutes_choose_the_recipe_for_little_data() -> None:
    config = settings(minutes=20).config()
    chosen = SMALL | LITTLE_DATA
    assert {name: getattr(config, name) for name in chosen} == chosen
    assert settings().config().backbone == "xception"


def test_what_is_asked_for_is_kept() -> None:
    config = settings(minutes=20, balance="v1", width_px=320).config()
    assert (config.balance, config.width_px, config.height_px) == ("v1", 320, SMALL["height_px"])


def test_what_is_asked_for_is_kept_where_it_is_the_default_of_other_recipes() -> None:
    config = settings(minutes=20, balance="none", batch_size=16).config()
    assert (config.balance, config.batch_size) == ("none", 16)
    assert (settings().config().balance, settings().config().batch_size) == ("none", 16)


def test_minutes_and_steps_exclude_each_other() -> None:
    with pytest.raises(TrainingError, match="leave one of them out"):
        settings(minutes=20, steps=100)
