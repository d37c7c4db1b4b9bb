"""What a training says of itself: how long it will take, what is kept where it is interrupted, how good it is."""

import json
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.contract.durable import restore_folder
from agent.contract.errors import TrainingError
from agent.contract.spec import MAX_STACK, MAX_STACK_TICKS, SPEC_FILE, WEIGHTS_FILE, ModelSpec, Stack
from agent.settings.base import SettingsError
from training.fitting.config import FitConfig
from training.fitting.ending import best_round, describe_end, describe_estimate, describe_interrupted
from training.fitting.settings import FitSettings
from training.live.config import LiveSettings
from training.sessions.live import learn_live

CONFIG = FitConfig((Path("data"),), Path("run"), steps=2000, steps_per_round=200)


def history(*losses: float, **further: float) -> list[dict[str, float]]:
    return [{"validation_loss": loss, "score": -loss} | further for loss in losses]


def ended(rows: list[dict[str, float]]) -> Any:
    return SimpleNamespace(model=Path("run/best"), history=rows, mean_loss=3.0)


def test_the_best_round_is_told_with_its_own_figures_and_what_comes_next() -> None:
    lines = describe_end(ended(history(2.5, 1.25, 1.5)), "karts")
    assert lines == [
        "run/best is round 2 of 3: validation loss 1.25, of 3 that the mean would have",
        "next: python -m agent drive --game karts --weights run/best",
    ]
    driven = history(2.5, **{"return": 800.0})
    assert "round 1 of 1: return 800, validation loss 2.5" in describe_end(ended(driven), "karts")[0]
    assert describe_end(ended([{"step": 1.0}]), "karts") == []


def test_a_training_that_ran_away_is_told_in_a_line() -> None:
    lines = describe_end(ended(history(6.6, 25_757_820.0)), "karts")
    assert "round 1 of 2" in lines[0]
    assert "ends at 25,757,820, worse than predicting the mean (3): lower --learning-rate" in lines[1]
    assert not any("worse" in line for line in describe_end(ended(history(2.0, 2.9)), "karts"))


def test_the_first_of_equal_rounds_is_the_one_that_was_kept() -> None:
    assert best_round([{"score": 1.0}, {"score": math.nan}, {"score": 2.0}, {"score": 2.0}]) == 3
    assert best_round([{"score": math.nan}, {}]) is None


def test_an_interruption_says_truly_what_is_kept() -> None:
    assert describe_interrupted(CONFIG, []).startswith("nothing is kept yet: the first round ends after step 200.")
    assert describe_interrupted(CONFIG, history(2.0, 1.0, 1.5)).startswith(
        "3 of 10 rounds are kept; run/best is round 2"
    )
    part = describe_interrupted(CONFIG, [], best_is_part=True)
    assert part == (
        "run/best is what was learnt up to now, but the same command begins again: the first round ends after step "
        "200. Lower --steps-per-round to go on sooner"
    )
    part = describe_interrupted(CONFIG, history(2.0, 1.0, 1.5), best_is_part=True)
    assert part == "run/best is what was learnt up to now; the same command goes on after 3 of 10 rounds"


@pytest.mark.parametrize(
    ("done", "step_s", "said"),
    [
        (4, 12.5, "about 6.9 hours for 1996 steps, 12 s each, .* this round is kept after about 41 minutes"),
        (4, 0.1, "about 3 minutes for 1996 steps, 0.1 s each, .* after about 20 seconds"),
        (1804, 0.1, "about 20 seconds for 196 steps, .* after about 20 seconds"),
    ],
)
def test_an_estimate_counts_what_is_left(done: int, step_s: float, said: str) -> None:
    assert re.match(said, describe_estimate(CONFIG, done, step_s))


def test_body_and_picture_are_those_of_the_weights_to_begin_from() -> None:
    like = ModelSpec("tiny", "pilotnet", "carracing", 160, 90)
    plain = FitSettings((Path("data"),), Path("run"), init="model")
    begun = plain.config(like)
    assert (begun.backbone, begun.width_px, begun.height_px) == ("pilotnet", 160, 90)
    without = plain.config()
    assert (without.backbone, without.width_px, without.height_px) == ("xception", 480, 270)
    larger = FitSettings((Path("data"),), Path("run"), init="model", width_px=240, height_px=135).config(like)
    assert (larger.backbone, larger.width_px, larger.height_px) == ("pilotnet", 240, 135)
    other = FitSettings((Path("data"),), Path("run"), init="model", backbone="xception")
    with pytest.raises(TrainingError, match="--init model is of the backbone pilotnet, and --backbone is xception"):
        other.config(like)


def settings(**named: Any) -> FitSettings:
    return FitSettings((Path("data"),), Path("run"), **named)


def test_history_is_that_of_the_weights_to_begin_from() -> None:
    like = ModelSpec("tiny", "pilotnet", "carracing", 160, 90, stack=Stack(4, 3))
    assert settings(init="model").config(like).stack == Stack(4, 3)
    assert settings(init="model", history=4, history_ticks=5).config(like).stack == Stack(4, 5), "weights fit any"
    assert settings().config().stack is None
    assert settings(minutes=5).config().stack is None
    assert settings(history=4).config().stack == Stack(4, 2)
    assert settings(history=MAX_STACK, history_ticks=MAX_STACK_TICKS).config().stack is not None


@pytest.mark.parametrize(
    ("like", "named", "message"),
    [
        (None, {"history": MAX_STACK + 1}, "history: 17 is out of range, expected a whole number from 1 to 16"),
        (None, {"history": 0}, "history: 0 is out of range"),
        (None, {"history": 2, "history_ticks": 1001}, "history_ticks: 1001 is out of range"),
        (None, {"history_ticks": 3}, "the network sees one: say how many with --history"),
        (None, {"init": "imagenet", "history": 4}, "imagenet has seen one picture at a time.*Leave --history out"),
        (1, {"init": "model", "history": 4}, "--init model has --history 1, and 4 is asked for.*--init none"),
        (4, {"init": "model", "history": 1}, "--init model has --history 4, and 1 is asked for"),
    ],
)
def test_a_history_that_cannot_be_is_refused_in_one_line(like: int | None, named: dict[str, Any], message: str) -> None:
    spec = ModelSpec("tiny", "pilotnet", "carracing", stack=Stack(like) if like != 1 else None) if like else None
    with pytest.raises((TrainingError, SettingsError), match=message) as caught:
        settings(**named).config(spec)
    assert "\n" not in str(caught.value)


def test_live_training_refuses_weights_of_several_pictures_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS_FILE).touch()
    (tmp_path / SPEC_FILE).write_text(ModelSpec("tiny", "pilotnet", "carracing", stack=Stack(4)).to_json())
    with pytest.raises(TrainingError, match="sees 4 pictures at once, and live training is for networks of one"):
        learn_live(LiveSettings(init=str(tmp_path), out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_folder_whose_replacement_was_cut_short_is_put_back(tmp_path: Path) -> None:
    (tmp_path / "best.old").mkdir()
    restore_folder(tmp_path / "best")
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
    (tmp_path / "best.old").mkdir()
    restore_folder(tmp_path / "best")
    assert len(list(tmp_path.iterdir())) == 2, "the newer one stays"


def test_the_settings_of_a_run_are_json(tmp_path: Path) -> None:
    assert json.loads(CONFIG.to_json())["own_driving"] is False
