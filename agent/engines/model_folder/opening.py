"""The checks of every engine before it uses a model folder or an observation."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from agent.contract.errors import EngineError, FrameError, WeightsError
from agent.contract.observation import Observation
from agent.contract.picture_codec import decode_picture
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
from agent.engines.base import Prediction
from agent.engines.model_folder.graph import MAX_GRAPH_BYTES, read_graph
from agent.engines.model_folder.weights import check_weights

PROBE_TOLERANCE = 0.05
"""Largest difference between two runtimes' int8 predictions of one picture that still counts as rounding."""
MAX_PROBE_BYTES = 50_000_000


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A model folder's files as they were when they were checked; later changes on the disk have no effect.

    Attributes:
        spec: The description.
        graph_path: Where the graph is from, for messages.
        weights_name: The graph's name for the file with its weights.
        graph: Content of the ONNX file.
        weights: Content of the safetensors file.
        probe: Content of ``probe.png``; empty for float weights.
        multiply_adds: Multiply-adds of one pass.
    """

    spec: ModelSpec
    graph_path: Path
    weights_name: str
    graph: bytes
    weights: bytes
    probe: bytes
    multiply_adds: int


def open_model_folder(folder: Path, int8: bool = False) -> OpenModel:
    """Read a model's files, once, and check them from end to end before any runtime parses them.

    Args:
        folder: The model's folder.
        int8: Whether to open the int8 graph and weights instead of the float ones.

    Raises:
        SpecError: If the spec is missing, unreadable or inconsistent.
        WeightsError: If a file is missing or damaged; if the graph holds something that is not allowed, or takes its
            weights from another file; if a pass would take too long; if graph, weights and spec belong to different
            networks; if a weight is not finite; or if there are no int8 weights.
    """
    spec = ModelSpec.load(folder)
    if int8 and spec.quantization is None:
        raise WeightsError(f"{folder} has no int8 weights, expected {INT8_GRAPH_FILE} and its files. {QUANTIZE}")
    graph_name, weights_name = (INT8_GRAPH_FILE, INT8_WEIGHTS_FILE) if int8 else (GRAPH_FILE, WEIGHTS_FILE)
    graph_path = folder / graph_name
    weights = spec.read_file(folder, weights_name)
    graph = spec.read_file(folder, graph_name, MAX_GRAPH_BYTES)
    probe = spec.read_file(folder, PROBE_FILE, MAX_PROBE_BYTES) if int8 else b""
    found = read_graph(graph_path, graph, weights_name)
    actual = found.input_shape, found.output_shape
    expected = (1, *spec.observation_shape), (1, len(spec.outputs))
    if actual != expected:
        raise WeightsError(
            f"{graph_path} takes input {actual[0]} and gives output {actual[1]}, but {SPEC_FILE} says {expected[0]} "
            f"and {expected[1]}: they come from different exports. {REWRITE_GRAPH}"
        )
    check_weights(folder / weights_name, weights, found.weights)
    return OpenModel(spec, graph_path, weights_name, graph, weights, probe, found.multiply_adds)


def check_probe(model: OpenModel, infer: Callable[[Observation], Prediction], engine: str) -> None:
    """Let an int8 engine predict a picture with a known answer; refuse the engine if it is wrong.

    Processors and runtimes differ in int8 arithmetic. Without VNNI instructions, sums may saturate, and a network that
    drives well elsewhere leaves the road here.

    Args:
        model: Opened with ``int8``.
        infer: Runs the network.
        engine: The engine's name, for the message.

    Raises:
        WeightsError: If the picture cannot be decoded.
        EngineError: If a prediction differs by more than ``PROBE_TOLERANCE``.
    """
    spec, path = model.spec, model.graph_path.with_name(PROBE_FILE)
    assert spec.quantization is not None
    try:
        picture = decode_picture(model.probe)
    except FrameError as exc:
        raise WeightsError(f"{path} is not a picture: {exc} {QUANTIZE}") from exc
    if picture.shape != (spec.height_px, spec.width_px, 3):
        raise WeightsError(
            f"{path} is not a picture of {spec.width_px} x {spec.height_px} px, as {SPEC_FILE} says. {QUANTIZE}"
        )
    # A network for several pictures gets the same one several times.
    predicted = infer(np.tile(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8), spec.pictures))
    for name, value in zip(spec.output_names, predicted, strict=True):
        expected = spec.quantization.probe[name]
        if not abs(value - expected) <= PROBE_TOLERANCE:
            raise EngineError(
                f"{engine} computes int8 wrongly on this machine: {name} {value:.3f} for the test picture, expected "
                f"{expected:.3f}. Use --engine openvino."
            )


def check_observation(spec: ModelSpec, observation: Observation) -> None:
    """Refuse an observation that does not look like the output of ``agent.contract.preprocess.preprocess``.

    Raises:
        ValueError: If its dtype or shape differs from the spec's.
    """
    expected = spec.observation_shape
    if observation.dtype != np.uint8 or observation.shape != expected:
        raise ValueError(
            f"the observation is {observation.dtype} {observation.shape}, expected uint8 {expected}. "
            "Let policy_for(engine) feed the engine."
        )
