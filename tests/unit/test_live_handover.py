"""Weights handed over: a numbered folder, whole or not there; the newest is taken, and checked before it drives."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from agent.contract.errors import EngineError, WeightsError
from agent.engines.registry import load_engine
from agent.policies.base import Policy
from agent.policies.stacked import policy_for
from tests.small_model import SPEC, write_model
from training.live.handover import KEPT, NOTE, PROBE, Handover, check_probe, hand_over, newest, read_handover

PROBE_PICTURE = np.random.default_rng(3).integers(0, 256, (SPEC.height_px, SPEC.width_px, 3), np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def policy_of(folder: Path) -> Policy:
    return policy_for(load_engine("openvino", folder, 1))


def give(folder: Path, model: Path, number: int = 1, probe: tuple[float, ...] | None = None) -> Path:
    if probe is None:
        probe = tuple(load_engine("openvino", model, 1).infer(PROBE_PICTURE).tolist())
    made = Handover(number, 100 * number, 5000, float("nan"), 0.0, probe)
    return hand_over(folder, made, PROBE_PICTURE, lambda target: shutil.copytree(model, target, dirs_exist_ok=True))


def test_the_newest_weights_are_found_and_answer_as_the_trainer_says(tmp_path: Path, model: Path) -> None:
    assert newest(tmp_path) is None
    first = give(tmp_path, model, 9)
    second = give(tmp_path, model, 10)
    assert newest(tmp_path) == second != first
    handover = read_handover(second)
    assert (handover.round, handover.steps, np.isnan(handover.validation_loss)) == (10, 1000, True)
    check_probe(second, policy_of(second))


def test_weights_that_answer_otherwise_do_not_drive(tmp_path: Path, model: Path) -> None:
    given = give(tmp_path, model, probe=(0.9, 0.9, 0.9))
    with pytest.raises(EngineError, match="to the known picture"):
        check_probe(given, policy_of(given))


@pytest.mark.parametrize("name", [NOTE, PROBE])
def test_a_note_or_a_picture_that_is_missing_is_an_error(tmp_path: Path, model: Path, name: str) -> None:
    given = give(tmp_path, model)
    policy = policy_of(given)
    (given / name).unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        check_probe(given, policy)


def test_only_the_newest_folders_are_kept(tmp_path: Path, model: Path) -> None:
    for number in range(1, KEPT + 4):
        give(tmp_path, model, number)
    names = sorted(path.name for path in (tmp_path / "weights").iterdir())
    assert names == [f"{number:06d}" for number in range(4, KEPT + 4)]


def test_a_disk_that_is_full_leaves_the_weights_before(tmp_path: Path, model: Path) -> None:
    given = give(tmp_path, model, 1)

    def full(target: Path) -> None:
        (target / "weights.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        hand_over(tmp_path, Handover(2, 200, 0, 0.1, 0.0, (0.0,)), PROBE_PICTURE, full)
    assert newest(tmp_path) == given
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["000001"]
