"""One file out of two: a graph with the weights that it takes from the file beside it put into it.

OpenVINO reads such weights by path, some time after they were looked at; what it is handed in memory stays the same.
"""

from agent.engines.model_folder.protobuf import split_message

# Field numbers of ONNX's schema (onnx.proto3), as in agent.engines.model_folder.graph.
_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_TENSOR_RAW_DATA, _TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 9, 13, 14
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_BYTES = 2  # wire type of what has its length before it


def embed_weights(graph: bytes, weights: bytes) -> bytes:
    """Return the graph with its weights inside.

    Args:
        graph: One that ``read_graph`` has accepted.
        weights: The file that it takes them from, which ``check_weights`` has accepted for it.
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
    """Return an initializer's parts, what it took from the other file among them."""
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
    """Return what stands before a field's content."""
    return _varint(number << 3 | _BYTES) + _varint(length)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
