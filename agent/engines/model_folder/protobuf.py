"""A strict reader of protobuf messages: every field must be known, of the expected kind, and within the message.

The onnx package would triple the start-up time of the lightest engine. And readers may disagree on a field that is
repeated, unknown or of another wire type: such a message is refused here, before any runtime sees it.
"""

import struct
from collections.abc import Iterator, Mapping
from enum import Enum, auto
from typing import Any

import numpy as np

_VARINT, _LENGTH_DELIMITED, _FIXED_32 = 0, 2, 5
_MAX_VARINT_BYTES = 10


class Kind(Enum):
    """The kinds of a field."""

    INTEGER = auto()
    """From 0 to 2^64 - 1; the schema's negative numbers appear as large ones."""
    REAL = auto()
    BYTES = auto()
    """Bytes, a text, or a message."""
    INTEGERS = auto()
    """Any number of integers, packed or one by one."""
    REALS = auto()


Schema = Mapping[int, tuple[str, Kind]]
"""Name and kind by field number."""
Fields = dict[str, list[Any]]
"""The values of a message by name, in the order in which they were found."""


def read_message(message: memoryview, schema: Schema) -> Fields:
    """Return a message's fields.

    Raises:
        ValueError: If a field is unknown, not of the schema's kind, or cut short.
    """
    fields: Fields = {}
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        number, wire_type = key >> 3, key & 7
        if number not in schema:
            raise ValueError(f"a field of number {number} is not used by any network here")
        name, kind = schema[number]
        values, position = _read_field(message, position, wire_type, kind)
        fields.setdefault(name, []).extend(values)
    return fields


def split_message(message: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Yield a message's fields in order: number, the whole field, and its content if that is bytes.

    Only for messages that ``read_message`` has accepted: nothing is checked here.
    """
    position = 0
    while position < len(message):
        start = position
        key, position = _read_varint(message, position)
        content_start, wire_type = position, key & 7
        if wire_type == _LENGTH_DELIMITED:
            length, content_start = _read_varint(message, position)
            position = content_start + length
        elif wire_type == _FIXED_32:
            position += 4
        else:
            _, position = _read_varint(message, position)
        yield key >> 3, message[start:position], message[content_start:position]


def single(fields: Fields, name: str, default: Any = None) -> Any:
    """Return a field that occurs once, or its default.

    Raises:
        ValueError: If it occurs more than once: readers may disagree on which one counts.
    """
    values = fields.get(name, [])
    if len(values) > 1:
        raise ValueError(f"{name} is there {len(values)} times, expected once")
    return values[0] if values else default


def text(fields: Fields, name: str) -> str:
    """Return a text that occurs once, or an empty text.

    Raises:
        ValueError: If it is not UTF-8.
    """
    return bytes(single(fields, name, b"")).decode("utf-8")


def _read_field(message: memoryview, position: int, wire_type: int, kind: Kind) -> tuple[list[Any], int]:
    """Return the values of one field, and the position after it."""
    if wire_type == _VARINT and kind in (Kind.INTEGER, Kind.INTEGERS):
        value, position = _read_varint(message, position)
        return [value], position
    if wire_type == _FIXED_32 and kind in (Kind.REAL, Kind.REALS):
        _check_end(message, position + 4)
        return [struct.unpack_from("<f", message, position)[0]], position + 4
    if wire_type == _LENGTH_DELIMITED and kind in (Kind.BYTES, Kind.INTEGERS, Kind.REALS):
        length, position = _read_varint(message, position)
        _check_end(message, position + length)
        content, position = message[position : position + length], position + length
        if kind is Kind.BYTES:
            return [content], position
        if kind is Kind.REALS:
            return np.frombuffer(content, "<f4").tolist(), position
        values = []
        inside = 0
        while inside < length:
            value, inside = _read_varint(content, inside)
            values.append(value)
        return values, position
    raise ValueError(f"wire type {wire_type} where {kind.name.lower()} were expected")


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return a variable-length integer and the position after it."""
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        _check_end(message, position + 1)
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, position
    raise ValueError(f"an integer of more than {_MAX_VARINT_BYTES} bytes")


def _check_end(message: memoryview, end: int) -> None:
    if end > len(message):
        raise ValueError("a field that ends after the message")
