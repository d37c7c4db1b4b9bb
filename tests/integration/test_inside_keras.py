"""Keras computes the same maps and the same evidence from the same weights and the same picture."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from deferred import Deferred

from agent.contract.observation import Observation
from agent.contract.spec import ModelSpec
from agent.engines.inside import InsideNetwork
from agent.engines.registry import Precision

pytestmark = pytest.mark.thorough

MODEL = Path(__file__).parents[2] / "model_weights" / "carracing"

tf = Deferred("tensorflow")
keras = Deferred("keras")
_load = Deferred("training.engines.keras_network:_load")
build_network = Deferred("training.network.build:build_network")
export_model = Deferred("training.exporting.export:export_model")

FLOAT_TOLERANCE = 1e-4
"""Of the largest number of a map, for float32."""
INT8_TOLERANCE = 0.5
"""The same for int8: its maps are those of another network, rounded in every layer."""


def of_keras(model: Any, spec: ModelSpec, picture: Observation, output: str) -> tuple[Any, Any]:
    """Return the last maps, shape (height, width, maps), and each place's share of an output by Keras' own gradient."""
    pool = next(layer for layer in model.layers if layer.name == "pool")
    inner = keras.Model(model.input, [pool.input, model.output[output]])
    with tf.GradientTape() as tape:
        maps, value = inner(tf.constant(picture[np.newaxis]))
    gradient = tape.gradient(value, maps)
    return maps.numpy()[0], (maps * gradient).numpy()[0].sum(axis=-1)


def compare(network: InsideNetwork, model: Any, picture: Observation, tolerance: float) -> None:
    for output in network.spec.output_names:
        maps, evidence = of_keras(model, network.spec, picture, output)
        look = network.look(picture, network.layers[-1:], (output,))
        found = look.maps[network.layers[-1]].transpose(1, 2, 0)
        assert np.abs(found - maps).max() <= tolerance * np.abs(maps).max()
        assert np.abs(look.evidence[output].map - evidence).max() <= tolerance * np.abs(evidence).max()
        assert np.ptp(evidence) > 0


@pytest.mark.parametrize("backbone", ["pilotnet", "pilotnet_grid"])
def test_a_small_network_is_what_keras_says(tmp_path: Path, backbone: str) -> None:
    keras.utils.set_random_seed(3)
    spec = ModelSpec("tiny", backbone, "carracing", width_px=120, height_px=80)
    model = build_network(backbone, spec.height_px, spec.width_px, spec.outputs)
    export_model(model, spec, tmp_path / "tiny")
    for layer in model.layers:  # the file has the weights in float16
        layer.set_weights([weights.astype(np.float16).astype(np.float32) for weights in layer.get_weights()])
    picture = np.random.default_rng(0).integers(0, 256, spec.observation_shape, np.uint8)
    compare(InsideNetwork(tmp_path / "tiny"), model, picture, FLOAT_TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "tolerance"), [("f32", FLOAT_TOLERANCE), ("int8", INT8_TOLERANCE)])
def test_the_shipped_network_is_what_keras_says(precision: Precision, tolerance: float) -> None:
    _, model = _load(MODEL, None)
    picture = np.asarray(cv2.cvtColor(cv2.imread(str(MODEL / "probe.png")), cv2.COLOR_BGR2RGB), np.uint8)
    compare(InsideNetwork(MODEL, precision), model, picture, tolerance)
