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
_BEHIND = 8  # bytes behind the footer: its length and PAR1
_DEEPEST = 16
_BOOLEANS, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _LISTS, _STRUCT = (1, 2), 3, (4, 5, 6), 7, 8, (9, 10), 12


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
        if size > end:
            raise ValueError(f"a footer of {size} bytes in a file of {end + _BEHIND}")
        file.seek(end - size)
        return file.read(size)
    finally:
        file.seek(position)


def codecs_of(footer: bytes) -> set[int | None]:
    """Return how the columns of all row groups are compressed, by Parquet's numbers.

    Args:
        footer: From :func:`read_footer`.

    Returns:
        The numbers; None among them if a column does not say, as where its description is encrypted.

    Raises:
        ValueError: If it is no such structure.
    """
    reader = _Reader(footer)
    try:
        return {codec for group in reader.structures(_ROW_GROUPS) for codec in group}
    except IndexError:
        raise ValueError("the footer ends early") from None


class _Reader:
    """Reads the compact protocol, from its beginning on."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def structures(self, wanted: int) -> Iterator[set[int | None]]:
        """Read a structure, and yield the codecs of each row group in its list with that number."""
        for field, kind in self._fields():
            if field == wanted and kind in _LISTS:
                for _ in range(self._list_of_structures()):
                    yield self._row_group()
            else:
                self._skip(kind)

    def _row_group(self) -> set[int | None]:
        codecs: set[int | None] = set()
        for field, kind in self._fields():
            if field == _COLUMNS and kind in _LISTS:
                codecs |= {self._column() for _ in range(self._list_of_structures())}
            else:
                self._skip(kind)
        return codecs

    def _column(self) -> int | None:
        codec = None
        for field, kind in self._fields():
            if field == _META_DATA and kind == _STRUCT:
                for inner, inner_kind in self._fields():
                    if inner == _CODEC and inner_kind in _INTEGERS:
                        codec = self._integer()
                    else:
                        self._skip(inner_kind)
            else:
                self._skip(kind)
        return codec

    def _fields(self) -> Iterator[tuple[int, int]]:
        """Read a structure: yield the number and the kind of each field, whose value must then be read or skipped."""
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._integer()
            yield field, head & 15

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _integer(self) -> int:
        number = self._unsigned()
        return (number >> 1) ^ -(number & 1)

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

    def _list_of_structures(self) -> int:
        size, kind = self._list()
        if size and kind != _STRUCT:
            raise ValueError(f"a list of kind {kind}, expected structures")
        return size

    def _skip(self, kind: int, depth: int = 0) -> None:
        if depth > _DEEPEST:
            raise ValueError(f"values lie more than {_DEEPEST} deep in each other")
        if kind in _INTEGERS:
            self._unsigned()
        elif kind == _BINARY:
            size = self._unsigned()
            self._at += size
        elif kind == _STRUCT:
            for _, inner in self._fields():
                self._skip(inner, depth + 1)
        elif kind in _LISTS:
            size, inside = self._list()
            for _ in range(size):
                self._skip(_BYTE if inside in _BOOLEANS else inside, depth + 1)  # a truth value takes a byte in a list
        elif kind == _BYTE:
            self._byte()
        elif kind == _DOUBLE:
            self._at += 8
        elif kind not in _BOOLEANS:  # in a structure, a truth value lies in the field's kind
            raise ValueError(f"a field of kind {kind}")
