"""The network's shape, its fused BatchNormalization, and its weights on disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deferred import Deferred
from safetensors.numpy import load_file, save_file

from agent.contract.errors import TrainingError, WeightsError
from agent.contract.spec import STEERING_THROTTLE_BRAKE, OutputSpec

pytestmark = pytest.mark.thorough

keras = Deferred("keras")
tf = Deferred("tensorflow")
build_network = Deferred("training.network.build:build_network")
fast_layers = Deferred("training.network.fast_layers")
load_weights = Deferred("training.network.weights_file:load_weights")
named_variables = Deferred("training.network.weights_file:named_variables")
save_weights = Deferred("training.network.weights_file:save_weights")

TINY = {"backbone": "pilotnet", "height_px": 27, "width_px": 48}


@pytest.fixture
def bfloat16() -> Iterator[None]:
    """Keras' mixed-precision policy, put back afterwards."""
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    yield
    keras.mixed_precision.set_dtype_policy(before)


@pytest.fixture(scope="module")
def xception() -> Any:
    return build_network()


def pixels(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)


def test_xception_is_model_0002_xception_v1(xception: Any) -> None:
    trainable = sum(variable.value.shape.num_elements() for variable in xception.trainable_variables)
    frozen = sum(variable.value.shape.num_elements() for variable in xception.non_trainable_variables)
    assert (xception.count_params(), trainable, frozen) == (23_799_371, 23_744_843, 54_528)
    assert xception.get_layer("xception").output_shape == (None, 9, 15, 2048)
    assert list(xception.output) == ["steering", "throttle", "brake"]


def test_xceptions_weights_fit_any_size_and_do_not_depend_on_what_was_built_before(
    xception: Any, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(xception, path)
    smaller = build_network(height_px=135, width_px=240, init=path)
    assert list(named_variables(smaller)) == list(named_variables(xception))
    for ours, theirs in zip(smaller.variables, xception.variables, strict=True):
        assert np.array_equal(ours.numpy(), theirs.numpy()), ours.path


@pytest.mark.parametrize("backbone", ["pilotnet", "pilotnet_grid", "mobilenet_v2"])
def test_other_backbones_answer_in_the_same_form(backbone: str) -> None:
    model = build_network(backbone, 64, 96, STEERING_THROTTLE_BRAKE[:2], auxiliary=("speed", "curvature", "offset"))
    predictions = model(pixels(2, 64, 96))
    assert {name: tuple(value.shape) for name, value in predictions.items()} == {
        "steering": (2, 1),
        "throttle": (2, 1),
        "auxiliary": (2, 3),
    }
    assert model.count_params() < 5_000_000


def test_a_grid_tells_left_from_right_and_fits_any_size(tmp_path: Path) -> None:
    """Maps of one bright column: averaged over all of the picture they would be the same wherever it is."""
    sizes = ((90, 160), (67, 121))
    networks = [build_network("pilotnet_grid", height_px, width_px) for height_px, width_px in sizes]
    save_weights(networks[0], tmp_path / "weights.safetensors")
    for network in networks:
        load_weights(network, tmp_path / "weights.safetensors")
        pool, cells = network.get_layer("pool"), network.get_layer("cells")
        assert pool.output.shape == (None, 3, 5, 64)
        averages = keras.Model(pool.input, cells.output)
        for column in range(5):
            maps = np.zeros((1, *pool.input.shape[1:]), np.float32)
            places = np.array_split(np.arange(maps.shape[2]), 5)[column]
            maps[:, :, places[1]] = 1.0
            (found,) = averages(maps).numpy()
            by_cell = found.reshape(3, 5, 64).mean(axis=(0, 2))
            assert by_cell.argmax() == column
            assert np.count_nonzero(by_cell) == 1


def test_bytes_are_scaled_before_anything_is_rounded(bfloat16: None) -> None:
    model = build_network(**TINY)
    scale = model.get_layer("scale")
    scaled = scale(np.arange(256, dtype=np.uint8))
    assert scaled.dtype == tf.float32
    np.testing.assert_allclose(scaled, np.linspace(-1, 1, 256), atol=1e-6)
    assert {name: value.dtype for name, value in model.output.items()} == dict.fromkeys(model.output, "float32")
    assert model.get_layer("pilotnet").get_layer("block0_conv").compute_dtype == "bfloat16"


def test_floats_do_as_well_as_bytes() -> None:
    model = build_network(**TINY)
    picture = pixels(1, 27, 48)
    as_bytes, as_floats = model(picture)["steering"], model(picture.astype(np.float32))["steering"]
    assert np.array_equal(as_bytes, as_floats)
    assert not np.array_equal(as_floats, model(picture + np.float32(0.4))["steering"]), "the fraction was cut off"


# --- fused BatchNormalization ----------------------------------------------------------------------------------------


def batch_norms() -> tuple[Any, Any]:
    """A plain and a fused layer with the same random variables."""
    generator = np.random.default_rng(2)
    plain, fused = keras.layers.BatchNormalization(), fast_layers.FusedBatchNormalization()
    values = [generator.uniform(0.5, 1.5, 5).astype(np.float32) for _ in range(4)]
    for layer in (plain, fused):
        layer.build((None, None, None, 5))
        layer.set_weights(values)
    return plain, fused


def train_on(layer: Any, features: Any) -> tuple[Any, Any, list[Any]]:
    with tf.GradientTape() as tape:
        tape.watch(features)
        outputs = layer(features, training=True)
        loss = tf.reduce_sum(tf.sin(tf.cast(outputs, tf.float32)))  # a plain sum has no gradient behind a normalisation
    watched = [features, *(variable.value for variable in layer.trainable_variables)]
    return outputs, tape.gradient(loss, watched), [variable.numpy() for variable in layer.non_trainable_variables]


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 5), (4, 9, 7, 5)])
def test_fused_batch_norm_trains_as_keras_does(shape: tuple[int, ...]) -> None:
    features = tf.constant(np.random.default_rng(3).normal(3.0, 2.0, shape), tf.float32)
    plain, fused = batch_norms()
    for expected, actual in zip(train_on(plain, features), train_on(fused, features), strict=True):
        for one, other in zip(tf.nest.flatten(expected), tf.nest.flatten(actual), strict=True):
            np.testing.assert_allclose(other, one, atol=1e-4)


def test_fused_batch_norm_infers_as_keras_does() -> None:
    features = tf.constant(np.random.default_rng(3).normal(3.0, 2.0, (2, 3, 4, 5)), tf.float32)
    plain, fused = batch_norms()
    before = fused.get_weights()
    np.testing.assert_allclose(fused(features, training=False), plain(features, training=False), atol=1e-6)
    fused.trainable = False
    np.testing.assert_allclose(fused(features, training=True), plain(features, training=False), atol=1e-6)
    assert all(np.array_equal(*pair) for pair in zip(before, fused.get_weights(), strict=True))


def test_fused_batch_norm_keeps_its_statistics_in_float32(bfloat16: None) -> None:
    # A spread of 0.5 about 100: bfloat16, with steps of 0.5 there, could not tell it from none.
    features = tf.cast(np.random.default_rng(3).normal(100.0, 0.5, (8, 16, 16, 5)), tf.bfloat16)
    _, fused = batch_norms()
    fused.momentum = 0.0
    outputs = fused(features, training=True)
    assert outputs.dtype == tf.bfloat16
    exact = tf.cast(features, tf.float32).numpy().astype(np.float64)
    np.testing.assert_allclose(fused.moving_mean.numpy(), exact.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(fused.moving_variance.numpy(), exact.var((0, 1, 2)), rtol=1e-3)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"strides": 2, "padding": "same"},
        {"dilation_rate": (2, 2), "use_bias": False},
        {"depth_multiplier": 2, "activation": "relu"},
    ],
)
def test_matmul_separable_convolution_trains_as_keras_does(settings: dict[str, Any]) -> None:
    generator = np.random.default_rng(4)
    features = tf.constant(generator.normal(0.0, 1.0, (2, 9, 7, 5)), tf.float32)
    plain, ours = (kind(6, 3, **settings) for kind in (keras.layers.SeparableConv2D, fast_layers.MatmulSeparableConv2D))
    for layer in (plain, ours):
        layer.build(features.shape)
    values = [generator.normal(0.0, 0.5, variable.shape).astype(np.float32) for variable in plain.variables]
    for layer in (plain, ours):
        layer.set_weights(values)
    for expected, actual in zip(train_on(plain, features), train_on(ours, features), strict=True):
        for one, other in zip(tf.nest.flatten(expected), tf.nest.flatten(actual), strict=True):
            np.testing.assert_allclose(other, one, atol=1e-4)


def test_fast_xception_has_no_slow_layer_left() -> None:
    kinds = {type(layer) for layer in build_network(height_px=90, width_px=160, fast_layers=True)._flatten_layers()}
    assert {fast_layers.FusedBatchNormalization, fast_layers.MatmulSeparableConv2D} <= kinds
    assert not {keras.layers.BatchNormalization, keras.layers.SeparableConv2D} & kinds


def test_fused_networks_differ_in_nothing_but_the_kernel(tmp_path: Path) -> None:
    plain, fused = build_network(**TINY), build_network(**TINY, fast_layers=True)
    kinds = {type(layer) for layer in fused._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)}
    assert kinds == {fast_layers.FusedBatchNormalization}
    save_weights(plain, tmp_path / "weights.safetensors")
    load_weights(fused, tmp_path / "weights.safetensors")
    pictures = pixels(4, 27, 48)
    for training in (True, False):
        expected, actual = plain(pictures, training=training), fused(pictures, training=training)
        for name in expected:
            np.testing.assert_allclose(actual[name], expected[name], atol=1e-4)
    for key, variable in named_variables(plain).items():
        np.testing.assert_allclose(named_variables(fused)[key].numpy(), variable.numpy(), atol=1e-4)


# --- weights on disk -------------------------------------------------------------------------------------------------


def test_weights_survive_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    first, second = (build_network(**TINY, auxiliary=("speed",)) for _ in range(2))
    save_weights(first, path)
    load_weights(second, path)
    for ours, theirs in zip(second.variables, first.variables, strict=True):
        assert np.array_equal(ours.numpy(), theirs.numpy()), ours.path
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_half_precision_spares_the_statistics(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    model = build_network(**TINY)
    variance = model.get_layer("pilotnet").get_layer("block0_bn").moving_variance
    variance.assign(np.linspace(1e-9, 1e6, 24))
    save_weights(model, path, "float16")
    tensors = load_file(path)
    assert tensors["pilotnet/block0_conv/kernel"].dtype == np.float16
    assert np.array_equal(tensors["pilotnet/block0_bn/moving_variance"], variance.numpy())
    load_weights(model, path)
    assert np.array_equal(model.get_layer("steering").kernel.numpy(), tensors["steering/kernel"].astype(np.float32))


def test_the_auxiliary_head_may_come_go_and_change(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    picture = pixels(1, 27, 48)
    source = build_network(**TINY, auxiliary=("speed",))
    for keep in (True, False):
        save_weights(source, path, auxiliary=keep)
        assert any(key.startswith("auxiliary") for key in load_file(path)) == keep
        for auxiliary in ((), ("speed", "curvature")):
            target = build_network(**TINY, auxiliary=auxiliary, init=path)
            assert np.array_equal(target(picture)["brake"], source(picture)["brake"])


@pytest.mark.parametrize("damage", ["missing", "surplus", "shape"])
def test_weights_of_another_network_are_refused_and_nothing_is_changed(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(build_network(**TINY), path)
    tensors = load_file(path)
    if damage == "missing":
        del tensors["brake/bias"]
    elif damage == "surplus":
        tensors["gear/bias"] = np.zeros(1, np.float32)
    else:
        tensors["brake/bias"] = np.zeros(2, np.float32)
    save_file(tensors, path)
    model = build_network(**TINY)
    before = [variable.numpy() for variable in model.variables]
    with pytest.raises(WeightsError, match=r"in 1 tensors, the first being (brake|gear)/bias"):
        load_weights(model, path)
    assert all(np.array_equal(*pair) for pair in zip(before, (v.numpy() for v in model.variables), strict=True))


@pytest.mark.parametrize("content", [None, b"", b"\x08\0\0\0\0\0\0\0{}      ", b"not safetensors at all"])
def test_unreadable_weights_are_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"weights\.safetensors"):
        build_network(**TINY, init=path)


@pytest.mark.parametrize(("value", "dtype"), [(np.nan, "float32"), (np.inf, "float32"), (7e4, "float16")])
def test_weights_that_would_be_useless_are_not_written(tmp_path: Path, value: float, dtype: Any) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"the last good ones")
    model = build_network(**TINY)
    model.get_layer("steering").bias.assign([value])
    with pytest.raises(WeightsError, match="steering/bias"):
        save_weights(model, path, dtype)
    assert path.read_bytes() == b"the last good ones"


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").mkdir()
    with pytest.raises(OSError, match=r"weights\.safetensors"):
        save_weights(build_network(**TINY), tmp_path / "weights.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


# --- settings that cannot be had -------------------------------------------------------------------------------------


def test_pretrained_weights_are_copied_under_our_names(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def pretrained(weights: str | None, **settings: Any) -> Any:
        asked.append(weights)
        original.append(mobilenet(weights=None, **settings))
        return original[-1]

    original: list[Any] = []
    mobilenet = keras.applications.MobileNetV2
    monkeypatch.setattr("keras.applications.MobileNetV2", pretrained)
    model = build_network("mobilenet_v2", 64, 96, init="imagenet")
    assert asked == ["imagenet"]
    body = model.get_layer("mobilenet_v2")
    assert all(np.array_equal(*pair) for pair in zip(body.get_weights(), original[0].get_weights(), strict=True))


def test_a_failed_download_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(**_: Any) -> Any:
        raise Exception("URL fetch failure on https://storage.googleapis.com/...: None -- no route")

    monkeypatch.setattr("keras.applications.Xception", offline)
    with pytest.raises(TrainingError, match=r"could not be downloaded \(URL fetch failure.*--init none"):
        build_network(init="imagenet")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "resnet"}, "'resnet' is unknown, expected one of xception"),
        ({"backbone": "xception", "height_px": 68, "width_px": 120}, "120 x 68 px"),
        ({"backbone": "pilotnet_grid", "height_px": 16, "width_px": 48}, "6 x 2 here, expected .* 5 x 3 cells"),
        ({**TINY, "init": "imagenet"}, "no pretrained weights"),
        ({**TINY, "init": "random"}, "init is 'random'"),
        ({**TINY, "outputs": (OutputSpec("auxiliary", 0.0, 1.0),)}, "kept for the training-only head"),
    ],
)
def test_impossible_networks_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        build_network(**settings)
