"""Makes one file out of two: copies the weights from the file beside a graph into the graph.

OpenVINO reads weights in a separate file by path, some time after they were checked. Data in memory cannot change.
"""

from agent.engines.model_folder.protobuf import split_message

# Field numbers of ONNX's schema (onnx.proto3), as in agent.engines.model_folder.graph.
_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_TENSOR_RAW_DATA, _TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 9, 13, 14
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_BYTES = 2  # wire type of fields that begin with their length


def embed_weights(graph: bytes, weights: bytes) -> bytes:
    """Return the graph with its weights inside.

    Args:
        graph: A graph that ``read_graph`` has accepted.
        weights: Content of its weights file, which ``check_weights`` has accepted.
    """
    parts: list[bytes | memoryview] = []
    for number, field, content in split_message(memoryview(graph)):
        if number != _MODEL_GRAPH:
            parts.append(field)
            continue
        inside = [
            part
            for inner_number, inner_field, inner in split_message(content)
            for part in (_embed(inner, weights) if inner_number == _GRAPH_INITIALIZER else (inner_field,))
        ]
        parts += [_head(_MODEL_GRAPH, sum(map(len, inside))), *inside]
    return b"".join(parts)


def _embed(tensor: memoryview, weights: bytes) -> list[bytes | memoryview]:
    """Return an initializer's parts, including its data from the weights file."""
    parts: list[bytes | memoryview] = []
    entries: dict[str, int] = {}
    for number, field, content in split_message(tensor):
        if number == _TENSOR_EXTERNAL_DATA:
            entry = {inner_number: bytes(inner) for inner_number, _, inner in split_message(content)}
            if entry[_ENTRY_KEY] in (b"offset", b"length"):
                entries[entry[_ENTRY_KEY].decode()] = int(entry[_ENTRY_VALUE])
        elif number != _TENSOR_DATA_LOCATION:
            parts.append(field)
    if entries:
        begin, length = entries["offset"], entries["length"]
        parts += [_head(_TENSOR_RAW_DATA, length), memoryview(weights)[begin : begin + length]]
    return [_head(_GRAPH_INITIALIZER, sum(map(len, parts))), *parts]


def _head(number: int, length: int) -> bytes:
    """Return the bytes before a field's content: number, wire type and length."""
    return _varint(number << 3 | _BYTES) + _varint(length)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
