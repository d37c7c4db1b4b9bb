"""A network that sees several pictures, from building it to driving by it, through the engines."""

import io
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.contract.controls import Controls
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.reading import Episode
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.errors import WeightsError
from agent.contract.observation import Frame
from agent.contract.spec import SPEC_FILE, ModelSpec, Stack
from agent.engines.base import Engine
from agent.engines.openvino import OpenVinoEngine
from agent.games.carracing import PROFILE, CarRacing
from agent.observers.base import TickObserver
from agent.observers.show_input import ShowInput
from agent.observers.status import StatusLine
from agent.policies.base import untimed
from agent.policies.stacked import policy_for
from agent.sessions.evaluation import evaluate_policy
from agent.system.pacing import TickStats
from tests.deferred import Deferred
from training.fitting.config import FitConfig
from training.fitting.settings import FitSettings

pytestmark = pytest.mark.thorough

load_weights = Deferred("training.network.weights_file:load_weights")
TensorFlowEngine = Deferred("training.engines.keras_network:TensorFlowEngine")
fit = Deferred("training.fitting.fit:fit")
export_model = Deferred("training.exporting.export:export_model")
build_network = Deferred("training.network.build:build_network")
SPEC = ModelSpec("tiny", "pilotnet", "carracing", width_px=97, height_px=54, rate_hz=25.0, stack=Stack(4, 2))


def load_onnxruntime(folder: Path) -> Engine:
    pytest.importorskip("onnxruntime")
    from agent.engines.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network of twelve channels."""
    import keras

    keras.utils.set_random_seed(3)
    model = build_network("pilotnet", SPEC.height_px, SPEC.width_px, SPEC.outputs, pictures=4)
    folder = tmp_path_factory.mktemp("stacked")
    export_model(model, SPEC, folder)
    return folder


def test_the_folder_says_what_the_network_sees(folder: Path) -> None:
    spec = ModelSpec.load(folder)
    assert spec.stack == Stack(4, 2)
    assert spec.observation_shape == (54, 97, 12)
    assert '"every_ticks": 2' in (folder / SPEC_FILE).read_text()


@pytest.mark.parametrize("load", [OpenVinoEngine, TensorFlowEngine, load_onnxruntime])
def test_engines_give_what_keras_gives_to_the_stacked_pictures(load: Callable[[Path], Engine], folder: Path) -> None:
    import keras

    model = build_network("pilotnet", SPEC.height_px, SPEC.width_px, SPEC.outputs, pictures=4)
    load_weights(model, folder / "weights.safetensors")
    pictures = np.random.default_rng(0).integers(0, 256, (9, 54, 97, 3), np.uint8)
    with closing(policy_for(load(folder))) as policy:
        for tick, shown in enumerate(pictures):
            decision = policy.decide(Frame(shown[..., ::-1].copy(), tick * 40_000_000, tick), untimed)
    stacked = np.concatenate([pictures[tick] for tick in (2, 4, 6, 8)], axis=2)
    np.testing.assert_array_equal(decision.observation, stacked)
    heads = model(keras.ops.convert_to_tensor(stacked[np.newaxis]))
    expected = [float(heads[name][0, 0]) for name in SPEC.output_names]
    np.testing.assert_allclose(decision.prediction, expected, atol=1e-4)
    other_order = model(keras.ops.convert_to_tensor(np.concatenate(pictures[[8, 6, 4, 2]], axis=2)[np.newaxis]))
    assert abs(float(other_order["steering"][0, 0]) - expected[0]) > 1e-4, "the order is seen"


def test_a_stacked_network_drives_the_real_game_and_shows_what_it_sees(folder: Path, tmp_path: Path) -> None:
    shown = tmp_path / "input.png"

    def observers_for(seed: int) -> list[TickObserver]:
        return [StatusLine(TickStats(0.04), io.StringIO()), ShowInput(shown)]

    with closing(policy_for(OpenVinoEngine(folder, threads=1))) as policy:
        reports = [
            evaluate_policy(lambda: CarRacing(episode_ticks=30), policy, [5_000], observers_for=observers_for)
            for _ in range(2)
        ]
    assert reports[0] == reports[1]
    assert reports[0].tracks[0].problems == ()
    assert cv2.imread(str(shown)).shape == (54, 4 * 97, 3)


def test_a_network_of_one_picture_is_not_taken_for_one_of_several(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / SPEC_FILE).write_text(replace(ModelSpec.load(folder), stack=Stack(2)).to_json())
    with pytest.raises(WeightsError, match=r"\(1, 54, 97, 12\).*\(1, 54, 97, 6\)"):
        OpenVinoEngine(tmp_path)


def record(path: Path, rows: int) -> Path:
    """Write an episode of coarse noise, with a gap of a second after 20 rows and telemetry."""
    rng = np.random.default_rng(rows)
    with EpisodeWriter(path, EpisodeHeader("carracing", "test", PROFILE.rate_hz)) as writer:
        for index in range(rows):
            pixels = np.kron(rng.integers(0, 256, (8, 10, 3)), np.ones((10, 10, 1))).astype(np.uint8)
            shown = Frame(pixels, index * 40_000_000 + (1_000_000_000 if index > 20 else 0), index)
            controls = Controls(float(rng.uniform(-1, 1)), float(rng.uniform(0, 1)), 0.0)
            writer.write(EpisodeRow(shown, controls, controls, speed=float(index)))
    return path


@pytest.mark.usefixtures("eagerly")
def test_what_is_trained_on_stacks_drives_by_them(tmp_path: Path) -> None:
    import keras

    paths = [record(tmp_path / "data" / f"{rows}.parquet", rows) for rows in (30, 40)]
    config = FitConfig.debug((tmp_path / "data",), tmp_path / "run")
    config = replace(config, width_px=60, height_px=34, history=4, colours=0.5, erase=1)
    said: list[str] = []
    result = fit(config, PROFILE, report=said.append, verbose=0)
    assert "a sample is 4 pictures, 80 ms apart" in said
    assert [row["step"] for row in result.history] == [1, 2]
    spec = ModelSpec.load(result.model)
    assert spec.stack == Stack(4, 2)
    model = build_network("pilotnet", 34, 60, spec.outputs, pictures=4)
    load_weights(model, result.model / "weights.safetensors")
    with closing(policy_for(OpenVinoEngine(result.model, threads=1))) as policy:
        decisions = [policy.decide(frame, untimed) for frame in Episode.open(paths[1]).frames()]
    assert len({decision.prediction.tobytes() for decision in decisions}) > 30
    heads = model(keras.ops.convert_to_tensor(np.stack([decision.observation for decision in decisions])))
    expected = np.concatenate([keras.ops.convert_to_numpy(heads[name]) for name in spec.output_names], axis=1)
    np.testing.assert_allclose([decision.prediction for decision in decisions], expected, atol=1e-4)
    # The same command goes on, and another run begins from it with the history of its weights.
    assert fit(config, PROFILE, report=said.append, verbose=0).history == result.history
    begun = FitSettings(config.data, tmp_path / "next", init=str(result.model / "weights.safetensors"))
    assert begun.config(spec).stack == Stack(4, 2)
