"""Changes that keep what a parser checks first (checksums, lengths, syntax), so that it gets to what it checks next."""

import io
import json
import struct
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fuzz_targets import SECTION
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from onnx import ModelProto

Mutation = Callable[[bytes, Random], bytes]
"""Changes one input in one place."""

NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 7, 8, 16, 255, 256, 1024, 65536, 2**31 - 1, 2**31, -(2**31), 2**32, 2**53, 2**63 - 1, -(2**63)),
    *(10**30, 0.5, -0.5, 1e-320, 1e308, -1e308, float("nan"), float("inf"), float("-inf"), 10**400),
)
_MOST_TABLE_BYTES = 1 << 20
_MANY_ROWS = 1000  # of one value: they take no room in a file
TEXTS = (
    *(
        "",
        "a",
        "..",
        "../outside",
        "/etc/passwd",
        "C:\\outside",
        "weights.safetensors",
        "network.onnx",
        "@network.onnx",
    ),
    *("\0", "\n", "\x1b[2J", "\ud800", "x" * 500, "%s%n", "[/b]", "NaN"),
    *("\x1b]52;c;eA==\x07", "\u202e\u2066", "\x9b2J", "\u0000\u200b\ufeff", "\N{PILE OF POO}" * 300, "x" * 12_000),
    *("com.example", "Loop", "Relu", "Concat", "VALID", "SAME_UPPER"),
)


def mutate_bytes(data: bytes, random: Random) -> bytes:
    """Replace, insert, take out or repeat a few bytes."""
    at = random.randrange(len(data) + 1)
    length = min(len(data) - at, random.choice((0, 1, 1, 2, 4, 8, 64)))
    put = random.choice((b"", random.randbytes(random.choice((1, 2, 4, 8))), data[at : at + 64], b"\xff" * 4, bytes(4)))
    return data[:at] + put + data[at + length :]


def mutate_json(data: bytes, random: Random) -> bytes:
    """Replace, take out, rename or repeat a value anywhere in a JSON text."""
    try:
        root = json.loads(data)
    except (ValueError, RecursionError):
        return mutate_bytes(data, random)
    places: list[tuple[Any, Any]] = []
    level = [root]
    while level:
        level = [value for value in level if isinstance(value, (dict, list))]
        found = [(value, key) for value in level for key in (value if isinstance(value, dict) else range(len(value)))]
        level = [value[key] for value, key in found]
        places += found
    if not places:
        return json.dumps(_value(random)).encode()
    parent, key = random.choice(places)
    match random.randrange(5):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[random.choice(TEXTS)] = parent.pop(key)
        case 1:
            parent.append(parent[key])
        case 2:
            parent[key] = [parent[key]] * random.choice((1, 2, 100))
        case 3:
            other, other_key = random.choice(places)
            parent[key] = json.loads(json.dumps(other[other_key])) if other is not parent else _value(random)
        case _:
            parent[key] = _value(random)
    return json.dumps(root).encode()


def mutate_toml(data: bytes, random: Random) -> bytes:
    """Change the value in a line, or the order of lines."""
    lines = data.decode("utf-8", "replace").split("\n")
    at = random.randrange(len(lines))
    match random.randrange(5):
        case 0:
            lines[at:at] = [random.choice(lines)]
        case 1:
            del lines[at]
        case 2:
            lines[at] = f"[{lines[at]}]"
        case 3:
            return mutate_bytes(data, random)
        case _:
            value = random.choice(NUMBERS) if random.random() < 0.6 else random.choice(TEXTS)
            text = json.dumps(value) if isinstance(value, str) else repr(value)
            key = lines[at].partition("=")[0].strip() or "title"
            lines[at] = (
                f"{key} = {random.choice((text, f'[{text}]', f'[{text}, {text}, {text}, {text}]', f'{{a = {text}}}'))}"
            )
    return "\n".join(lines).encode("utf-8", "replace")


def mutate_picture(data: bytes, random: Random) -> bytes:
    """Change a chunk of a PNG and set its length and checksum right."""
    chunks = []
    position = 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        chunks.append((data[position + 4 : position + 8], data[position + 8 : position + 8 + length]))
        position += 12 + length
    if not data.startswith(b"\x89PNG") or not chunks:
        return mutate_bytes(data, random)
    at = random.randrange(len(chunks))
    name, content = chunks[at]
    match random.randrange(6):
        case 0:
            chunks[at] = (random.choice((b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tEXt", b"acTL")), content)
        case 1:
            chunks.insert(at, random.choice(chunks))
        case 2:
            del chunks[at]
        case 3 if name == b"IDAT":
            try:
                rows = zlib.decompress(content, bufsize=1 << 20)
            except zlib.error:
                rows = b""
            chunks[at] = (name, zlib.compress(mutate_bytes(rows[: 1 << 20], random)))
        case 3 if name == b"IHDR" and len(content) == 13:
            sizes = [random.choice((0, 1, 9, 4000, 60_000, 2**31 - 1)) for _ in range(2)]
            depth = random.choice((1, 2, 4, 8, 16)), random.choice((0, 2, 3, 4, 6)), 0, 0, random.choice((0, 1))
            chunks[at] = (name, struct.pack(">IIBBBBB", *sizes, *depth))
        case _:
            chunks[at] = (name, mutate_bytes(content, random))
    parts = [len(content).to_bytes(4, "big") + name + content + _crc(name + content) for name, content in chunks]
    return data[:8] + b"".join(parts)


def mutate_graph(data: bytes, random: Random) -> bytes:
    """Change one field anywhere in an ONNX graph, or add an operation on values that it has."""
    try:
        model = ModelProto.FromString(data)
    except DecodeError:
        return mutate_bytes(data, random)
    try:
        if model.graph.node and random.random() < 0.3:
            _add_node(model, random)
            return bytes(model.SerializeToString())
    except UnicodeDecodeError:  # a name that is none
        return mutate_bytes(data, random)
    places: list[tuple[Message, FieldDescriptor]] = []
    waiting: list[Message] = [model]
    while waiting:
        message = waiting.pop()
        for field, value in message.ListFields():
            places.append((message, field))
            if field.message_type is not None:
                waiting += list(value) if field.is_repeated else [value]
    if not places:
        return mutate_bytes(data, random)
    message, field = random.choice(places)
    values = getattr(message, field.name)
    try:
        if field.is_repeated:
            _mutate_repeated(values, field, random)
        elif field.message_type is not None:
            if random.random() < 0.5:
                message.ClearField(field.name)
            else:
                unset = [each for each in message.DESCRIPTOR.fields if each not in dict(message.ListFields())]
                _set(message, random.choice(unset or [field]), random)
        else:
            _set(message, field, random)
    except (ValueError, TypeError):
        return mutate_bytes(data, random)  # a value that the field cannot hold
    return bytes(model.SerializeToString())


def mutate_weights(data: bytes, random: Random) -> bytes:
    """Change the header of a safetensors file, or its numbers."""
    length = int.from_bytes(data[:8], "little")
    header, numbers = data[8 : 8 + length], data[8 + length :]
    if random.random() < 0.5:
        return data[: 8 + length] + mutate_bytes(numbers, random)
    header = mutate_json(header, random)
    return len(header).to_bytes(8, "little") + header + numbers


def mutate_model_folder(data: bytes, random: Random) -> bytes:
    """Change one of the three files."""
    sections = data.split(SECTION, 2)
    if len(sections) != 3:
        return mutate_bytes(data, random)
    at = random.choice((0, 1, 1, 1, 2))
    sections[at] = (mutate_json, mutate_graph, mutate_weights)[at](sections[at], random)
    return SECTION.join(sections)


def mutate_episode(data: bytes, random: Random) -> bytes:
    """Change header, columns, pictures or layout of an episode, and set its checksums right."""
    sealed = data.startswith(b"PAR1")
    try:
        if sealed and _claimed_bytes(data) > _MOST_TABLE_BYTES:
            return mutate_bytes(data, random)
        table = pq.read_table(io.BytesIO(data)) if sealed else pa.ipc.open_stream(data).read_all()
        table.validate(full=True)
        table = _mutate_table(table, random)
        if table.num_rows > _MANY_ROWS:
            return as_parquet(table, use_dictionary=True) if random.random() < 0.7 else as_recording(table, "zstd")
        if table.nbytes > _MOST_TABLE_BYTES:  # twenty times twenty times itself
            return mutate_bytes(data, random)
        return _write_parquet(table, random) if sealed or random.random() < 0.1 else _write_recording(table, random)
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, MemoryError, OverflowError, SystemError):
        return mutate_bytes(data, random)


def nest(table: Any, name: str, depth: int, kind: int = 0) -> Any:
    """Return a table with a column wrapped in lists, structs, maps or run lengths, so many times."""
    column = table.column(name).combine_chunks()
    rows = len(column)
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32))
    for _ in range(depth):
        match kind:
            case 0:
                column = pa.StructArray.from_arrays([column], ["more"])
            case 1:
                column = pa.ListArray.from_arrays(offsets, column)
            case 2:
                column = pa.MapArray.from_arrays(offsets, pa.array(["key"] * rows), column)
            case 3:
                column = pa.FixedSizeListArray.from_arrays(column, 1)
            case _ if pa.types.is_primitive(column.type):
                column = pa.RunEndEncodedArray.from_arrays(pa.array(np.arange(1, rows + 1, dtype=np.int32)), column)
            case _:
                column = column.dictionary_encode()
    return table.set_column(table.column_names.index(name), name, column)


def repeat_first_row(table: Any, rows: int) -> Any:
    """Return a table of one row over and over, without its picture."""
    frame = table.schema.field("frame").type
    columns = [
        pa.nulls(rows, each.type) if each.type == frame else pa.repeat(table.column(each.name)[0], rows)
        for each in table.schema
    ]
    return pa.table(columns, schema=table.schema)


def with_about(table: Any, about: bytes) -> Any:
    """Return a table with another header, and its checksum."""
    checksum = str(zlib.crc32(about)).encode()
    return table.replace_schema_metadata({**table.schema.metadata, b"hoodcam": about, b"hoodcam_crc32": checksum})


def as_parquet(table: Any, use_dictionary: bool = False) -> bytes:
    """Return a table as a file that takes as little room as may be without compression."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="NONE", use_dictionary=use_dictionary, write_page_checksum=True)
    return sink.getvalue()


def as_recording(table: Any, compression: str | None = None) -> bytes:
    """Return a table as a recording of one batch."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        for batch in table.combine_chunks().to_batches():
            checksum = str(zlib.crc32(batch.serialize())).encode()
            writer.write_batch(batch, custom_metadata={b"crc32": checksum})
    return sink.getvalue()


MUTATIONS: dict[str, Mutation] = {
    "spec": mutate_json,
    "profile": mutate_toml,
    "picture": mutate_picture,
    "graph": mutate_graph,
    "model-folder": mutate_model_folder,
    "engine": mutate_model_folder,
    "episode": mutate_episode,
}


def _value(random: Random) -> Any:
    return random.choice((random.choice(NUMBERS), random.choice(TEXTS), None, True, [], {}, [[]], {"name": 1}))


def _crc(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "big")


def _add_node(model: ModelProto, random: Random) -> None:
    """Add an operation like one of those there, on other values; sometimes what was computed comes from it."""
    graph = model.graph
    values = [name for node in graph.node for name in node.output] + [tensor.name for tensor in graph.initializer]
    at = random.randrange(len(graph.node)) + 1
    node = graph.node.add()
    node.CopyFrom(random.choice(graph.node))
    for index in range(len(node.input)):
        if random.random() < 0.5:
            node.input[index] = random.choice(values)
    node.output[:] = [f"more{len(graph.node)}"]
    nodes = list(graph.node)
    nodes.insert(at, nodes.pop())
    copies = [type(each).FromString(each.SerializeToString()) for each in nodes]
    if random.random() < 0.5:  # the operations that follow take it in place of one of their own
        replaced = random.choice(values)
        for later in copies[at + 1 :]:
            later.input[:] = [node.output[0] if name == replaced else name for name in later.input]
    del graph.node[:]
    graph.node.extend(copies)


def _set(message: Message, field: FieldDescriptor, random: Random) -> None:
    if field.message_type is not None:
        (getattr(message, field.name).add() if field.is_repeated else getattr(message, field.name).SetInParent())
    elif field.is_repeated:
        getattr(message, field.name).append(_scalar(field, random))
    else:
        setattr(message, field.name, _scalar(field, random))


def _scalar(field: FieldDescriptor, random: Random) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            text = random.choice(TEXTS).encode("utf-8", "replace")
            return text if field.type == FieldDescriptor.TYPE_BYTES else text.decode()
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            return float(random.choice(NUMBERS[:-1]))
        case _ if random.random() < 0.5:
            return random.choice((0, 1, 2, 3, 4))
        case _:
            return int(random.choice([number for number in NUMBERS if isinstance(number, int)]))


def _mutate_repeated(values: Any, field: FieldDescriptor, random: Random) -> None:
    at = random.randrange(len(values))
    match random.randrange(3):
        case 0:
            del values[at]
        case 1:
            values.extend([random.choice(values)] * random.choice((1, 1, 1, 50)))
        case _ if field.message_type is not None:
            values[at].CopyFrom(random.choice(values))
        case _:
            values[at] = random.choice((_scalar(field, random), random.choice(values)))


def _mutate_table(table: Any, random: Random) -> Any:
    names = table.column_names
    at = random.randrange(len(names))
    # Without a row there is none to change.
    match random.randrange(10) if table.num_rows else random.choice((0, 1, 2, 3, 4, 6, 8)):
        case 0:
            return with_about(table, mutate_json(table.schema.metadata[b"hoodcam"], random))
        case 6:
            return nest(table, names[at], random.choice((1, 1, 2, 5, 60, 300)), random.randrange(5))
        case 7 if random.random() < 0.1:  # as many as may well be read
            return repeat_first_row(table, random.choice((5_000, 100_000)))
        case 8:
            depth = random.choice((100, 3000))
            return with_about(table, random.choice((b"[", b'{"header":')) * depth)
        case 1:
            return table.drop_columns([names[at]])
        case 2:
            return table.rename_columns([random.choice(names) if each == names[at] else each for each in names])
        case 3:
            return table.append_column(random.choice((names[at], "more")), table.column(at))
        case 4:
            return pa.concat_tables([table] * random.choice((0, 2, 20))) if random.random() < 0.9 else table.slice(0, 0)
        case 5:
            rows = table.column("frame").to_pylist()
            index = random.randrange(len(rows))
            rows[index] = {**rows[index], "bytes": mutate_picture(rows[index]["bytes"] or b"", random)}
            changed = pa.array(rows, table.schema.field("frame").type)
            return table.set_column(names.index("frame"), "frame", changed)
        case _:
            values = table.column(at).to_pylist()
            values[random.randrange(len(values))] = random.choice((None, random.choice(NUMBERS[:-1]), True, {}, "a"))
            return table.set_column(at, names[at], pa.array(values, table.schema.field(at).type))


def _claimed_bytes(data: bytes) -> int:
    """Return what an episode says that it takes in memory: the mutator has not the bounds that the reader has."""
    about = pq.ParquetFile(io.BytesIO(data)).metadata
    return sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))


def _write_parquet(table: Any, random: Random) -> bytes:
    sink = io.BytesIO()
    plain = random.random() < 0.7
    pq.write_table(
        table,
        sink,
        row_group_size=random.choice((1, 2, 100)),
        compression="NONE" if plain else random.choice(("snappy", "gzip", "zstd", "lz4", "brotli")),
        use_dictionary=not plain,
        write_page_checksum=random.random() < 0.9,
        version=random.choice(("1.0", "2.6")),
    )
    return sink.getvalue()


def _write_recording(table: Any, random: Random) -> bytes:
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=None if random.random() < 0.8 else random.choice(("zstd", "lz4")))
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        for batch in table.to_batches(max_chunksize=random.choice((1, 2, 100))):
            checksum = str(zlib.crc32(batch.serialize())).encode()
            writer.write_batch(batch, custom_metadata={b"crc32": checksum} if random.random() < 0.95 else None)
    return sink.getvalue()[: None if random.random() < 0.8 else -random.randrange(1, 200)]
