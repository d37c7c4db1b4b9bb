"""What every engine checks before it trusts a model folder, and an observation."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from agent.contract.errors import EngineError, WeightsError
from agent.contract.observation import Observation
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

# Field numbers of ONNX's protobuf schema (onnx.proto3), and the wire type of everything that has a length.
_MODEL_GRAPH, _GRAPH_INITIALIZER, _TENSOR_EXTERNAL_DATA = 7, 5, 13
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
PROBE_TOLERANCE = 0.05
"""Largest difference between two runtimes' int8 predictions of one picture that counts as rounding."""
_VARINT, _FIXED_64, _LENGTH_DELIMITED, _FIXED_32 = 0, 1, 2, 5


def open_model_folder(folder: Path, int8: bool = False) -> tuple[ModelSpec, Path]:
    """Read a model's spec and check the files beside it, before any runtime parses them.

    Args:
        folder: The model.
        int8: Whether to open the int8 graph and weights instead of the float ones.

    Returns:
        The spec, and the path of the graph, whose weights are in the one file beside it that belongs to it.

    Raises:
        SpecError: If the spec is missing, unreadable or inconsistent.
        WeightsError: If a file is missing or damaged, the graph takes its weights from another file, or there are no
            int8 weights.
    """
    spec = ModelSpec.load(folder)
    if int8 and spec.quantization is None:
        raise WeightsError(f"{folder} has no int8 weights, expected {INT8_GRAPH_FILE} and its files. {QUANTIZE}")
    graph, weights = (INT8_GRAPH_FILE, INT8_WEIGHTS_FILE) if int8 else (GRAPH_FILE, WEIGHTS_FILE)
    spec.verify_files(folder, weights, graph, *([PROBE_FILE] if int8 else []))
    _check_external_data(folder / graph, weights)
    return spec, folder / graph


def check_graph(graph: Path, spec: ModelSpec, actual: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    """Compare the shapes of the graph's input and output with the spec.

    Raises:
        WeightsError: If they differ.
    """
    expected = (1, spec.height_px, spec.width_px, 3), (1, len(spec.outputs))
    if actual != expected:
        raise WeightsError(
            f"{graph} takes input {actual[0]} and gives output {actual[1]}, but {SPEC_FILE} says "
            f"{expected[0]} and {expected[1]}: they come from different exports. "
            f"{REWRITE_GRAPH}"
        )


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
    picture = cv2.imdecode(np.frombuffer((folder / PROBE_FILE).read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if picture is None or picture.shape != (spec.height_px, spec.width_px, 3):
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


def _check_external_data(path: Path, weights: str) -> None:
    """Refuse a graph that reads its weights from anywhere but the one weights file beside it.

    A location may be any path, and a runtime would open it. The bytes are read here rather than with the onnx package,
    which would triple the start-up of the lightest engine.
    """
    data = memoryview(path.read_bytes())
    location, expected = b"location", weights.encode()
    accepted = 0
    try:
        for _, graph in _fields(data, _MODEL_GRAPH):
            for _, tensor in _fields(graph, _GRAPH_INITIALIZER):
                for _, entry in _fields(tensor, _TENSOR_EXTERNAL_DATA):
                    fields = [(number, content.tobytes()) for number, content in _fields(entry)]
                    accepted += fields == [(_ENTRY_KEY, location), (_ENTRY_VALUE, expected)]
    except (IndexError, ValueError) as exc:
        raise WeightsError(f"{path} is not an ONNX graph ({exc}). {REWRITE_GRAPH}") from exc
    # Every other mention of a location (in a subgraph, a repeated field...) shows as a surplus of the bare word.
    mentioned = data.tobytes().count(location)
    if mentioned != accepted:
        raise WeightsError(
            f"{path} mentions {mentioned} weight locations, {accepted} of them {weights}, expected no other: a "
            f"graph may only read the weights beside it. {REWRITE_GRAPH}"
        )


def _fields(message: memoryview, wanted: int | None = None) -> Iterator[tuple[int, memoryview]]:
    """Iterate over a protobuf message's length-delimited fields: (field number, content)."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            _, position = _varint(message, position)
        elif wire_type in (_FIXED_32, _FIXED_64):
            position += 4 if wire_type == _FIXED_32 else 8
        elif wire_type == _LENGTH_DELIMITED:
            length, position = _varint(message, position)
            if position + length > len(message):
                raise ValueError(f"a field of {length} bytes ends after the file")
            if wanted in (None, number):
                yield number, message[position : position + length]
            position += length
        else:
            raise ValueError(f"wire type {wire_type}")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return a variable-length integer and the position after it."""
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
