"""An exported network is the Keras network: same numbers, one copy of the weights, whole or not at all."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from deferred import Deferred
from safetensors.numpy import load_file

from agent.contract.errors import TrainingError, WeightsError
from agent.contract.spec import GRAPH_FILE, SPEC_FILE, WEIGHTS_FILE, ModelSpec, OutputSpec

pytestmark = pytest.mark.thorough

keras = Deferred("keras")
onnx = Deferred("onnx")
OnnxRuntimeEngine = Deferred("agent.engines.onnxruntime:OnnxRuntimeEngine")
OpenVinoEngine = Deferred("agent.engines.openvino:OpenVinoEngine")
TensorFlowEngine = Deferred("training.engines.keras_network:TensorFlowEngine")
BACKBONES = ("xception", "pilotnet", "pilotnet_grid", "mobilenet_v2")
export_model = Deferred("training.exporting.export:export_model")
build_network = Deferred("training.network.build:build_network")
named_variables = Deferred("training.network.weights_file:named_variables")

FILES = {WEIGHTS_FILE, GRAPH_FILE, SPEC_FILE}


def spec_for(backbone: str, height_px: int, width_px: int, **others: Any) -> ModelSpec:
    return ModelSpec(name="tiny", backbone=backbone, game="carracing", height_px=height_px, width_px=width_px, **others)


def pictures(height_px: int, width_px: int, count: int) -> npt.NDArray[np.uint8]:
    """Coarse random patches under fine noise: pictures that global pooling tells apart."""
    generator = np.random.default_rng(7)
    patches = generator.uniform(0, 255, (count, 4, 6, 3))
    rows, columns = np.arange(height_px) * 4 // height_px, np.arange(width_px) * 6 // width_px
    coarse = patches[:, rows][:, :, columns]
    return np.clip(coarse + generator.normal(0, 20, coarse.shape), 0, 255).astype(np.uint8)


def excite(model: Any, observations: npt.NDArray[np.uint8]) -> None:
    """Give a network random weights, and BatchNorm statistics near its features', so that pictures make a difference.

    All weights but the statistics (stored as float32) are rounded to float16, as the export will.
    """
    generator = np.random.default_rng(5)
    layers = [each for each in model._flatten_layers() if isinstance(each, keras.layers.BatchNormalization)]
    for layer in layers:
        layer.momentum = 0.0
    for key, variable in named_variables(model).items():
        shape = tuple(variable.shape)
        kind = key.rsplit("/", 1)[1]
        if kind in ("beta", "bias"):
            variable.assign(generator.normal(0, 0.1, shape))
        elif kind == "gamma":
            variable.assign(generator.uniform(0.5, 1.5, shape))
        elif len(shape) == 2:  # dense: no normalisation follows that would lift a small signal
            variable.assign(generator.normal(0, np.sqrt(2 / shape[0]), shape))
        if not kind.startswith("moving"):
            variable.assign(variable.numpy().astype(np.float16).astype(np.float32))
    model(observations, training=True)
    for layer in layers:
        layer.moving_mean.assign(layer.moving_mean.numpy() + generator.normal(0, 0.05, layer.moving_mean.shape))
        layer.moving_variance.assign(
            layer.moving_variance.numpy() * generator.uniform(0.8, 1.25, layer.moving_variance.shape)
        )


def assert_exported_alike(model: Any, spec: ModelSpec, folder: Path) -> None:
    observations = pictures(spec.height_px, spec.width_px, 3)
    excite(model, observations)
    export_model(model, spec, folder)
    predicted = model(observations, training=False)
    expected = np.concatenate([np.asarray(predicted[name]) for name in spec.output_names], axis=1)
    spread = expected.std(axis=0)
    assert spread.min() > 0.002, f"pictures that all look the same to the network prove nothing: {spread}"
    engines = [OpenVinoEngine, OnnxRuntimeEngine]  # two readers of the graph
    if spec.backbone in BACKBONES:  # Keras builds the network by its backbone's name, and reads the weights alone
        engines.append(TensorFlowEngine)
    for load in engines:
        engine = load(folder)
        actual = [engine.infer(each) for each in observations]
        np.testing.assert_allclose(actual, expected, atol=5e-3 * spread.min(), err_msg=engine.name)
        engine.close()


@pytest.mark.parametrize(
    ("backbone", "height_px", "width_px"),
    [
        ("pilotnet", 270, 480),
        ("pilotnet", 135, 240),
        ("pilotnet", 67, 121),  # "same" padding falls differently on even and odd sizes
        ("pilotnet_grid", 90, 160),
        ("pilotnet_grid", 67, 121),  # maps of 9 x 16, which 3 x 5 cells do not split evenly
        ("mobilenet_v2", 67, 96),
        ("xception", 135, 240),
        pytest.param("xception", 270, 480, marks=pytest.mark.slow),
        pytest.param("mobilenet_v2", 270, 480, marks=pytest.mark.slow),
    ],
)
def test_exported_backbones_predict_as_keras_does(tmp_path: Path, backbone: str, height_px: int, width_px: int) -> None:
    keras.utils.set_random_seed(0)
    model = build_network(backbone, height_px, width_px, fast_layers=True)
    assert_exported_alike(model, spec_for(backbone, height_px, width_px), tmp_path)


def test_every_layer_that_can_be_exported_is_exported_right(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    part_input = keras.Input((None, None, 8))
    part = layers.SeparableConv2D(8, 3, padding="same", activation="relu6", name="separable")(part_input)
    part = layers.MaxPooling2D(3, 2, padding="same")(part)
    block = keras.Model(part_input, part, name="block")
    observation = keras.Input((31, 44, 3))
    features = layers.Rescaling(1 / 60, offset=-2.0)(observation)
    features = layers.ZeroPadding2D(((0, 1), (2, 3)))(features)
    features = layers.Conv2D(8, (3, 5), (2, 1), activation="relu", name="conv")(features)
    features = layers.MaxPooling2D((2, 3))(features)
    features = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(features)
    features = layers.ReLU(6.0)(features)
    features = layers.Conv2D(8, 3, dilation_rate=2, padding="same", use_bias=False, name="dilated")(features)
    features = layers.BatchNormalization(name="norm")(features)
    features = layers.Activation("relu6")(features)
    features = layers.Add()([block(features), block(layers.ReLU()(features))])  # one block, used twice
    features = layers.Dropout(0.5)(features)
    features = layers.GlobalAveragePooling2D()(features)
    predictions = {
        name: layers.Dense(1, name=name)(layers.Dense(16, activation="relu", name=f"{name}_hidden")(features))
        for name in ("steering", "throttle", "brake")
    }
    assert_exported_alike(keras.Model(observation, predictions), spec_for("zoo", 31, 44), tmp_path)


def test_outputs_come_in_the_specs_order_and_only_those(tmp_path: Path) -> None:
    model = build_network("pilotnet", 27, 48)
    outputs = (OutputSpec("brake", 0.0, 1.0), OutputSpec("steering", -1.0, 1.0))
    export_model(model, spec_for("pilotnet", 27, 48, outputs=outputs), tmp_path)
    observation = pictures(27, 48, 1)
    expected = [float(model(observation)[name][0, 0]) for name in ("brake", "steering")]
    np.testing.assert_allclose(OpenVinoEngine(tmp_path).infer(observation[0]), expected, atol=1e-3)


def test_networks_trained_in_bfloat16_are_exported_in_float32(tmp_path: Path) -> None:
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_network("pilotnet", 27, 48, fast_layers=True)
        export_model(model, spec_for("pilotnet", 27, 48), tmp_path)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    exact = build_network("pilotnet", 27, 48, init=tmp_path / WEIGHTS_FILE)
    observation = pictures(27, 48, 1)
    expected = [float(value[0, 0]) for value in exact(observation).values()]
    np.testing.assert_allclose(OpenVinoEngine(tmp_path).infer(observation[0]), expected, atol=1e-6)


def test_there_is_one_copy_of_the_weights(tmp_path: Path) -> None:
    model = build_network("pilotnet", 27, 48, auxiliary=("speed",))
    spec = export_model(model, spec_for("pilotnet", 27, 48), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert ModelSpec.load(tmp_path) == spec
    spec.verify_files(tmp_path, WEIGHTS_FILE, GRAPH_FILE)
    onnx.checker.check_model(tmp_path / GRAPH_FILE, full_check=True)  # opens the external data as well
    assert (tmp_path / GRAPH_FILE).stat().st_size < 20_000
    graph = onnx.load(tmp_path / GRAPH_FILE, load_external_data=False).graph
    content = (tmp_path / WEIGHTS_FILE).read_bytes()
    tensors = load_file(tmp_path / WEIGHTS_FILE)
    assert {each.name for each in graph.initializer} == set(tensors), "a tensor is unused, or the training-only head's"
    for each in graph.initializer:
        entry = {field.key: field.value for field in each.external_data}
        begin, length = int(entry["offset"]), int(entry["length"])
        assert content[begin : begin + length] == tensors[each.name].tobytes(), each.name


def test_exporting_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    model = build_network("pilotnet", 27, 48)
    for name in ("first", "second"):
        export_model(model, spec_for("pilotnet", 27, 48), tmp_path / name)
    for name in FILES:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name


@pytest.mark.parametrize("survivor", [0, 1, 2])
def test_a_crash_between_the_files_is_noticed_when_loading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survivor: int
) -> None:
    export_model(build_network("pilotnet", 27, 48), spec_for("pilotnet", 27, 48), tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in FILES}
    replace, done = os.replace, []

    def crash(source: Path, target: Path) -> None:
        if target.name in FILES:
            if len(done) == survivor:
                raise OSError("the disk is gone")
            done.append(target.name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="the disk is gone"):
        export_model(build_network("pilotnet", 54, 96), spec_for("pilotnet", 54, 96), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    if survivor == 0:
        assert {name: (tmp_path / name).read_bytes() for name in FILES} == before
        OpenVinoEngine(tmp_path)
    else:
        with pytest.raises(WeightsError, match="SHA-256"):
            OpenVinoEngine(tmp_path)


def test_weights_gone_astray_leave_the_last_export_alone(tmp_path: Path) -> None:
    model = build_network("pilotnet", 27, 48)
    export_model(model, spec_for("pilotnet", 27, 48), tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in FILES}
    model.get_layer("brake").bias.assign([np.nan])
    with pytest.raises(WeightsError, match="brake/bias"):
        export_model(model, spec_for("pilotnet", 27, 48), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def one_layer_model(layer: Any) -> Any:
    observation = keras.Input((27, 48, 3))
    features = keras.layers.GlobalAveragePooling2D()(layer(observation))
    return keras.Model(observation, {"steering": keras.layers.Dense(1, name="steering")(features)})


@pytest.mark.parametrize(
    ("make_layer", "message"),
    [
        (lambda: keras.layers.UpSampling2D(2, name="odd"), "'odd' is a UpSampling2D, which cannot be exported"),
        (lambda: keras.layers.AveragePooling2D(2, padding="same", name="odd"), r"'odd' \(AveragePooling2D\).*padding"),
        (lambda: keras.layers.Conv2D(6, 3, groups=3, name="odd"), r"'odd' \(Conv2D\) uses groups"),
        (lambda: keras.layers.Conv2D(6, 3, activation="gelu", name="odd"), "'odd' has the activation 'gelu'"),
        (lambda: keras.layers.DepthwiseConv2D(3, depth_multiplier=2, name="odd"), "'odd'.*depth multiplier"),
        (lambda: keras.layers.BatchNormalization(scale=False, name="odd"), "'odd'.*no scale"),
        (lambda: keras.layers.ReLU(negative_slope=0.1, name="odd"), "'odd'.*negative slope"),
        (lambda: keras.layers.Dense(4, name="odd"), "'odd'.*an input of 4 axes"),
    ],
)
def test_layers_that_cannot_be_exported_are_named_and_nothing_is_left(
    tmp_path: Path, make_layer: Callable[[], Any], message: str
) -> None:
    spec = spec_for("odd", 27, 48, outputs=(OutputSpec("steering", -1.0, 1.0),))
    with pytest.raises(TrainingError, match=message):
        export_model(one_layer_model(make_layer()), spec, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_spec_of_another_network_is_refused(tmp_path: Path) -> None:
    model = build_network("pilotnet", 27, 48)
    with pytest.raises(TrainingError, match=r"takes input \(None, 27, 48, 3\), the spec says \(None, 270, 480, 3\)"):
        export_model(model, spec_for("pilotnet", 270, 480), tmp_path)
    with pytest.raises(TrainingError, match="has no output 'gear'"):
        export_model(model, spec_for("pilotnet", 27, 48, outputs=(OutputSpec("gear", 0.0, 6.0),)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_checksums_in_the_spec_are_the_files_own(tmp_path: Path) -> None:
    stale = spec_for("pilotnet", 27, 48, sha256={WEIGHTS_FILE: "0" * 64, "gone.bin": "1" * 64})
    export_model(build_network("pilotnet", 27, 48), stale, tmp_path)
    assert set(json.loads((tmp_path / SPEC_FILE).read_text())["sha256"]) == {WEIGHTS_FILE, GRAPH_FILE}
