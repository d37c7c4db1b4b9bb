"""What every engine checks before it trusts a model folder, and an observation."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from agent.contract.errors import EngineError, FrameError, WeightsError
from agent.contract.observation import Observation
from agent.contract.picture import decode_picture
from agent.contract.spec import (
    GRAPH_FILE,
    INT8_GRAPH_FILE,
    INT8_WEIGHTS_FILE,
    PROBE_FILE,
    QUANTIZE,
    REWRITE_GRAPH,
    SPEC_FILE,
    WEIGHTS_FILE,
    ModelSpec,
)
from agent.contract.untrusted import read_plain_file
from agent.engines.base import Prediction
from agent.engines.model_folder.graph import read_graph
from agent.engines.model_folder.weights import check_weights

PROBE_TOLERANCE = 0.05
"""Largest difference between two runtimes' int8 predictions of one picture that counts as rounding."""
_MAX_PROBE_BYTES = 50_000_000


def open_model_folder(folder: Path, int8: bool = False) -> tuple[ModelSpec, Path]:
    """Read a model's spec and check the files beside it from end to end, before any runtime parses them.

    Args:
        folder: The model.
        int8: Whether to open the int8 graph and weights instead of the float ones.

    Returns:
        The spec, and the path of the graph, whose weights are in the one file beside it that belongs to it.

    Raises:
        SpecError: If the spec is missing, unreadable or inconsistent.
        WeightsError: If a file is missing or damaged, the graph holds or takes its weights from anything but what it
            may, graph, weights and spec are of different networks, a weight is not finite, or there are no int8
            weights.
    """
    spec = ModelSpec.load(folder)
    if int8 and spec.quantization is None:
        raise WeightsError(f"{folder} has no int8 weights, expected {INT8_GRAPH_FILE} and its files. {QUANTIZE}")
    graph, weights = (INT8_GRAPH_FILE, INT8_WEIGHTS_FILE) if int8 else (GRAPH_FILE, WEIGHTS_FILE)
    spec.verify_files(folder, weights, graph, *([PROBE_FILE] if int8 else []))
    found = read_graph(folder / graph, weights)
    actual = found.input_shape, found.output_shape
    expected = (1, spec.height_px, spec.width_px, 3), (1, len(spec.outputs))
    if actual != expected:
        raise WeightsError(
            f"{folder / graph} takes input {actual[0]} and gives output {actual[1]}, but {SPEC_FILE} says "
            f"{expected[0]} and {expected[1]}: they come from different exports. {REWRITE_GRAPH}"
        )
    check_weights(folder / weights, found.weights)
    return spec, folder / graph


def check_probe(folder: Path, spec: ModelSpec, infer: Callable[[Observation], Prediction], engine: str) -> None:
    """Have an int8 engine predict the picture whose answer is known, and refuse the engine that is wrong.

    int8 arithmetic is where processors and runtimes differ: without VNNI instructions sums may saturate, and a
    network that drives elsewhere drives off here.

    Args:
        folder: The model.
        spec: Of the model, with its quantization.
        infer: Runs the network.
        engine: Its name, for the message.

    Raises:
        WeightsError: If the picture cannot be decoded.
        EngineError: If a prediction differs by more than ``PROBE_TOLERANCE``.
    """
    assert spec.quantization is not None
    try:
        picture = decode_picture(read_plain_file(folder / PROBE_FILE, _MAX_PROBE_BYTES))
    except (FrameError, OSError) as exc:
        raise WeightsError(f"{folder / PROBE_FILE} is no picture: {exc} {QUANTIZE}") from exc
    if picture.shape != (spec.height_px, spec.width_px, 3):
        raise WeightsError(
            f"{folder / PROBE_FILE} is no picture of {spec.width_px} x {spec.height_px} px, as {SPEC_FILE} says. "
            f"{QUANTIZE}"
        )
    predicted = infer(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8))
    for name, value in zip(spec.output_names, predicted, strict=True):
        expected = spec.quantization.probe[name]
        if not abs(value - expected) <= PROBE_TOLERANCE:
            raise EngineError(
                f"{engine} computes int8 wrongly on this machine: {name} {value:.3f} for the test picture, expected "
                f"{expected:.3f}. Use --engine openvino."
            )


def check_observation(spec: ModelSpec, observation: Observation) -> None:
    """Refuse an observation that is not what ``agent.contract.preprocess.preprocess`` makes for this spec.

    Raises:
        ValueError: If its dtype or shape is another.
    """
    expected = (spec.height_px, spec.width_px, 3)
    if observation.dtype != np.uint8 or observation.shape != expected:
        raise ValueError(
            f"the observation is {observation.dtype} {observation.shape}, expected uint8 {expected}. "
            "Make it with preprocess(frame, engine.spec)."
        )
