"""The helper step is the source's: one network, a helper an output, gradients summed."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from deferred import Deferred

from agent.contract.spec import STEERING_THROTTLE_BRAKE
from training.data.samples import AUXILIARY

pytestmark = pytest.mark.thorough

keras = Deferred("keras")
build_network = Deferred("training.network.build:build_network")
HelperTrained = Deferred("training.network.helper_step:HelperTrained")

NAMES = ("steering", "throttle", "brake")
LOSS_WEIGHTS = {"steering": 2.0, "throttle": 1.0, "brake": 5.0}
HEIGHT_PX, WIDTH_PX = 32, 48


@pytest.fixture
def network() -> Any:
    return make_network(())


def make_network(auxiliary: tuple[str, ...]) -> Any:
    keras.utils.set_random_seed(1)
    keras.mixed_precision.set_dtype_policy("float32")
    plain = build_network("pilotnet", HEIGHT_PX, WIDTH_PX, STEERING_THROTTLE_BRAKE, auxiliary=auxiliary)
    model = HelperTrained(plain.input, plain.output)
    weights = LOSS_WEIGHTS | ({AUXILIARY: 0.5} if auxiliary else {})
    model.prepare(weights, dict.fromkeys(weights, keras.losses.mean_squared_error))
    model.compile(optimizer=keras.optimizers.SGD(0.01))
    return model


def make_batch(auxiliary: int = 0) -> tuple[npt.NDArray[np.uint8], dict[str, Any], dict[str, Any]]:
    """Three samples for each output, one output after the other; a sample carries its own output's label only."""
    rng = np.random.default_rng(2)
    pictures = rng.integers(0, 256, (9, HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    targets = {name: rng.uniform(0, 1, (9, 1)).astype(np.float32) for name in NAMES}
    weights = {name: np.repeat(np.eye(3, dtype=np.float32)[k], 3) for k, name in enumerate(NAMES)}
    if auxiliary:
        targets[AUXILIARY] = rng.uniform(0, 1, (9, auxiliary)).astype(np.float32)
        weights[AUXILIARY] = np.ones(9, np.float32)
    return pictures, targets, weights


def test_the_helpers_share_the_very_variables_of_the_main_model(network: Any) -> None:
    main = {id(variable) for variable in network.variables}
    used: set[int] = set()
    for name, helper in zip(NAMES, network.helpers, strict=True):
        assert set(helper.output) == {name}
        own = {id(variable) for variable in helper.variables}
        assert own < main  # all of them the main model's, and not the other heads'
        used |= own
    assert used == main


def test_the_summed_gradient_is_that_of_the_sum_of_losses(network: Any) -> None:
    import tensorflow as tf

    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False  # frozen: its statistics would differ between one batch and three
    pictures, targets, weights = make_batch()
    gradients, losses = network.summed_gradients((pictures, targets, weights))
    variables = [variable.value for variable in network.trainable_variables]
    with tf.GradientTape() as tape:
        predicted = network(pictures, training=True)
        squares = {name: tf.square(predicted[name] - targets[name])[:, 0] for name in NAMES}
        own = {name: tf.reduce_mean(squares[name][3 * k : 3 * k + 3]) for k, name in enumerate(NAMES)}
        total = sum(LOSS_WEIGHTS[name] * own[name] for name in NAMES)
    for gradient, expected in zip(gradients, tape.gradient(total, variables), strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-5)
    assert any(np.abs(gradient).max() > 1e-3 for gradient in gradients)
    for name in NAMES:
        assert float(losses[name]) == pytest.approx(float(own[name]), rel=1e-5)


def test_a_step_moves_the_main_models_predictions_and_lowers_the_loss(network: Any) -> None:
    pictures, targets, weights = make_batch()
    before = network(pictures, training=True)
    logs = [network.train_step((pictures, targets, weights)) for _ in range(5)]
    after = network(pictures, training=True)
    for name in NAMES:
        assert np.abs(after[name] - before[name]).max() > 1e-4
    assert float(logs[-1]["loss"]) < float(logs[0]["loss"])
    assert set(logs[0]) == {"loss", "steering_loss", "throttle_loss", "brake_loss"}


def test_the_training_only_head_learns_from_every_batch() -> None:
    network = make_network(("speed", "yaw_rate"))
    data = make_batch(auxiliary=2)
    assert all(set(helper.output) == {name, AUXILIARY} for name, helper in zip(NAMES, network.helpers, strict=True))
    _, losses = network.summed_gradients(data)
    predicted = [
        helper(data[0][3 * k : 3 * k + 3], training=True)[AUXILIARY] for k, helper in enumerate(network.helpers)
    ]
    expected = np.mean((np.concatenate(predicted) - data[1][AUXILIARY]) ** 2)
    assert float(losses[AUXILIARY]) == pytest.approx(float(expected), rel=1e-4)
