"""One behaviour suite over all engines, and what each adds to it."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from deferred import Deferred

from agent.contract.controls import Controls
from agent.contract.errors import AgentError, EngineError, SpecError, WeightsError
from agent.contract.spec import GRAPH_FILE, SPEC_FILE, WEIGHTS_FILE, ModelSpec, OutputSpec
from agent.engines.base import Engine
from agent.engines.constant import ConstantEngine

pytestmark = pytest.mark.thorough

keras = Deferred("keras")
OpenVinoEngine = Deferred("agent.engines.openvino:OpenVinoEngine")
TensorFlowEngine = Deferred("training.engines.keras_network:TensorFlowEngine")
export_model = Deferred("training.exporting.export:export_model")
build_network = Deferred("training.network.build:build_network")
named_variables = Deferred("training.network.weights_file:named_variables")

Pictures = npt.NDArray[np.uint8]

SPEC = ModelSpec(name="tiny", backbone="pilotnet", game="carracing", width_px=97, height_px=54)
PREDICTED = Controls(-0.25, 0.75, 0.5)

LOADERS: dict[str, Callable[[Path], Engine]] = {"openvino": OpenVinoEngine, "tensorflow": TensorFlowEngine}
MAKERS: dict[str, Callable[[Path], Engine]] = {**LOADERS, "constant": lambda _: ConstantEngine(SPEC, PREDICTED)}


def randomise(model: Any, generator: np.random.Generator) -> None:
    """Give every variable random values that float16 holds exactly, under which the signal neither dies nor grows."""
    for key, variable in named_variables(model).items():
        shape = tuple(variable.shape)
        match key.rsplit("/", 1)[1]:
            case "moving_variance" | "gamma":
                value = generator.uniform(0.5, 1.5, shape)
            case "moving_mean" | "beta" | "bias":
                value = generator.normal(0, 0.2, shape)
            case _:
                value = generator.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape)
        variable.assign(value.astype(np.float16).astype(np.float32))


def pictures(spec: ModelSpec, count: int) -> Pictures:
    """Coarse random patches under fine noise: pictures that global pooling tells apart."""
    generator = np.random.default_rng(7)
    patches = generator.uniform(0, 255, (count, 4, 6, 3))
    patches *= np.linspace(0.3, 1.2, count)[:, np.newaxis, np.newaxis, np.newaxis]
    rows = np.arange(spec.height_px) * 4 // spec.height_px
    columns = np.arange(spec.width_px) * 6 // spec.width_px
    coarse = patches[:, rows][:, :, columns]
    return np.clip(coarse + generator.normal(0, 20, coarse.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A tiny network with random weights and its folder; nobody writes to it."""
    keras.utils.set_random_seed(1)
    model = build_network("pilotnet", SPEC.height_px, SPEC.width_px)
    randomise(model, np.random.default_rng(1))
    folder = tmp_path_factory.mktemp("tiny")
    export_model(model, SPEC, folder)
    return folder, model


@pytest.fixture
def folder(exported: tuple[Path, Any], tmp_path: Path) -> Path:
    """A copy of the tiny network's folder, to be damaged."""
    return Path(shutil.copytree(exported[0], tmp_path / "model"))


@pytest.fixture(params=MAKERS)
def engine(request: pytest.FixtureRequest, exported: tuple[Path, Any]) -> Iterator[Engine]:
    made = MAKERS[request.param](exported[0])
    yield made
    made.close()


@pytest.fixture(params=LOADERS)
def load(request: pytest.FixtureRequest) -> Callable[[Path], Engine]:
    return LOADERS[request.param]


# --- the suite -------------------------------------------------------------------------------------------------------


def test_predictions_have_the_specs_outputs(engine: Engine) -> None:
    prediction = engine.infer(pictures(SPEC, 1)[0])
    assert prediction.shape == (len(engine.spec.outputs),) == (3,)
    assert prediction.dtype == np.float32
    assert np.isfinite(prediction).all()


def test_the_same_observation_gives_the_same_prediction_whatever_came_between(engine: Engine) -> None:
    first, second = pictures(SPEC, 2)
    before = engine.infer(first)
    kept = before.copy()
    engine.infer(second)
    assert np.array_equal(before, kept), "an earlier prediction changed under its owner's hands"
    assert np.array_equal(engine.infer(first), kept)


def test_an_observation_is_left_as_it_was(engine: Engine) -> None:
    observation = pictures(SPEC, 1)[0]
    kept = observation.copy()
    engine.infer(observation)
    assert np.array_equal(observation, kept)


def test_an_observation_of_any_memory_layout_will_do(engine: Engine) -> None:
    observation = pictures(SPEC, 1)[0]
    strided = np.repeat(observation, 2, axis=1)[:, ::2]
    assert not strided.flags.c_contiguous
    strided.flags.writeable = False
    assert np.array_equal(engine.infer(strided), engine.infer(observation))


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((97, 54, 3), np.uint8), ((54, 97, 4), np.uint8), ((1, 54, 97, 3), np.uint8), ((54, 97, 3), np.float32)],
)
def test_another_observation_is_refused(engine: Engine, shape: tuple[int, ...], dtype: type) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \(54, 97, 3\)"):
        engine.infer(np.zeros(shape, dtype))


def test_closing_twice_is_harmless(engine: Engine) -> None:
    engine.infer(pictures(SPEC, 1)[0])
    engine.close()
    engine.close()


# --- engines that load a folder --------------------------------------------------------------------------------------


def test_predictions_are_keras_own(load: Callable[[Path], Engine], exported: tuple[Path, Any]) -> None:
    folder, model = exported
    observations = pictures(SPEC, 4)
    predicted = model(observations, training=False)
    expected = np.concatenate([np.asarray(predicted[name]) for name in SPEC.output_names], axis=1)
    assert expected.std(axis=0).min() > 0.01, "pictures that all look the same to the network prove nothing"
    engine = load(folder)
    np.testing.assert_allclose([engine.infer(each) for each in observations], expected, atol=1e-5)


def test_all_engines_agree(exported: tuple[Path, Any]) -> None:
    first, second = (load(exported[0]) for load in LOADERS.values())
    for observation in pictures(SPEC, 4):
        np.testing.assert_allclose(first.infer(observation), second.infer(observation), atol=1e-5)


def test_a_closed_engine_says_so(load: Callable[[Path], Engine], exported: tuple[Path, Any]) -> None:
    engine = load(exported[0])
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.infer(pictures(SPEC, 1)[0])


@pytest.mark.parametrize("name", [WEIGHTS_FILE, GRAPH_FILE])
@pytest.mark.parametrize("damage", ["missing", "truncated", "changed"])
def test_damaged_files_are_refused_by_name(
    load: Callable[[Path], Engine], folder: Path, name: str, damage: str
) -> None:
    content = (folder / name).read_bytes()
    if damage == "missing":
        (folder / name).unlink()
    elif damage == "truncated":
        (folder / name).write_bytes(content[: len(content) // 2])
    else:
        (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(WeightsError, match=name):
        load(folder)


def test_a_missing_spec_is_refused(load: Callable[[Path], Engine], folder: Path) -> None:
    (folder / SPEC_FILE).unlink()
    with pytest.raises(SpecError, match=SPEC_FILE):
        load(folder)


@pytest.mark.parametrize("changes", [{"width_px": 96}, {"outputs": (OutputSpec("steering", -1.0, 1.0),)}])
def test_a_spec_of_another_network_is_refused(
    load: Callable[[Path], Engine], folder: Path, changes: dict[str, Any]
) -> None:
    spec = replace(ModelSpec.load(folder), **changes)
    (folder / SPEC_FILE).write_text(spec.to_json())
    with pytest.raises(WeightsError, match="different exports"):
        load(folder)


@pytest.mark.parametrize("name", [WEIGHTS_FILE, GRAPH_FILE])
def test_damage_that_the_checksums_vouch_for_is_an_error_still(
    load: Callable[[Path], Engine], folder: Path, name: str
) -> None:
    content = (folder / name).read_bytes()[:5000]
    (folder / name).write_bytes(content)
    raw = json.loads((folder / SPEC_FILE).read_text())
    raw["sha256"][name] = hashlib.sha256(content).hexdigest()
    (folder / SPEC_FILE).write_text(json.dumps(raw))
    with pytest.raises(AgentError, match=str(folder)):
        load(folder)


# --- one engine each -------------------------------------------------------------------------------------------------


def test_openvino_computes_in_bfloat16_where_the_cpu_can(exported: tuple[Path, Any]) -> None:
    folder = exported[0]
    try:
        engine = OpenVinoEngine(folder, "bf16")
    except EngineError as exc:
        pytest.skip(str(exc))
    exact = OpenVinoEngine(folder)
    assert (exact.name, engine.name) == ("openvino", "openvino-bf16")
    errors = [np.abs(engine.infer(each) - exact.infer(each)).max() for each in pictures(SPEC, 4)]
    assert 1e-5 < max(errors) < 0.05, "no difference at all would mean that it fell back to float32"


def test_openvino_refuses_bfloat16_on_a_cpu_without_it(
    exported: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.engines.openvino.openvino.Core.get_property", lambda *_: ["FP32", "INT8"])
    with pytest.raises(EngineError, match="Use --engine openvino"):
        OpenVinoEngine(exported[0], "bf16")
    OpenVinoEngine(exported[0], "f32").close()


def test_openvino_takes_a_number_of_threads(exported: tuple[Path, Any]) -> None:
    engine = OpenVinoEngine(exported[0], threads=1)
    assert engine._compiled.get_property("INFERENCE_NUM_THREADS") == 1


def test_openvino_leaves_its_threads_to_the_system(exported: tuple[Path, Any]) -> None:
    # Pinned to a core each, they wait there for the game while the other core is free.
    engine = OpenVinoEngine(exported[0])
    assert engine._compiled.get_property("ENABLE_CPU_PINNING") is False


def test_openvino_imports_no_training_library_and_reports_to_nobody(tmp_path: Path) -> None:
    probe = (
        "import sys, agent.engines.openvino;"
        "sys.exit(', '.join({'tensorflow', 'keras', 'onnx', 'training', 'openvino_telemetry'} & set(sys.modules)) or 0)"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    environment.pop("CI", None)  # openvino-telemetry keeps quiet where it sees this
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, f"importing the engine pulled in {run.stderr.strip()}"
    assert list(tmp_path.iterdir()) == [], "importing the engine wrote to the user's home"


def test_tensorflow_refuses_threads_it_can_no_longer_set(exported: tuple[Path, Any]) -> None:
    TensorFlowEngine(exported[0]).close()
    with pytest.raises(EngineError, match="first TensorFlow engine"):
        TensorFlowEngine(exported[0], threads=1)


def test_constant_predicts_the_controls_given() -> None:
    engine = ConstantEngine(SPEC, PREDICTED)
    prediction = engine.infer(pictures(SPEC, 1)[0])
    assert prediction.tolist() == [-0.25, 0.75, 0.5]
    prediction[:] = 9.0
    assert engine.infer(pictures(SPEC, 1)[0]).tolist() == [-0.25, 0.75, 0.5]


def test_constant_predicts_in_the_specs_order() -> None:
    outputs = (OutputSpec("brake", 0.0, 1.0), OutputSpec("steering", -1.0, 1.0))
    engine = ConstantEngine(replace(SPEC, outputs=outputs), PREDICTED)
    assert engine.infer(pictures(SPEC, 1)[0]).tolist() == [0.5, -0.25]


def test_constant_refuses_outputs_that_are_no_controls() -> None:
    with pytest.raises(ValueError, match="'gear' is not a control"):
        ConstantEngine(replace(SPEC, outputs=(OutputSpec("gear", 0.0, 6.0),)), PREDICTED)
