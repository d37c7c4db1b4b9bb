"""A live training's trainer: from rows that are recorded to weights that drive, and on after everything that fails."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from live_kills import RATE_HZ, SPEC, picture, rows

from agent.contract.episodes.columns import EpisodeHeader
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.errors import TrainingError
from agent.contract.observation import Frame
from agent.engines.registry import load_engine
from agent.page.runs import BUFFERS, FED
from agent.policies.base import untimed
from agent.policies.stacked import policy_for
from training.live.config import LiveSettings
from training.live.handover import check_probe, newest, read_handover
from training.live.trainer import EPISODES, RoundEnd, Told, Trainer

pytestmark = pytest.mark.thorough

ROUND = 25


def record(folder: Path, seed: int, count: int = 160) -> None:
    with EpisodeWriter(folder / EPISODES / f"pond-{seed}.parquet", EpisodeHeader("pond", "human", RATE_HZ)) as writer:
        for row in rows(count, seed):
            writer.write(row)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("live")
    record(folder, 1)
    record(folder, 2, 900)
    return folder


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


def make(folder: Path, said: list[str]) -> Trainer:
    settings = LiveSettings(
        game="pond",
        out=folder,
        backbone="pilotnet",  # pictures as small as these have no place for a grid
        width_px=32,
        height_px=16,
        start=100,
        steps_per_round=ROUND,
        batch_size=24,
        warmup_steps=5,
        ema=0.8,
    )
    trainer = Trainer(settings, SPEC, (), said.append)
    while trainer.take_in(100):
        pass
    return trainer


@pytest.fixture(scope="module")
def first(folder: Path, said: list[str]) -> tuple[Trainer, list[RoundEnd]]:
    """Return the trainer after three rounds; building a network takes seconds, so the tests go on with the same."""
    trainer = make(folder, said)
    return trainer, do_rounds(trainer, 3)


@pytest.fixture
def trainer(first: tuple[Trainer, list[RoundEnd]], said: list[str]) -> Trainer:
    said.clear()
    return first[0]


def do_rounds(trainer: Trainer, count: int) -> list[RoundEnd]:
    assert trainer.stock.ready
    ended: list[RoundEnd] = []
    while len(ended) < count:
        end = trainer.step()
        if end is not None:
            ended.append(end)
    return ended


def given_round(folder: Path) -> int:
    weights = newest(folder)
    assert weights is not None
    return read_handover(weights).round


def test_what_is_recorded_becomes_weights_that_drive(first: tuple[Trainer, list[RoundEnd]], folder: Path) -> None:
    trainer, ends = first
    assert ends[-1].row["loss"] < 1.0, "2 is no better than always saying the mean of both outputs"
    assert ends[-1].row["steering_correlation"] > 0.8, "on what is held out"
    assert [end.round for end in ends] == [1, 2, 3]
    given = newest(folder)
    assert given is not None
    policy = policy_for(load_engine("openvino", given, 1))
    check_probe(given, policy)
    left, _ = policy.decide(Frame(picture(-0.8), 0), untimed)
    right, _ = policy.decide(Frame(picture(0.8), 0), untimed)
    policy.close()
    assert left[0] < -0.4
    assert right[0] > 0.4
    assert read_handover(given).samples == trainer.stock.arrived
    assert list((folder / "tensorboard").iterdir())
    fed = json.loads((folder / FED).read_text())
    assert fed["step"] == 3 * ROUND
    assert sum(fed["outputs"]["steering"]["counts"]) == ROUND * 24, "of the last round"


def test_the_state_of_the_buffers_is_written_down_for_the_page(trainer: Trainer, folder: Path) -> None:
    trainer.show_buffers(Told("paused", 2, levels={"steering": 7}, losses={"steering": 0.5}, notes=["x"]))
    told = json.loads((folder / BUFFERS).read_text())
    assert (told["state"], told["round"], told["levels"], told["capacity"]) == ("paused", 2, {"steering": 7}, 25_000)
    assert not {"notes", "losses"} & set(told)


def test_a_round_whose_loss_is_not_a_number_is_thrown_away(
    trainer: Trainer, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = trainer.learner
    done, rate = learner.round, learner.learning_rate
    kept = [weights.copy() for weights in learner.model.get_weights()]
    train_on_batch = learner.model.train_on_batch

    def poisoned(*args: object, **options: object) -> dict[str, float]:
        told: dict[str, float] = train_on_batch(*args, **options)
        learner.model.set_weights([weights * np.nan for weights in learner.model.get_weights()])
        return told | {"steering_loss": float("nan")}

    with monkeypatch.context() as broken:
        broken.setattr(learner.model, "train_on_batch", poisoned)
        assert trainer.step() is None
    assert any("thrown away" in line for line in said)
    assert learner.round == done
    for before, now in zip(kept, learner.model.get_weights(), strict=True):
        assert np.array_equal(before, now)
    assert learner.learning_rate == pytest.approx(rate / 2)
    (end,) = do_rounds(trainer, 1)
    assert (end.round, np.isfinite(end.row["loss"])) == (done + 1, True)


@pytest.mark.parametrize("hand_over", ["better", "always"])
def test_weights_that_judge_worse_are_not_handed_over_unless_asked(
    trainer: Trainer, folder: Path, said: list[str], hand_over: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(trainer.stock.judges) >= 40
    before = given_round(folder)
    monkeypatch.setattr(trainer, "_settings", replace(trainer._settings, hand_over=hand_over))
    average = trainer.learner.average

    def worse(batches: object) -> None:
        average(batches)  # type: ignore[arg-type]
        weights = trainer.learner.averaged.get_weights()
        trainer.learner.averaged.set_weights([-each if each.ndim == 2 else each for each in weights])

    monkeypatch.setattr(trainer.learner, "average", worse)
    (end,) = do_rounds(trainer, 1)
    assert given_round(folder) == (before if hand_over == "better" else end.round)
    assert (end.weights is None) == (hand_over == "better")
    assert any("not handed over" in line for line in said) == (hand_over == "better")


def test_a_full_disk_is_told_once_and_the_training_goes_on(
    trainer: Trainer, folder: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = given_round(folder)

    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("training.live.learner.replace_folder", full)
        broken.setattr("training.live.handover.replace_folder", full)
        ends = do_rounds(trainer, 2)
    assert [end.weights for end in ends] == [None, None]
    assert sum("The training goes on" in line for line in said) == 1
    assert given_round(folder) == before
    (end,) = do_rounds(trainer, 1)
    assert given_round(folder) == end.round


def test_a_trainer_that_was_killed_goes_on_with_its_weights_and_samples(
    trainer: Trainer, folder: Path, said: list[str]
) -> None:
    trainer.step()  # of a round that is not over: what is kept, was kept before
    said.clear()
    again = make(folder, said)
    assert again.learner.round == trainer.learner.round
    assert again.learner.steps == trainer.learner.steps - 1
    assert any(f"goes on after round {trainer.learner.round}" in line for line in said)
    assert len(again.stock) == again.stock.arrived == trainer.stock.arrived, "no row is lost, none comes twice"
    (end,) = do_rounds(again, 1)
    assert end.round == trainer.learner.round + 1
    assert end.row["loss"] < 1.0


def test_a_damaged_checkpoint_says_what_to_do(trainer: Trainer, folder: Path) -> None:
    (folder / "checkpoint" / "state.json").write_text("{}")
    with pytest.raises(TrainingError, match="Delete it"):
        trainer.learner.resume()
