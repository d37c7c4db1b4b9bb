"""The episode format: one file to record into, to replay from and to train from.

While a drive is being recorded, ``NAME.recording`` grows by one Arrow IPC record batch every half second, each flushed
to the disk and carrying its own checksum: after a kill or a power cut all but the last second reads back.
Closing the recording seals it as ``NAME.parquet``, which pandas and Hugging Face ``datasets`` open as they are (the
frame column is declared an ``Image`` feature). Both files hold the same columns, one row a tick:

==================================================  ==========================================================
``tick``                                            int32, the frame's running number given by its source
``captured_ns``                                     int64, monotonic time of the capture in nanoseconds
``frame``                                           struct<bytes: binary, path: string>, a PNG
``steering``, ``throttle``, ``brake``, ...          float32, the label: what the driver wanted
``executed_steering``, ``executed_throttle``, ...   float32, what was really sent, injected noise included
``speed``                                           float32, in the game's own units, null where unknown
``intervention``                                    bool, a person or an expert had taken over
``telemetry``                                       struct of float32 by name; the column is absent without any
==================================================  ==========================================================

The header lists the axes: always steering, throttle and brake, then any others that the game has. An episode with only
those three is version 1 of the format; every version of this project reads and writes it. With further axes it is
version 2; older versions of this project refuse it by its number.

**Why PNG at level 3 without a filter.** Mean size and median thread time of 12 CarRacing frames of 1000 x 800 px, one
thread of a two-core EPYC, OpenCV 5.0:

=====================================  =======  ==========  ==========
settings                               size     encode      decode
=====================================  =======  ==========  ==========
PNG, OpenCV's defaults                 27.3 KB    4.8 ms      6.9 ms
PNG 1, no filter                       34.8 KB    4.0 ms      2.0 ms
**PNG 3, no filter**                   32.7 KB    4.0 ms      1.9 ms
PNG 3, filter "up"                     34.0 KB    5.0 ms      2.8 ms
PNG 3, filter chosen row by row        33.8 KB   13.6 ms      3.7 ms
PNG 6, no filter                       21.0 KB   10.2 ms      3.3 ms
WebP, lossless                          8.5 KB   35.2 ms      2.7 ms
=====================================  =======  ==========  ==========

Flat game graphics compress well without prediction between pixels. Encoding shares two cores with the network, and
training decodes every frame. The reader accepts PNG with any of these settings, and no other format: see
:mod:`agent.contract.picture_codec`.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from agent.contract.controls import SIGNED_OUTPUTS
from agent.contract.episodes.columns import (
    BATCH_CHECKSUM_KEY,
    FRAME_TYPE,
    READ_ERRORS,
    SECOND_NS,
    ArrowFile,
    Floats,
    check_columns,
    check_readable,
    check_schema,
    check_size,
    checksum_of,
    damaged_episode,
    executed_columns,
    floats_of,
    is_recording,
    one_line,
    parse_metadata,
)
from agent.contract.episodes.footer import UNCOMPRESSED, codecs_of, read_footer
from agent.contract.errors import EpisodeError, FrameError
from agent.contract.observation import Frame
from agent.contract.picture_codec import decode_picture

_PICTURES_AT_ONCE = 16
_BYTES_AROUND_A_PICTURE = 1000  # room for its path and offsets; the file needs less
_HEADER, _COMPRESSION = 2, 3  # fields of Message and RecordBatch in Arrow's Message.fbs


class Episode:
    """A recorded episode. Its columns are arrays in memory; frames stay on the disk until they are needed.

    Build it with :meth:`open`. Not safe for use from several threads at once.

    Attributes:
        path: The file.
        header: What is true of the whole episode.
        created: When recording began, UTC, ISO 8601.
        recovered: None for a sealed episode; for the remains of a recording, one sentence on what was recovered.
        unread_bytes: Bytes of a recording from the first incomplete or damaged batch on; they may hold rows.
        tick: int32, shape (rows,): the frames' running numbers; a gap means frames missed or dropped.
        captured_ns: int64, shape (rows,): monotonic capture time in nanoseconds.
        controls: float32, shape (rows, axes): the label's axes, in the order of ``header.axes``; steering, throttle
            and brake come first.
        executed: float32, shape (rows, axes): the controls really sent.
        speed: float32, shape (rows,): in the game's own units; NaN if unknown.
        intervention: bool, shape (rows,).
        telemetry: float32, shape (rows,), by name.
    """

    def __init__(
        self,
        path: Path,
        schema: Any,
        columns: Any,
        chunk_rows: list[int],
        read_chunk: Callable[[int], Any],
        recovered: str | None = None,
        unread_bytes: int = 0,
    ) -> None:
        self.path = path
        self.recovered = recovered
        self.unread_bytes = unread_bytes
        self.header, self.created, names = parse_metadata(path, schema)
        self.tick: npt.NDArray[np.int32] = columns["tick"].to_numpy()
        self.captured_ns: npt.NDArray[np.int64] = columns["captured_ns"].to_numpy()
        axes = self.header.axes
        self.controls: Floats = np.column_stack([columns[name].to_numpy() for name in axes])
        self.executed: Floats = np.column_stack([columns[name].to_numpy() for name in executed_columns(axes)])
        self.speed: Floats = floats_of(columns["speed"])
        self.intervention: npt.NDArray[np.bool_] = columns["intervention"].to_numpy()
        self.telemetry: dict[str, Floats] = {
            name: floats_of(columns["telemetry"].combine_chunks().field(name)) for name in names
        }
        self._chunk_starts = np.concatenate([[0], np.cumsum(chunk_rows)])
        self._read_chunk = read_chunk
        self._chunk_index = -1
        self._chunk: Any = None

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a sealed episode, or the remains of a killed recording.

        Raises:
            EpisodeError: If the file is missing, empty, cut short, damaged, foreign, or of another format version.
        """
        return cls._open_recording(path) if is_recording(path) else cls._open_sealed(path)

    @classmethod
    def _open_sealed(cls, path: Path) -> Self:
        check_readable(path)
        try:
            file = open_parquet(path)
            schema = file.schema_arrow
            table = file.read(columns=[name for name in schema.names if name != "frame"], use_threads=False)
            chunk_rows = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
            check_columns(path, table, sum(chunk_rows))
        except READ_ERRORS as exc:
            raise damaged_episode(path, f"reading it as Parquet failed: {one_line(exc)}") from exc

        def read_chunk(index: int) -> Any:
            return pa.chunked_array(list(read_pictures(path, file, index)), FRAME_TYPE).combine_chunks()

        return cls(path, schema, table, chunk_rows, read_chunk)

    @classmethod
    def _open_recording(cls, path: Path) -> Self:
        check_readable(path)
        # Not mapped into memory: the discard key shortens a recording that is still going on, and access to a page that
        # is gone ends the program with SIGBUS. So pictures are read from the file when they are needed.
        numbers, places = [], []  # each batch without its pictures; its first byte and its checksum
        with pa.PythonFile(ArrowFile(path)) as source:
            recording = RecordingFile(path, source)
            for place, batch in recording.placed_batches():
                # Copied out, or every picture would stay in memory with them.
                numbers.append(batch.drop_columns(["frame"]).take(pa.array(range(batch.num_rows))))
                places.append((place, checksum_of(batch)))
                check_size(path, recording.rows, len(recording.schema), recording.size)
        if not numbers:
            raise EpisodeError(
                f"{path} holds no complete half second of a drive ({recording.size} bytes): nothing can be "
                "recovered. Delete it."
            )
        table = pa.Table.from_batches(numbers)
        check_columns(path, table, table.num_rows)
        return cls(
            path,
            recording.schema,
            table,
            [batch.num_rows for batch in numbers],
            lambda index: _read_batch(path, *places[index], recording.schema)["frame"],
            recording.summary(table.num_rows),
            recording.unread,
        )

    def __len__(self) -> int:
        return len(self.tick)

    def labels(self, outputs: Sequence[str]) -> Floats:
        """Return the labels for a network with these outputs: float32, shape (rows, outputs).

        Args:
            outputs: Names of axes or of :data:`agent.contract.controls.SIGNED_OUTPUTS`.

        Raises:
            EpisodeError: If the episode lacks an axis of these outputs.
        """
        return np.column_stack([self._label(name) for name in outputs])

    def _label(self, output: str) -> Floats:
        if output in SIGNED_OUTPUTS:
            above, below = SIGNED_OUTPUTS[output]
            return self._label(above) - self._label(below)
        axes = self.header.axes
        if output not in axes:
            raise EpisodeError(
                f"{self.path} has no {output}: it was recorded with {', '.join(axes)}. Record episodes in which it is "
                f"used, or train without it: `--outputs {','.join(axes)}`."
            )
        return np.asarray(self.controls[:, axes.index(output)])

    @cached_property
    def duration_s(self) -> float:
        """Seconds from the first capture to the last."""
        return float(self.captured_ns[-1] - self.captured_ns[0]) / SECOND_NS

    def encoded_frame(self, index: int) -> bytes:
        """Return a frame's compressed picture as it is stored.

        Raises:
            EpisodeError: If that part of the file is damaged; the message says which rows are lost.
            IndexError: If there is no such row.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of an episode of {len(self)} rows")
        chunk = int(np.searchsorted(self._chunk_starts, index, side="right")) - 1
        first, last = int(self._chunk_starts[chunk]), int(self._chunk_starts[chunk + 1]) - 1
        try:
            if chunk != self._chunk_index:
                pictures = self._read_chunk(chunk).field("bytes")
                if len(pictures) != last - first + 1:
                    raise ValueError(f"there are {len(pictures)} of them")
                self._chunk, self._chunk_index = pictures, chunk
            encoded: bytes | None = self._chunk[index - first].as_py()
        except READ_ERRORS as exc:
            found = f"frames of rows {first} to {last} cannot be read ({one_line(exc)}); other rows may be whole"
            raise damaged_episode(self.path, found) from exc
        if not encoded:
            raise damaged_episode(self.path, f"row {index} has no picture")
        return encoded

    def frame(self, index: int) -> Frame:
        """Return a decoded frame: uint8, shape (height, width, 3), BGR; a new array.

        Raises:
            EpisodeError: If that part of the file is damaged.
            IndexError: If there is no such row.
        """
        encoded = self.encoded_frame(index)
        try:
            pixels = decode_picture(encoded)
        except FrameError as exc:
            raise damaged_episode(self.path, f"the picture of row {index} cannot be decoded ({one_line(exc)})") from exc
        return Frame(pixels, int(self.captured_ns[index]), int(self.tick[index]))

    def frames(self) -> Iterator[Frame]:
        """Decode all frames in order."""
        return (self.frame(index) for index in range(len(self)))


def open_parquet(path: Path) -> Any:
    """Return a sealed episode as pyarrow's file, after a check that its schema is right and its size bounded.

    Raises:
        EpisodeError: If it is foreign, damaged, or claims to be larger than any drive.
        READ_ERRORS: If it is not a Parquet file.
    """
    source = ArrowFile(path)
    file = pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=False)
    about = file.metadata
    check_size(path, about.num_rows, about.num_columns, path.stat().st_size)
    check_schema(path, file.schema_arrow)
    if codecs_of(read_footer(source)) != [[UNCOMPRESSED] * about.num_columns] * about.num_row_groups:
        raise damaged_episode(path, "it is compressed or encrypted, which no recording is")
    return file


def read_pictures(path: Path, file: Any, group: int) -> Iterator[Any]:
    """Yield the pictures of a row group, some at a time. In an intact file they take fewer bytes than the file.

    Raises:
        EpisodeError: If they take more, as when a dictionary repeats one picture a million times.
    """
    size, read = path.stat().st_size, 0
    for batch in file.iter_batches(_PICTURES_AT_ONCE, row_groups=[group], columns=["frame"], use_threads=False):
        read += batch.nbytes
        if read > size + _PICTURES_AT_ONCE * _BYTES_AROUND_A_PICTURE:
            raise damaged_episode(path, f"its pictures unpack to more than the {size} bytes of the file")
        yield batch["frame"]


def _read_batch(path: Path, place: int, checksum: bytes, schema: Any) -> Any:
    """Read one batch of a recording again."""
    with pa.PythonFile(ArrowFile(path)) as source:
        source.seek(place)
        check_message(source)
        try:
            batch = pa.ipc.read_record_batch(pa.ipc.read_message(source), schema)
        except EOFError as exc:
            raise ValueError("the file has become shorter") from exc
    batch.validate(full=True)
    if checksum_of(batch) != checksum:  # rows were discarded, and others recorded in their place
        raise ValueError("the file has changed meanwhile")
    return batch


def check_message(source: Any) -> None:
    """Refuse a compressed message: 81 KB once unpacked to 5 GB, and recordings are never compressed.

    The position in the stream does not change.

    Raises:
        ValueError: If the message is compressed.
    """
    place = source.tell()
    try:
        message = pa.ipc.read_message(source)
    except EOFError:
        return  # the end of the stream; the reader handles it
    finally:
        source.seek(place)
    try:
        is_compressed = message.type == "record batch" and _is_compressed(message.metadata.to_pybytes())
    except struct.error as exc:
        raise ValueError(f"a batch's description is cut short ({exc})") from exc
    if is_compressed:
        raise ValueError("a batch is compressed")


def _is_compressed(message: bytes) -> bool:
    """Return whether a record batch's message is compressed: Message.header.compression of Arrow's Message.fbs."""

    def field(table: int, index: int) -> int | None:
        (back,) = struct.unpack_from("<i", message, table)
        (size,) = struct.unpack_from("<H", message, table - back)
        if 4 + 2 * index >= size:
            return None
        (offset,) = struct.unpack_from("<H", message, table - back + 4 + 2 * index)
        return table + offset if offset else None

    (root,) = struct.unpack_from("<I", message)
    header = field(root, _HEADER)
    if header is None:
        raise ValueError("a batch has no header")
    return field(header + struct.unpack_from("<I", message, header)[0], _COMPRESSION) is not None


class RecordingFile:
    """Reads an unsealed recording up to its first incomplete or damaged batch."""

    def __init__(self, path: Path, source: Any) -> None:
        self.size = source.size()
        self.rows = 0
        self._good_size = 0
        self._source = source
        try:
            self._reader = pa.ipc.open_stream(source)
            self.schema = self._reader.schema
            check_schema(path, self.schema)
        except READ_ERRORS as exc:
            raise damaged_episode(path, f"reading it as an Arrow IPC stream failed: {one_line(exc)}") from exc

    def batches(self) -> Iterator[Any]:
        """Yield complete batches with a matching checksum."""
        return (batch for _, batch in self.placed_batches())

    def placed_batches(self) -> Iterator[tuple[int, Any]]:
        """Yield the same batches, each with the byte at which it begins."""
        try:
            while True:
                place = self._source.tell()
                check_message(self._source)
                batch, metadata = self._reader.read_next_batch_with_custom_metadata()
                batch.validate(full=True)  # before anything uses its offsets; a checksum does not cover lengths
                if metadata is None or metadata.get(BATCH_CHECKSUM_KEY) != checksum_of(batch):
                    return
                self._good_size = self._source.tell()
                self.rows += batch.num_rows
                yield place, batch
        except StopIteration:
            self._good_size = self._source.tell()
        except READ_ERRORS:
            return  # the summary says where it ended

    @property
    def unread(self) -> int:
        """Bytes after the last good batch."""
        return max(0, int(self.size - self._good_size))  # one that goes on may have grown

    def summary(self, rows: int) -> str:
        end = f"; {self.unread} bytes after them are incomplete or damaged" if self.unread else ""
        return f"the recording was cut off before it was sealed: {rows} rows recovered{end}."
