"""Layers' maps, and the evidence for an output: equal to what others compute from the same files."""

from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from deferred import Deferred
from small_model import SPEC, make_tensors, write_model

from agent.contract.errors import EngineError
from agent.contract.observation import Observation
from agent.engines.inside import InsideNetwork
from agent.engines.registry import Precision

MODEL = Path(__file__).parents[2] / "model_weights" / "carracing"
PICTURE = np.random.default_rng(0).integers(0, 256, (SPEC.height_px, SPEC.width_px, 3), np.uint8)
OpenVinoEngine: Callable[..., Any] = Deferred("agent.engines.openvino:OpenVinoEngine")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> InsideNetwork:
    return InsideNetwork(write_model(tmp_path_factory.mktemp("small")))


def shipped_picture() -> Observation:
    return np.asarray(cv2.cvtColor(cv2.imread(str(MODEL / "probe.png")), cv2.COLOR_BGR2RGB), np.uint8)


def test_the_layers_are_what_onnx_itself_says_they_are(small: InsideNetwork, tmp_path: Path) -> None:
    import onnx
    from onnx.reference import ReferenceEvaluator

    assert small.layers == ("normal", "third")
    model = onnx.load(write_model(tmp_path) / "network.onnx")  # with its weights
    model.opset_import[0].version = 19  # the first whose (de)quantisation the reference has; it means the same
    names = {"normal": "positive", "third": "third"}
    for name in names.values():
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    reference = ReferenceEvaluator(model).run(list(names.values()), {"observation": PICTURE[np.newaxis]})
    look = small.look(PICTURE, small.layers)
    for name, expected in zip(names, reference, strict=True):
        assert look.maps[name] == pytest.approx(expected[0], rel=1e-5, abs=1e-5)
        assert np.ptp(look.maps[name]) > 0.1


def test_the_evidence_of_each_place_and_the_rest_are_the_prediction(small: InsideNetwork) -> None:
    tensors = make_tensors()
    look = small.look(PICTURE, ("third",), SPEC.output_names)
    maps = look.maps["third"]
    weights = tensors["dense"].astype(np.float32)[:, 0]
    for name in ("steering", "throttle"):
        evidence = look.evidence[name]
        assert evidence.map == pytest.approx(np.tensordot(weights, maps, 1) / maps[0].size, abs=1e-6)
        assert evidence.rest == pytest.approx(float(tensors["bias"][0]), abs=1e-6)
        assert evidence.map.sum() + evidence.rest == pytest.approx(evidence.prediction, abs=1e-5)
    assert look.evidence["brake"].map == pytest.approx(0.5 * 0.25 * maps.sum(axis=0) / maps[0].size, abs=1e-6)


def test_another_name_or_picture_is_refused(small: InsideNetwork) -> None:
    with pytest.raises(ValueError, match="no layer or output 'fourth'"):
        small.look(PICTURE, ("fourth",))
    with pytest.raises(ValueError, match="no layer or output 'gear'"):
        small.look(PICTURE, (), ("gear",))
    with pytest.raises(ValueError, match="expected uint8"):
        small.look(PICTURE[1:])


@pytest.mark.thorough
@pytest.mark.parametrize("precision", ["f32", pytest.param("bf16", marks=pytest.mark.slow), "int8"])
def test_the_shipped_network_is_taken_apart_in_each_precision(precision: Precision) -> None:
    network = InsideNetwork(MODEL, precision)
    picture = shipped_picture()
    look = network.look(picture, network.layers[-2:], ("steering",))
    assert {name: maps.shape for name, maps in look.maps.items()} == {
        "block14_sepconv1": (1536, 9, 15),
        "block14_sepconv2": (2048, 9, 15),
    }
    evidence = look.evidence["steering"]
    assert evidence.map.sum() + evidence.rest == pytest.approx(evidence.prediction, abs=1e-6)
    with suppress(EngineError) if precision == "bf16" else nullcontext():  # not every processor has it
        engine = OpenVinoEngine(MODEL, precision)
        # The maps before the dense layers are the engine's own; only those layers are computed anew, in float32.
        tolerance = 1e-5 if precision == "f32" else 0.01
        assert evidence.prediction == pytest.approx(float(engine.infer(picture)[0]), abs=tolerance)
        engine.close()
