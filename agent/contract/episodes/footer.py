"""The footer of a Parquet file, as far as it says how columns are packed, read without pyarrow.

pyarrow (26.0) ends the whole process where a column's description contradicts itself, such as by a histogram of the
wrong length or a claim of encryption: it looks at the description where nothing catches C++'s exceptions. So what must
be known before anything is unpacked is read here. Reading the columns themselves is safe.

A footer is a structure of Thrift's compact protocol:
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md. Its fields are named in
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

import io
import struct
from collections.abc import Iterator

UNCOMPRESSED = 0
"""The codec of a column that is not compressed."""

_ROW_GROUPS, _COLUMNS, _META_DATA, _CODEC = 4, 1, 3, 4  # fields of FileMetaData, RowGroup, ColumnChunk, ColumnMetaData
_MOST_BYTES = 64 << 20  # ten hours of recording have 60 MB
_BEHIND = 8  # bytes behind the footer: its length and PAR1
_DEEPEST = 16
_MOST_FIELD = 2**15 - 1  # numbers of fields have 16 bits, and wrap in some readers
_BOOLEANS, _BYTE, _I32, _INTEGERS, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = (1, 2), 3, 5, (4, 5, 6), 7, 8, 9, 10, 12
_WIDTHS = {1: 1, 2: 1, _BYTE: 1, _DOUBLE: 8}  # of what has a fixed width in a list, in bytes


def read_footer(file: io.FileIO) -> bytes:
    """Return the footer of an open Parquet file; the file's position stays as it is.

    Raises:
        ValueError: If the file is shorter than it says.
        OSError: If it cannot be read.
    """
    position = file.tell()
    try:
        end = file.seek(-_BEHIND, io.SEEK_END)
        (size,) = struct.unpack("<I", file.read(4))
        if size > min(end, _MOST_BYTES):
            raise ValueError(
                f"a footer of {size} bytes in a file of {end + _BEHIND}, expected {_MOST_BYTES >> 20} MB at most"
            )
        file.seek(end - size)
        return file.read(size)
    finally:
        file.seek(position)


def codecs_of(footer: bytes) -> list[list[int | None]]:
    """Return how every column of every row group is compressed, by Parquet's numbers.

    What Thrift's own readers would read otherwise, or would read twice, is refused: they must see what was seen here.

    Args:
        footer: From :func:`read_footer`.

    Returns:
        A list for each row group, with a number for each column; None for a column that does not say, as where its
        description is encrypted.

    Raises:
        ValueError: If it is no such structure, or a field of it comes twice.
    """
    reader = _Reader(footer)
    groups: list[list[int | None]] = []
    try:
        for field, kind in reader.fields():
            if field == _ROW_GROUPS and kind == _LIST:
                groups += [_row_group(reader) for _ in range(reader.list_of_structures())]
            else:
                reader.skip(kind)
    except IndexError:
        raise ValueError("the footer ends early") from None
    return groups


def _row_group(reader: "_Reader") -> list[int | None]:
    codecs: list[int | None] = []
    for field, kind in reader.fields():
        if field == _COLUMNS and kind == _LIST:
            codecs += [_column(reader) for _ in range(reader.list_of_structures())]
        else:
            reader.skip(kind)
    return codecs


def _column(reader: "_Reader") -> int | None:
    codec = None
    for field, kind in reader.fields():
        if field == _META_DATA and kind == _STRUCT:
            for inner, inner_kind in reader.fields():
                if inner == _CODEC and inner_kind == _I32:
                    codec = reader.integer()
                else:
                    reader.skip(inner_kind)
        else:
            reader.skip(kind)
    return codec


class _Reader:
    """Reads the compact protocol, from its beginning on."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def fields(self) -> Iterator[tuple[int, int]]:
        """Read a structure: yield the number and the kind of each field, whose value must then be read or skipped.

        Numbers rise, as they do wherever such a file is written: none can come twice.
        """
        field = 0
        while head := self._byte():
            before, field = field, field + (head >> 4) if head >> 4 else self.integer()
            if not before < field <= _MOST_FIELD:
                raise ValueError(f"field {field} after field {before}")
            yield field, head & 15

    def integer(self) -> int:
        """Read a signed whole number."""
        number = self._unsigned()
        return (number >> 1) ^ -(number & 1)

    def list_of_structures(self) -> int:
        """Read the beginning of a list; return how many structures follow."""
        size, kind = self._list()
        if size and kind != _STRUCT:
            raise ValueError(f"a list of kind {kind}, expected structures")
        return size

    def skip(self, kind: int, depth: int = 0) -> None:
        """Read a value of a kind and forget it."""
        if depth > _DEEPEST:
            raise ValueError(f"values lie more than {_DEEPEST} deep in each other")
        if kind in _INTEGERS:
            self._unsigned()
        elif kind == _BINARY:
            size = self._unsigned()
            self._at += size
        elif kind == _STRUCT:
            for _, inner in self.fields():
                self.skip(inner, depth + 1)
        elif kind in (_LIST, _SET):
            size, inside = self._list()
            if inside in _WIDTHS:
                self._at += size * _WIDTHS[inside]
                return
            for _ in range(size):
                self.skip(inside, depth + 1)
        elif kind == _BYTE:
            self._byte()
        elif kind == _DOUBLE:
            self._at += _WIDTHS[_DOUBLE]
        elif kind not in _BOOLEANS:  # in a structure, a truth value lies in the field's kind
            raise ValueError(f"a field of kind {kind}")

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _unsigned(self) -> int:
        number = shift = 0
        while True:
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7
            if shift > 63:
                raise ValueError("a number of more than 64 bits")

    def _list(self) -> tuple[int, int]:
        head = self._byte()
        size = self._unsigned() if head >> 4 == 15 else head >> 4
        if size > len(self._data):  # each takes a byte at least
            raise ValueError(f"a list of {size} in a footer of {len(self._data)} bytes")
        return size, head & 15
