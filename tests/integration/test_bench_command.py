"""The whole benchmark on the shipped weights, one round of it, and the baselines it compares with."""

import json
from pathlib import Path

import numpy as np
import pytest
from deferred import Deferred

from agent.cli import main
from agent.engines.model_folder.opening import open_model_folder
from agent.measuring.bench import make_baseline
from agent.measuring.peak import PeakPass

pytestmark = pytest.mark.thorough

OpenVinoEngine = Deferred("agent.engines.openvino:OpenVinoEngine")

MODEL = Path(__file__).parents[2] / "model_weights" / "carracing"


def test_one_round_measures_every_stage_and_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--engines", "openvino,openvino-int8", "--rounds", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [engine["name"] for engine in report["engines"]] == ["openvino", "openvino-int8"]
    for engine in report["engines"]:
        assert engine["stages"].keys() == {"capture", "preprocess", "infer", "map", "send"}
        assert engine["startup_s"] > engine["stages"]["infer"]["median_s"] > 0
        assert engine["decision"]["median_s"] >= engine["stages"]["infer"]["median_s"]
        assert engine["limit_share"] > 0
    assert report["floor_s"]["int8"] == pytest.approx(report["multiply_adds"] / report["peak_per_s"]["int8"])


def test_the_full_network_has_the_multiply_adds_that_are_claimed() -> None:
    assert open_model_folder(MODEL).multiply_adds == pytest.approx(11.85e9, rel=1e-3)


@pytest.mark.parametrize("name", ["keras-predict", "tf-function"])
def test_a_baseline_predicts_what_the_engine_predicts(name: str) -> None:
    observation = np.random.default_rng(0).integers(0, 256, (270, 480, 3), np.uint8)
    baseline = make_baseline(name, MODEL, None)
    np.testing.assert_allclose(baseline.infer(observation), OpenVinoEngine(MODEL).infer(observation), atol=1e-4)
    baseline.close()


@pytest.mark.slow
def test_beside_the_game_its_own_rate_is_reported_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--engines", "openvino-int8", "--rounds", "2", "--threads", "1", "--beside-game"]) == 0
    text = capsys.readouterr().out
    assert "frames/s" in text
    assert "the game alone: " in text
    assert main(["bench", "--engines", "openvino-int8", "--rounds", "2", "--beside-game", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (engine,) = report["engines"]
    assert 0 < engine["game_frames_per_s"] < 60
    assert 0 < report["game_alone_frames_per_s"] < 60, "it is a real-time game of 50 pictures a second"


def test_the_limit_is_measured_on_ordinary_numbers() -> None:
    picture = PeakPass("f32")._request.get_input_tensor().data
    assert float(np.abs(picture).mean()) == pytest.approx(0.8, abs=0.05), "not on what the memory held before"
