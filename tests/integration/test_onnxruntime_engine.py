"""The engine on ONNX Runtime: the same predictions as OpenVINO, with memory bound once, and no device by mistake."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from deferred import Deferred

from agent.contract.errors import EngineError, WeightsError
from agent.contract.spec import (
    GRAPH_FILE,
    INT8_GRAPH_FILE,
    INT8_WEIGHTS_FILE,
    PROBE_FILE,
    SPEC_FILE,
    STEERING_THROTTLE_BRAKE,
    WEIGHTS_FILE,
    ModelSpec,
)

pytestmark = pytest.mark.thorough

keras = Deferred("keras")
onnxruntime = Deferred("onnxruntime")
OnnxRuntimeEngine = Deferred("agent.engines.onnxruntime:OnnxRuntimeEngine")
OpenVinoEngine = Deferred("agent.engines.openvino:OpenVinoEngine")
export_model = Deferred("training.exporting.export:export_model")
quantize_model = Deferred("training.exporting.quantize:quantize_model")

HEIGHT_PX, WIDTH_PX = 40, 64


def pictures(count: int, seed: int) -> npt.NDArray[np.uint8]:
    """Coarse random patches under fine noise."""
    generator = np.random.default_rng(seed)
    coarse = np.kron(generator.uniform(0, 255, (count, 4, 4, 3)), np.ones((1, HEIGHT_PX // 4, WIDTH_PX // 4, 1)))
    return np.clip(coarse + generator.normal(0, 20, coarse.shape), 0, 255).astype(np.uint8)


def separable_network() -> Any:
    """Two separable stages in a row: the kind of layer whose quantisation ONNX Runtime is particular about."""
    layers = keras.layers
    observation = keras.Input((HEIGHT_PX, WIDTH_PX, 3), name="observation")
    body = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(observation)
    body = layers.Conv2D(16, 3, strides=2, use_bias=False, name="first")(body)
    for name in ("one", "two"):
        body = layers.BatchNormalization(name=f"{name}_bn")(body)
        body = layers.Activation("relu", name=f"{name}_act")(body)
        body = layers.SeparableConv2D(24, 3, padding="same", use_bias=False, name=name)(body)
    body = layers.GlobalAveragePooling2D(name="average")(body)
    return keras.Model(
        observation, {output.name: layers.Dense(1, name=output.name)(body) for output in STEERING_THROTTLE_BRAKE}
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with float and int8 weights; nobody writes to it."""
    made = tmp_path_factory.mktemp("separable")
    keras.utils.set_random_seed(3)
    model = separable_network()
    model(pictures(32, 1), training=True)
    spec = ModelSpec(name="tiny", backbone="small", game="carracing", height_px=HEIGHT_PX, width_px=WIDTH_PX)
    export_model(model, spec, made)
    quantize_model(made, pictures(32, 2), pictures(16, 3), lambda _: None)
    return made


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_float_predictions_are_openvinos(folder: Path) -> None:
    engine, other = OnnxRuntimeEngine(folder), OpenVinoEngine(folder)
    expected = np.stack([other.infer(each) for each in pictures(4, 4)])
    assert expected.std(axis=0).min() > 1e-3, "pictures that all look the same to the network prove nothing"
    np.testing.assert_allclose([engine.infer(each) for each in pictures(4, 4)], expected, atol=1e-5)
    assert engine.name == "onnxruntime"


def test_int8_predictions_are_near_openvinos_and_are_not_the_float_ones(folder: Path) -> None:
    engine, other, exact = OnnxRuntimeEngine(folder, "int8"), OpenVinoEngine(folder, "int8"), OpenVinoEngine(folder)
    unseen = pictures(8, 4)
    predicted = np.stack([engine.infer(each) for each in unseen])
    assert engine.name == "onnxruntime-int8"
    np.testing.assert_allclose(predicted, [other.infer(each) for each in unseen], atol=0.02)
    assert np.abs(predicted - [exact.infer(each) for each in unseen]).max() > 1e-5


def test_int8_convolutions_that_hand_on_int8_are_executed_in_int8(folder: Path, tmp_path: Path) -> None:
    written = tmp_path / "optimised.onnx"
    probe = (
        "import sys, onnx, onnxruntime as ort\n"
        "from pathlib import Path\n"
        "make = ort.SessionOptions\n"
        "def options():\n"
        f"    made = make(); made.optimized_model_filepath = {str(written)!r}; return made\n"
        "ort.SessionOptions = options\n"
        "from agent.engines.onnxruntime import OnnxRuntimeEngine\n"
        f"OnnxRuntimeEngine(Path({str(folder)!r}), 'int8')\n"
        f"print(*sorted(node.op_type for node in onnx.load({str(written)!r}, load_external_data=False).graph.node))\n"
    )
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    operations = run.stdout.split()
    # The first one's result is quantised again. The pointwise ones hand on float to a float depthwise stage or to the
    # average, which ONNX Runtime has no kernel for: it computes them in float from the rounded weights.
    assert operations.count("QLinearConv") == 1, operations


def test_a_prediction_and_an_observation_are_the_callers_own(folder: Path) -> None:
    engine = OnnxRuntimeEngine(folder)
    first, second = pictures(2, 4)
    kept_observation = first.copy()
    before = engine.infer(first)
    kept = before.copy()
    engine.infer(second)
    assert np.array_equal(before, kept)
    assert np.array_equal(first, kept_observation)
    assert np.array_equal(engine.infer(first), kept)


def test_another_observation_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \(40, 64, 3\)"):
        OnnxRuntimeEngine(folder).infer(np.zeros((40, 64, 4), np.uint8))


def test_a_closed_engine_says_so(folder: Path) -> None:
    engine = OnnxRuntimeEngine(folder)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="onnxruntime engine is closed"):
        engine.infer(pictures(1, 4)[0])


@pytest.mark.parametrize(
    ("precision", "name"),
    [
        ("f32", WEIGHTS_FILE),
        ("f32", GRAPH_FILE),
        ("int8", INT8_WEIGHTS_FILE),
        ("int8", INT8_GRAPH_FILE),
        ("int8", PROBE_FILE),
    ],
)
def test_damaged_files_are_refused_by_name(copy: Path, precision: Any, name: str) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(WeightsError, match=f"{name} has SHA-256"):
        OnnxRuntimeEngine(copy, precision)


def test_a_probe_of_any_size_is_not_read(copy: Path) -> None:
    with (copy / PROBE_FILE).open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(WeightsError, match=f"{PROBE_FILE} cannot be read .* more than the 50000000 that are read"):
        OnnxRuntimeEngine(copy, "int8")


def test_a_spec_of_another_network_is_refused(copy: Path) -> None:
    spec = replace(ModelSpec.load(copy), width_px=96)
    (copy / SPEC_FILE).write_text(spec.to_json())
    with pytest.raises(WeightsError, match="different exports"):
        OnnxRuntimeEngine(copy)


def test_damage_that_the_checksums_vouch_for_is_one_line(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (copy / WEIGHTS_FILE).write_bytes((copy / WEIGHTS_FILE).read_bytes()[:1000])
    spec = ModelSpec.load(copy)
    checksum = hashlib.sha256((copy / WEIGHTS_FILE).read_bytes()).hexdigest()
    (copy / SPEC_FILE).write_text(replace(spec, sha256=spec.sha256 | {WEIGHTS_FILE: checksum}).to_json())
    with pytest.raises(WeightsError, match=str(copy)) as caught:
        OnnxRuntimeEngine(copy)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == "", "something told of it by itself as well"


def test_wrong_int8_arithmetic_is_refused(copy: Path) -> None:
    spec = ModelSpec.load(copy)
    assert spec.quantization is not None
    other = spec.quantization.probe | {"brake": spec.quantization.probe["brake"] + 0.06}
    (copy / SPEC_FILE).write_text(replace(spec, quantization=replace(spec.quantization, probe=other)).to_json())
    with pytest.raises(EngineError, match="onnxruntime-int8 computes int8 wrongly on this machine: brake"):
        OnnxRuntimeEngine(copy, "int8")


@pytest.mark.parametrize(
    ("device", "package"), [("cuda", "onnxruntime-gpu"), ("directml", "onnxruntime-directml"), ("coreml", "macOS")]
)
def test_a_device_that_the_package_lacks_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, device: Any, package: str
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(EngineError, match=rf"has no .*ExecutionProvider.*{package}"):
        OnnxRuntimeEngine(folder, device=device)


def test_a_device_that_does_not_start_is_refused_rather_than_replaced_by_the_cpu(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    make = onnxruntime.InferenceSession

    def fall_back(path: Path, options: Any, providers: list[str]) -> Any:
        assert providers == ["CUDAExecutionProvider"]
        return make(path, options, ["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", fall_back)
    with pytest.raises(EngineError, match="could not start CUDAExecutionProvider"):
        OnnxRuntimeEngine(folder, device="cuda")


def test_threads_do_not_spin_and_are_as_many_as_told(folder: Path) -> None:
    options = OnnxRuntimeEngine(folder, threads=1)._session.get_session_options()
    assert options.intra_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL


def test_importing_it_imports_no_training_library() -> None:
    heavy = {"tensorflow", "keras", "onnx", "nncf", "openvino", "training"}
    probe = f"import sys, agent.engines.onnxruntime; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, env=dict(os.environ))
    assert run.returncode == 0, f"importing the engine pulled in {run.stderr.strip()}"
