"""int8 weights: near the float ones, tied to them by the spec, and refused where a machine computes them wrongly."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from deferred import Deferred
from safetensors.numpy import load_file

from agent.contract.errors import EngineError, SpecError, TrainingError, WeightsError
from agent.contract.spec import (
    GRAPH_FILE,
    INT8_GRAPH_FILE,
    INT8_WEIGHTS_FILE,
    PROBE_FILE,
    SPEC_FILE,
    STEERING_THROTTLE_BRAKE,
    WEIGHTS_FILE,
    ModelSpec,
    Quantization,
    Stack,
)
from agent.engines.choice import candidates

pytestmark = pytest.mark.thorough

keras = Deferred("keras")
onnx = Deferred("onnx")
openvino = Deferred("openvino")
OnnxRuntimeEngine = Deferred("agent.engines.onnxruntime:OnnxRuntimeEngine")
OpenVinoEngine = Deferred("agent.engines.openvino:OpenVinoEngine")
export_model = Deferred("training.exporting.export:export_model")
approve_int8 = Deferred("training.exporting.quantize:approve_int8")
quantize_model = Deferred("training.exporting.quantize:quantize_model")

ROOT = Path(__file__).parents[2]
HEIGHT_PX, WIDTH_PX = 40, 64
INT8_FILES = (INT8_WEIGHTS_FILE, INT8_GRAPH_FILE, PROBE_FILE)


def pictures(count: int, seed: int) -> npt.NDArray[np.uint8]:
    """Coarse random patches under fine noise, none of them fully white."""
    generator = np.random.default_rng(seed)
    coarse = np.kron(generator.uniform(0, 200, (count, 4, 4, 3)), np.ones((1, HEIGHT_PX // 4, WIDTH_PX // 4, 1)))
    return np.clip(coarse + generator.normal(0, 20, coarse.shape), 0, 210).astype(np.uint8)


def small_network(pictures_at_once: int = 1) -> Any:
    """Xception's kinds of layers in the small: a beginning without padding, separable stages, a strided shortcut."""
    layers = keras.layers
    observation = keras.Input((HEIGHT_PX, WIDTH_PX, 3 * pictures_at_once), name="observation")
    body = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(observation)
    body = layers.Conv2D(16, 3, strides=2, use_bias=False, name="first")(body)
    body = layers.BatchNormalization(name="first_bn")(body)
    body = layers.Activation("relu", name="first_act")(body)
    shortcut = layers.Conv2D(32, 1, strides=2, padding="same", use_bias=False, name="shortcut")(body)
    body = layers.SeparableConv2D(32, 3, padding="same", use_bias=False, name="separable")(body)
    body = layers.BatchNormalization(name="separable_bn")(body)
    body = layers.MaxPooling2D(3, strides=2, padding="same", name="pool")(body)
    body = layers.Add(name="add")([body, shortcut])
    body = layers.GlobalAveragePooling2D(name="average")(body)
    heads = {spec.name: layers.Dense(1, name=spec.name)(body) for spec in STEERING_THROTTLE_BRAKE}
    return keras.Model(observation, heads)


@pytest.fixture(scope="module")
def a_log_handler() -> Iterator[logging.Handler]:
    """Another program's handler on the quantising library's logger, as pytest itself puts one there."""
    handler = logging.NullHandler(logging.DEBUG)
    logging.getLogger("nncf").addHandler(handler)
    yield handler
    logging.getLogger("nncf").removeHandler(handler)


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory, a_log_handler: logging.Handler) -> Path:
    """A model folder with float and int8 weights."""
    folder = tmp_path_factory.mktemp("quantized")
    keras.utils.set_random_seed(3)
    model = small_network()
    model(pictures(32, 1), training=True)
    spec = ModelSpec(name="tiny", backbone="small", game="carracing", height_px=HEIGHT_PX, width_px=WIDTH_PX)
    export_model(model, spec, folder)
    said: list[str] = []
    report = quantize_model(folder, pictures(32, 2), pictures(16, 3), said.append)
    assert said
    assert report.convolutions == 4
    assert report.float_layers == ()
    return folder


@pytest.fixture
def copy(quantized: Path, tmp_path: Path) -> Path:
    for path in quantized.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def differences(folder: Path, observations: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    exact, coarse = OpenVinoEngine(folder), OpenVinoEngine(folder, "int8")
    return np.stack([coarse.infer(each) - exact.infer(each) for each in observations])


def has_dot_products() -> bool:
    """Return whether this processor multiplies and adds bytes in one instruction (VNNI, AMX)."""
    cpuinfo = Path("/proc/cpuinfo")
    return not cpuinfo.exists() or any(name in cpuinfo.read_text() for name in ("avx512_vnni", "avx_vnni", "amx_int8"))


def test_int8_predictions_are_near_the_float_ones_but_not_the_same(quantized: Path) -> None:
    unseen = pictures(16, 4)
    exact = OpenVinoEngine(quantized)
    spread = np.stack([exact.infer(each) for each in unseen]).std(axis=0)
    error = np.abs(differences(quantized, unseen)).mean(axis=0)
    assert np.all(error > 0)
    # Without 8-bit dot products the sums are rounded on the way: 0.131 of the spread on an AMD EPYC with AVX2 alone.
    assert np.all(error < (0.1 if has_dot_products() else 0.2) * spread)


def test_a_network_of_several_pictures_is_quantised_on_stacks(tmp_path: Path) -> None:
    keras.utils.set_random_seed(3)
    model = small_network(pictures_at_once=2)
    stacks = np.concatenate([pictures(48, 1), pictures(48, 2)], axis=3)
    model(stacks[:32], training=True)
    spec = ModelSpec("tiny", "small", "carracing", WIDTH_PX, HEIGHT_PX, stack=Stack(2))
    export_model(model, spec, tmp_path)
    written = quantize_model(tmp_path, stacks[:32], stacks[32:40], lambda line: None).spec
    assert written.stack == Stack(2)
    assert written.quantization is not None
    shown = cv2.cvtColor(cv2.imread(str(tmp_path / PROBE_FILE)), cv2.COLOR_BGR2RGB)
    assert np.array_equal(shown, stacks[32, ..., 3:]), "the newest picture"
    engine = OpenVinoEngine(tmp_path, "int8")  # which answers to that picture twice as it should
    answer = engine.infer(np.tile(shown, 2))
    assert answer == pytest.approx(list(written.quantization.probe.values()), abs=1e-2)
    spread = np.stack([OpenVinoEngine(tmp_path).infer(each) for each in stacks[40:]]).std(axis=0)
    error = np.abs(differences(tmp_path, stacks[40:])).mean(axis=0)
    assert np.all(error < (0.1 if has_dot_products() else 0.2) * spread)


def test_quantising_leaves_the_log_handlers_of_others_as_they_were(
    quantized: Path, a_log_handler: logging.Handler
) -> None:
    assert logging.getLogger("nncf").level == logging.ERROR
    assert a_log_handler.level == logging.DEBUG


def test_a_brighter_picture_than_any_calibrated_on_is_not_clipped(quantized: Path) -> None:
    # Calibration saw bytes up to 210; a range of bytes scaled to that would turn 255 into 210.
    bright = np.full((1, HEIGHT_PX, WIDTH_PX, 3), 255, np.uint8)
    dimmed = np.full((1, HEIGHT_PX, WIDTH_PX, 3), 210, np.uint8)
    engine = OpenVinoEngine(quantized, "int8")
    assert np.abs(engine.infer(bright[0]) - engine.infer(dimmed[0])).max() > 1e-3


def test_what_rounding_does_to_all_pictures_alike_is_taken_out(quantized: Path) -> None:
    calibrated = pictures(32, 2)
    exact, coarse = OnnxRuntimeEngine(quantized), OnnxRuntimeEngine(quantized, "int8")  # dense layers in full float32
    errors = np.stack([coarse.infer(each) - exact.infer(each) for each in calibrated])
    assert np.all(np.abs(errors.mean(axis=0)) < 0.1 * np.abs(errors).mean(axis=0))


def test_the_spec_ties_the_files_together_and_states_the_deviation(quantized: Path) -> None:
    spec = ModelSpec.load(quantized)
    assert set(spec.sha256) == {WEIGHTS_FILE, GRAPH_FILE, *INT8_FILES}
    assert spec.quantization is not None
    assert spec.quantization.pictures == 32
    names = set(spec.output_names)
    assert set(spec.quantization.mean_deviation) == set(spec.quantization.max_deviation) == names
    measured = np.abs(differences(quantized, pictures(16, 3)))
    stated = [spec.quantization.mean_deviation[name] for name in spec.output_names]
    np.testing.assert_allclose(measured.mean(axis=0), stated, atol=2e-3)


def test_the_int8_graph_holds_no_weights_and_the_dense_layers_stay_float(quantized: Path) -> None:
    model = onnx.load(quantized / INT8_GRAPH_FILE, load_external_data=False)
    assert all(len(tensor.raw_data) <= 4 for tensor in model.graph.initializer)
    assert {node.op_type for node in model.graph.node} >= {"QuantizeLinear", "DequantizeLinear", "Gemm"}
    producers = {output: node.op_type for node in model.graph.node for output in node.output}
    dense = [producers.get(name) for node in model.graph.node if node.op_type == "Gemm" for name in node.input[1:2]]
    assert set(dense) == {"Cast"}
    tensors = load_file(quantized / INT8_WEIGHTS_FILE)
    in_int8 = {tuple(tensor.shape) for tensor in tensors.values() if tensor.dtype == np.int8 and tensor.ndim == 4}
    assert in_int8 == {(16, 3, 3, 3), (32, 16, 1, 1)}  # the first and the pointwise one; the others stay in float


@pytest.mark.parametrize("name", INT8_FILES)
def test_a_damaged_int8_file_is_refused_and_the_float_engine_still_runs(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(WeightsError, match=f"{name} has SHA-256"):
        OpenVinoEngine(copy, "int8")
    OpenVinoEngine(copy).close()


def test_a_folder_without_int8_weights_says_how_to_make_them(copy: Path) -> None:
    spec = replace(ModelSpec.load(copy), quantization=None)
    (copy / SPEC_FILE).write_text(spec.to_json())
    with pytest.raises(WeightsError, match=r"has no int8 weights.*export --int8"):
        OpenVinoEngine(copy, "int8")


def test_an_engine_that_computes_int8_wrongly_is_refused(copy: Path) -> None:
    spec = ModelSpec.load(copy)
    assert spec.quantization is not None
    other = spec.quantization.probe | {"steering": spec.quantization.probe["steering"] + 0.06}
    (copy / SPEC_FILE).write_text(replace(spec, quantization=replace(spec.quantization, probe=other)).to_json())
    with pytest.raises(EngineError, match=r"openvino-int8 computes int8 wrongly on this machine: steering"):
        OpenVinoEngine(copy, "int8")


AUTO = """
import sys
from pathlib import Path

from agent.sessions.opening import open_engine
from agent.settings.shared import EngineSettings

def tell(line):
    print(line, file=sys.stderr)

print(open_engine(EngineSettings(threads=1, weights=Path(sys.argv[1])), "carracing", tell).name)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="redirects the user's cache folder by XDG_CACHE_HOME")
@pytest.mark.skipif(
    "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"),
    reason="needs a CPU with bfloat16 to take it away from",
)
def test_without_the_instructions_auto_drives_in_float_and_says_why(copy: Path, tmp_path_factory: Any) -> None:
    approve_int8(copy, write_comparison(copy / "comparison.json"))
    # OpenVINO's kernels then take the CPU for one of before 2013, which has neither VNNI nor bfloat16.
    taken_away = {"ONEDNN_MAX_CPU_ISA": "SSE41", "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}
    run = subprocess.run(
        [sys.executable, "-c", AUTO, copy],
        cwd=ROOT,
        env={**os.environ, **taken_away},
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stdout.strip()) == (0, "openvino"), run.stderr
    (line,) = run.stderr.splitlines()
    assert "openvino is the fastest engine here" in line
    assert "openvino-int8 does not run: OpenVINO" in line
    assert "openvino-bf16 does not run: OpenVINO" in line


def test_an_engine_that_would_compute_int8_in_float_is_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_model = openvino.Core.compile_model

    def without_low_precision(core: Any, model: Any, device: str, settings: dict[Any, Any]) -> Any:
        return compile_model(core, model, device, {**settings, "LP_TRANSFORMS_MODE": False})

    monkeypatch.setattr(openvino.Core, "compile_model", without_low_precision)
    with pytest.raises(EngineError, match=r"0 of 2 int8 convolutions in 8 bits.*Use --engine openvino\."):
        OpenVinoEngine(copy, "int8")
    OpenVinoEngine(copy).close()


def test_new_float_weights_put_the_int8_ones_away(copy: Path) -> None:
    export_model(small_network(), ModelSpec.load(copy), copy)
    assert ModelSpec.load(copy).quantization is None
    assert not any((copy / name).exists() for name in INT8_FILES)


def write_comparison(path: Path, **changes: Any) -> Path:
    values = {
        "first": "tiny, openvino-bf16",
        "second": "tiny, openvino-int8",
        "tracks": 100,
        "first_mean": 900.0,
        "second_mean": 899.0,
        "difference": -1.0,
        "low": -5.0,
        "high": 3.0,
        "worst_seed": 7,
        "worst_difference": -40.0,
    }
    path.write_text(json.dumps(values | changes))
    return path


def test_int8_that_drives_the_same_is_approved_and_int8_made_anew_is_not(copy: Path) -> None:
    assert "openvino-int8" not in [entry.name for entry in candidates(ModelSpec.load(copy))]
    approve_int8(copy, write_comparison(copy / "comparison.json"))
    spec = ModelSpec.load(copy)
    assert "openvino-int8" in [entry.name for entry in candidates(spec)]
    assert spec.quantization is not None
    assert spec.quantization.driving == {
        "tracks": 100, "first_mean": 900, "second_mean": 899, "difference": -1, "low": -5, "high": 3
    }  # fmt: skip
    quantize_model(copy, pictures(8, 2), pictures(4, 3), lambda line: None)
    assert "openvino-int8" not in [entry.name for entry in candidates(ModelSpec.load(copy))]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low": -9.1}, r"int8 drives -1.0 \(-9.1 to \+3.0\).*within 1%"),
        ({"high": 9.1}, "expected the whole interval"),
        ({"first": "tiny, openvino-int8"}, "expected tiny on a float engine"),
        ({"second": "tiny, openvino"}, "expected tiny on a float engine"),
        ({"first": "other, openvino"}, "expected tiny on a float engine"),
        ({"low": None}, "cannot be read as a comparison"),
        ({"lower": 1}, "cannot be read as a comparison"),
    ],
)
def test_int8_that_may_drive_worse_is_not_approved(copy: Path, changes: dict[str, Any], message: str) -> None:
    before = (copy / SPEC_FILE).read_text()
    with pytest.raises(TrainingError, match=message):
        approve_int8(copy, write_comparison(copy / "comparison.json", **changes))
    assert (copy / SPEC_FILE).read_text() == before


def test_nothing_to_calibrate_on_is_refused(copy: Path) -> None:
    before = (copy / SPEC_FILE).read_text()
    with pytest.raises(TrainingError, match="no pictures"):
        quantize_model(copy, pictures(0, 1), pictures(4, 1), print)
    assert (copy / SPEC_FILE).read_text() == before


@pytest.mark.parametrize("damage", [{"probe": {"steering": 0.0}}, {"max_deviation": None}, {"probe": {}}])
def test_a_spec_with_numbers_for_other_outputs_is_refused(copy: Path, damage: dict[str, Any]) -> None:
    raw = json.loads((copy / SPEC_FILE).read_text())
    raw["quantization"] |= damage
    (copy / SPEC_FILE).write_text(json.dumps(raw))
    with pytest.raises(SpecError, match=f"quantization.{next(iter(damage))}"):
        ModelSpec.load(copy)


def test_a_quantization_survives_json() -> None:
    values = {"steering": 0.1, "throttle": 0.2, "brake": 0.0}
    spec = ModelSpec("a", "b", "c", quantization=Quantization(128, values, values, values))
    assert ModelSpec.from_json(spec.to_json()) == spec
