"""Checks a model folder's graph from end to end before any runtime parses it.

A graph is a chain of known ONNX operations with known attributes, on one picture of bytes. It has no code, no loops, no
subgraphs and no custom operations. Its weights come from the one file beside it. Every shape is computed, so that a
graph of a few bytes cannot ask for all memory.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import numpy as np

from agent.contract.errors import WeightsError
from agent.contract.spec import REWRITE_GRAPH
from agent.contract.untrusted import is_plain_text
from agent.engines.model_folder.operations import (
    COMPARING,
    FLOAT,
    FLOAT16,
    INT8,
    INT64,
    OPERATIONS,
    UINT8,
    Node,
    Operation,
    Shape,
    Value,
)
from agent.engines.model_folder.protobuf import Fields, Kind, read_message, single, text

MAX_GRAPH_BYTES = 2_000_000
"""The largest graph that is read; the shipped network's has 78 KB."""
MAX_NUMBERS = 500_000_000
"""The most numbers in all values that a pass computes, together; the shipped network computes 157 million."""
MAX_PRODUCTS = 240_000_000_000
"""The most multiplications and comparisons of one pass: 20 times as many as the shipped network's 11.9 billion. A graph
of 2 MB can ask for 400 trillion, and a runtime cannot be interrupted during a pass."""
_MAX_NODES = 4096
MAX_RANK = 8
"""Axes of a value."""
_MAX_SIZE = 1 << 31

# Versions of the file format and of the operations: from those that `training export` writes, with room for later ones.
# OpenVINO 2026.4 hangs on an opset of 2**63 - 1.
_IR_VERSIONS = range(8, 21)
_OPSETS = range(17, 41)

# Field numbers of ONNX's schema (onnx.proto3). All other fields are refused: functions, training, subgraphs, sparse
# tensors, segments, sizes that become known later.
_MODEL = {
    1: ("ir_version", Kind.INTEGER),
    2: ("producer_name", Kind.BYTES),
    3: ("producer_version", Kind.BYTES),
    4: ("domain", Kind.BYTES),
    5: ("model_version", Kind.INTEGER),
    6: ("doc_string", Kind.BYTES),
    7: ("graph", Kind.BYTES),
    8: ("opset_import", Kind.BYTES),
}
_OPSET = {1: ("domain", Kind.BYTES), 2: ("version", Kind.INTEGER)}
_GRAPH = {
    1: ("node", Kind.BYTES),
    2: ("name", Kind.BYTES),
    5: ("initializer", Kind.BYTES),
    10: ("doc_string", Kind.BYTES),
    11: ("input", Kind.BYTES),
    12: ("output", Kind.BYTES),
}
_NODE = {
    1: ("input", Kind.BYTES),
    2: ("output", Kind.BYTES),
    3: ("name", Kind.BYTES),
    4: ("op_type", Kind.BYTES),
    5: ("attribute", Kind.BYTES),
    6: ("doc_string", Kind.BYTES),
    7: ("domain", Kind.BYTES),
}
_ATTRIBUTE = {
    1: ("name", Kind.BYTES),
    2: ("float", Kind.REAL),
    3: ("int", Kind.INTEGER),
    4: ("string", Kind.BYTES),
    5: ("tensor", Kind.BYTES),
    8: ("ints", Kind.INTEGERS),
    20: ("type", Kind.INTEGER),
}
_ATTRIBUTE_TYPES = {"float": 1, "int": 2, "string": 3, "tensor": 4, "ints": 7}
_TENSOR = {
    1: ("dims", Kind.INTEGERS),
    2: ("data_type", Kind.INTEGER),
    4: ("float_data", Kind.REALS),
    5: ("int32_data", Kind.INTEGERS),
    7: ("int64_data", Kind.INTEGERS),
    8: ("name", Kind.BYTES),
    9: ("raw_data", Kind.BYTES),
    13: ("external_data", Kind.BYTES),
    14: ("data_location", Kind.INTEGER),
}
_ENTRY = {1: ("key", Kind.BYTES), 2: ("value", Kind.BYTES)}
_VALUE_INFO = {1: ("name", Kind.BYTES), 2: ("type", Kind.BYTES)}
_TYPE = {1: ("tensor_type", Kind.BYTES)}
_TENSOR_TYPE = {1: ("elem_type", Kind.INTEGER), 2: ("shape", Kind.BYTES)}
_SHAPE = {1: ("dim", Kind.BYTES)}
_DIMENSION = {1: ("dim_value", Kind.INTEGER)}
# By ONNX's number of a type: numpy's type, and the field for values that are stored one by one.
_TYPES: dict[int, tuple[np.dtype[Any], str]] = {
    FLOAT: (np.dtype("<f4"), "float_data"),
    UINT8: (np.dtype("u1"), "int32_data"),
    INT8: (np.dtype("i1"), "int32_data"),
    INT64: (np.dtype("<i8"), "int64_data"),
    FLOAT16: (np.dtype("<f2"), "raw_data"),
}
_EXTERNAL = 1
_DATA = {"raw_data", *(field for _, field in _TYPES.values())}


@dataclass(frozen=True, slots=True)
class ExternalTensor:
    """A tensor that the graph takes from the weights file: its place, type and shape there.

    Attributes:
        dtype: Type of its numbers.
        shape: Shape of the tensor.
        offset: Offset of its first byte in the file.
        length: Length in bytes.
    """

    dtype: np.dtype[Any]
    shape: Shape
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Graph:
    """The facts about an accepted graph.

    Attributes:
        input_shape: Shape of the picture, which is uint8.
        output_shape: Shape of the prediction, which is float32.
        weights: Its tensors in the weights file, by name.
        multiply_adds: Multiply-adds of one pass in convolutions and matrix products; other operations cost little.
    """

    input_shape: Shape
    output_shape: Shape
    weights: dict[str, ExternalTensor]
    multiply_adds: int


def read_graph(path: Path, data: bytes, weights: str) -> Graph:
    """Check a graph.

    Args:
        path: Where it is from, for the message.
        data: The content of an ONNX file.
        weights: Name of the only file from which it may take its weights.

    Raises:
        WeightsError: If it is larger than ``MAX_GRAPH_BYTES``, is not an ONNX graph, needs more arithmetic than
            ``MAX_PRODUCTS``, or holds anything other than known operations on one picture, with finite numbers and
            weights from that file.
    """
    try:
        if len(data) > MAX_GRAPH_BYTES:
            raise ValueError(f"it has {len(data)} bytes, expected {MAX_GRAPH_BYTES} at most")
        return _read_model(memoryview(data), weights)
    except ValueError as exc:
        raise WeightsError(f"{path} is not an ONNX graph of this project: {exc}. {REWRITE_GRAPH}") from exc


def _read_model(data: memoryview, weights: str) -> Graph:
    model = read_message(data, _MODEL)
    content = single(model, "graph")
    if content is None:
        raise ValueError("it has no graph")
    graph = read_message(content, _GRAPH)
    external, values = _read_initializers(graph.get("initializer", []), weights)
    picture, picture_shape = _read_value_info(graph, "input", UINT8)
    prediction, prediction_shape = _read_value_info(graph, "output", FLOAT)
    _define(values, picture, Value(picture_shape))
    multiply_adds = _read_nodes(graph.get("node", []), values)
    if prediction not in values or values[prediction].shape != prediction_shape:
        found = values[prediction].shape if prediction in values else "no value"
        raise ValueError(f"its output is {found}, and declared as {prediction_shape}")
    _check_versions(model)
    return Graph(picture_shape, prediction_shape, external, multiply_adds)


def _read_initializers(tensors: list[memoryview], weights: str) -> tuple[dict[str, ExternalTensor], dict[str, Value]]:
    external: dict[str, ExternalTensor] = {}
    values: dict[str, Value] = {}
    for content in tensors:
        tensor = read_message(content, _TENSOR)
        name = text(tensor, "name")
        if single(tensor, "data_location", 0) == _EXTERNAL:
            external[name] = _read_external(tensor, weights)
            _define(values, name, Value(external[name].shape))
        else:
            _define(values, name, _read_inline(tensor))
    return external, values


def _read_external(tensor: Fields, weights: str) -> ExternalTensor:
    dtype, shape = _read_type(tensor)
    entries: dict[str, str] = {}
    for content in tensor.get("external_data", []):
        entry = read_message(content, _ENTRY)
        entries[text(entry, "key")] = text(entry, "value")
    if len(entries) != len(tensor.get("external_data", [])) or entries.keys() != {"location", "offset", "length"}:
        raise ValueError(f"weights are described by {shortened(sorted(entries))}, expected location, offset and length")
    if entries["location"] != weights:
        raise ValueError(
            f"it takes weights from {shortened(entries['location'])}, expected {weights}: a graph may only read the "
            "file beside it"
        )
    offset, length = (_decimal(entries[key]) for key in ("offset", "length"))
    if length != math.prod(shape) * dtype.itemsize or tensor.keys() & _DATA:
        raise ValueError(f"weights of shape {shape} and type {dtype} have {length} bytes elsewhere, or some here")
    return ExternalTensor(dtype, shape, offset, length)


def _read_inline(tensor: Fields) -> Value:
    """Read a small tensor whose numbers are in the graph itself."""
    dtype, shape = _read_type(tensor)
    if "external_data" in tensor or single(tensor, "data_location", 0) != 0:
        raise ValueError("a constant has its data elsewhere, expected them in the graph")
    if len(tensor.keys() & _DATA) > 1:
        raise ValueError("a constant has two kinds of data, expected one")
    raw = single(tensor, "raw_data")
    if raw is None:
        numbers = np.array(tensor.get(_TYPES[single(tensor, "data_type")][1], []))
    elif len(raw) % dtype.itemsize:
        raise ValueError(f"a constant of type {dtype} has {len(raw)} bytes")
    else:
        numbers = np.frombuffer(raw, dtype)
    if numbers.size != math.prod(shape):
        raise ValueError(f"a constant of shape {shape} has {numbers.size} numbers")
    if dtype.kind == "f" and not np.isfinite(numbers).all():
        raise ValueError("a constant has numbers that are not finite")
    return Value(shape, numbers)


def _read_type(tensor: Fields) -> tuple[np.dtype[Any], Shape]:
    number = single(tensor, "data_type")
    if number not in _TYPES:
        raise ValueError(f"a tensor has numbers of type {number}, expected one of {', '.join(map(str, _TYPES))}")
    return _TYPES[number][0], _check_shape(tuple(tensor.get("dims", [])))


def _read_value_info(graph: Fields, which: str, expected: int) -> tuple[str, Shape]:
    """Return name and shape of the graph's one input or output."""
    content = single(graph, which)
    if content is None:
        raise ValueError(f"it has no {which}")
    info = read_message(content, _VALUE_INFO)
    kind = read_message(single(info, "type", memoryview(b"")), _TYPE)
    tensor = read_message(single(kind, "tensor_type", memoryview(b"")), _TENSOR_TYPE)
    number = single(tensor, "elem_type")
    if number != expected:
        raise ValueError(f"its {which} has numbers of type {number}, expected {expected} ({_TYPES[expected][0]})")
    dimensions = read_message(single(tensor, "shape", memoryview(b"")), _SHAPE).get("dim", [])
    shape = tuple(single(read_message(dimension, _DIMENSION), "dim_value", 0) for dimension in dimensions)
    return text(info, "name"), _check_shape(shape)


def _read_nodes(nodes: list[memoryview], values: dict[str, Value]) -> int:
    """Compute the shape of every value, node by node; return the multiply-adds of a pass."""
    if len(nodes) > _MAX_NODES:
        raise ValueError(f"it has {len(nodes)} operations, expected {_MAX_NODES} at most")
    numbers = multiply_adds = comparisons = 0
    for content in nodes:
        node = read_message(content, _NODE)
        _check_domain(node)
        kind = text(node, "op_type")
        if kind not in OPERATIONS:
            raise ValueError(f"it has the operation {shortened(kind)}, expected one of {', '.join(OPERATIONS)}")
        value, products = _infer(node, OPERATIONS[kind], kind, values)
        numbers += math.prod(value.shape)
        if kind in COMPARING:
            comparisons += products
        else:
            multiply_adds += products
        if numbers > MAX_NUMBERS:
            raise ValueError(f"a pass computes more than {MAX_NUMBERS} numbers")
        if multiply_adds + comparisons > MAX_PRODUCTS:
            raise ValueError(f"a pass takes more than {MAX_PRODUCTS // 10**9} billion multiplications or comparisons")
        _define(values, text(node, "output"), value)
    return multiply_adds


def _infer(node: Fields, operation: Operation, kind: str, values: dict[str, Value]) -> tuple[Value, int]:
    """Return the value of a node, and the number of its products."""
    names = [bytes(name).decode("utf-8") for name in node.get("input", [])]
    low, high = operation.inputs
    if not low <= len(names) <= high or not all(name in values for name in names):
        raise ValueError(f"{kind} has the inputs {shortened(names)}, expected {low} to {high} values known before it")
    attributes = _read_attributes(node, operation, kind)
    if kind == "Constant":
        if "value" not in attributes:
            raise ValueError("a Constant has no value")
        return _read_inline(read_message(attributes["value"], _TENSOR)), 0
    inputs = Node(attributes, [values[name] for name in names])
    try:
        value = Value(_check_shape(operation.infer(inputs)))
        return value, math.prod(value.shape) * operation.products(inputs)
    except ValueError as exc:
        raise ValueError(f"{kind} cannot be computed: {exc}") from exc


def _read_attributes(node: Fields, operation: Operation, kind: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for content in node.get("attribute", []):
        attribute = read_message(content, _ATTRIBUTE)
        name = text(attribute, "name")
        wanted = operation.attributes.get(name)
        if wanted is None or name in attributes:
            known = ", ".join(operation.attributes) or "none"
            raise ValueError(f"{kind} has the attribute {shortened(name)}, expected {known}, and each once")
        if single(attribute, "type") != _ATTRIBUTE_TYPES[wanted] or attribute.keys() - {"name", "type", wanted}:
            raise ValueError(f"{kind} has an attribute {name} that is not of kind {wanted}")
        match wanted:
            case "ints":
                value: Any = [_signed(each) for each in attribute.get("ints", [])]
            case "int":
                value = _signed(single(attribute, "int", 0))
            case "float":
                value = single(attribute, "float", 0.0)
                if not math.isfinite(value):
                    raise ValueError(f"{kind} has {name} {value}, expected a finite number")
            case "string":
                value = bytes(single(attribute, "string", b""))
            case _:
                value = single(attribute, wanted, memoryview(b""))
        attributes[name] = value
    return attributes


def _define(values: dict[str, Value], name: str, value: Value) -> None:
    if name in values or not is_plain_text(name, 300):
        raise ValueError(f"the value {shortened(name)} is there twice or has no name")
    values[name] = value


def _check_versions(model: Fields) -> None:
    wanted = [read_message(opset, _OPSET) for opset in model.get("opset_import", [])]
    for opset in wanted:
        _check_domain(opset)
    if len(wanted) != 1:
        raise ValueError(f"it wants {len(wanted)} sets of operations, expected one")
    for name, version, known in (
        ("ir_version", single(model, "ir_version", 0), _IR_VERSIONS),
        ("opset", single(wanted[0], "version", 0), _OPSETS),
    ):
        if version not in known:
            raise ValueError(f"its {name} is {version}, expected {known.start} to {known.stop - 1}")


def _check_domain(fields: Fields) -> None:
    domain = text(fields, "domain")
    if domain not in ("", "ai.onnx"):
        raise ValueError(f"it wants operations of {shortened(domain)}, expected ONNX's own alone")


def _check_shape(shape: Shape) -> Shape:
    if len(shape) > MAX_RANK or not all(1 <= size < _MAX_SIZE for size in shape):
        raise ValueError(f"a value has the shape {shortened(shape)}, expected {MAX_RANK} whole sizes at most")
    return shape


def _decimal(digits: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) < 16):
        raise ValueError(f"{shortened(digits)} is not a number of bytes")
    return int(digits)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
