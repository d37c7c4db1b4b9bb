"""The episode format: one file to record into, to replay from and to train from.

While a drive is being recorded, ``NAME.recording`` grows by one Arrow IPC record batch every half second, each flushed
to the disk and carrying its own checksum: after a kill or a power cut all but the last second reads back.
Closing the recording seals it as ``NAME.parquet``, which pandas and Hugging Face ``datasets`` open as they are (the
frame column is declared an ``Image`` feature). Both files hold the same columns, one row a tick:

==================================================  ==========================================================
``tick``                                            int32, the frame's running number given by its source
``captured_ns``                                     int64, monotonic time of the capture in nanoseconds
``frame``                                           struct<bytes: binary, path: string>, a PNG
``steering``, ``throttle``, ``brake``               float32, the label: what the driver wanted
``executed_steering``, ..., ``executed_brake``      float32, what was really sent, injected noise included
``speed``                                           float32, in the game's own units, null where unknown
``intervention``                                    bool, a person or an expert had taken over
``telemetry``                                       struct of float32 by name; the column is absent without any
==================================================  ==========================================================

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

Flat game graphics compress well without prediction between pixels; encoding has to share two cores with the network,
and training decodes every frame. The reader takes PNG of any such settings and nothing else: see
:mod:`agent.contract.picture`.
"""

import json
import math
import os
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from agent.contract.controls import Controls
from agent.contract.errors import EpisodeError, ForeignEpisodeError, FrameError
from agent.contract.locks import claim
from agent.contract.observation import Frame
from agent.contract.picture import decode_picture

SEALED_SUFFIX = ".parquet"
RECORDING_SUFFIX = ".recording"
SEALING_SUFFIX = ".sealing"
REPAIR = "Run `python -m agent episodes repair` on it"
FORMAT = "hoodcam-episode"
FORMAT_VERSION = 1

Floats = npt.NDArray[np.float32]
"""float32, shape (rows,), or (rows, 3) for steering, throttle, brake."""

_METADATA_KEY = b"hoodcam"
_METADATA_CHECKSUM_KEY = b"hoodcam_crc32"
_BATCH_CHECKSUM_KEY = b"crc32"
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"  # Arrow IPC: continuation marker, empty message
_NS = 1_000_000_000
# How much of a drive goes to the disk at once. A kill loses that, and what came while the disk took its time over it.
_BATCH_NS = _NS // 2

_LABELS = ("steering", "throttle", "brake")
_EXECUTED = ("executed_steering", "executed_throttle", "executed_brake")
_FRAME_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_COLUMN_TYPES: dict[str, Any] = {
    "tick": pa.int32(),
    "captured_ns": pa.int64(),
    "frame": _FRAME_TYPE,
    **{name: pa.float32() for name in _LABELS + _EXECUTED},
    "speed": pa.float32(),
    "intervention": pa.bool_(),
}
_NULLABLE = {"speed", "telemetry"}

# What pyarrow raises on bytes that are not what they claim to be; ArrowInvalid is a ValueError, a page that fails its
# checksum an OSError, an absurd length in a damaged footer a MemoryError.
_READ_ERRORS = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, MemoryError)

_PNG_SETTINGS = (
    cv2.IMWRITE_PNG_COMPRESSION,
    3,
    cv2.IMWRITE_PNG_STRATEGY,
    cv2.IMWRITE_PNG_STRATEGY_DEFAULT,
    cv2.IMWRITE_PNG_FILTER,
    cv2.IMWRITE_PNG_FILTER_NONE,
)


@dataclass(frozen=True, slots=True)
class EpisodeHeader:
    """What is true of a whole episode.

    Attributes:
        game: Name of the game's profile.
        driver: Who gave the labels, such as ``expert`` or ``policy:carracing``.
        rate_hz: Nominal rows a second.
        seed: Seed of the track where the game has one.
        profile_notes: What the reader should know of the game's settings.
        track: Name of the track where the game's tracks have names.
    """

    game: str
    driver: str
    rate_hz: float
    seed: int | None = None
    profile_notes: str = ""
    track: str = ""

    def __post_init__(self) -> None:
        if not (isinstance(self.rate_hz, (int, float)) and math.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise ValueError(f"rate_hz is {self.rate_hz!r}, expected a positive number of rows a second")


@dataclass(frozen=True, slots=True)
class EpisodeRow:
    """One tick of an episode.

    Attributes:
        frame: The picture acted on; recorded without its alpha channel.
        controls: The label: what the driver wanted.
        executed: What was really sent, injected noise included.
        speed: In the game's own units of length per second; None where unknown.
        intervention: Whether a person or an expert had taken over.
        telemetry: Further numbers by name; every row of an episode has the same names.
    """

    frame: Frame
    controls: Controls
    executed: Controls
    speed: float | None = None
    intervention: bool = False
    telemetry: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """A row whose picture is compressed; made by :func:`encode_row`, a hundredth of the memory."""

    tick: int
    captured_ns: int
    picture: bytes
    controls: Controls
    executed: Controls
    speed: float | None
    intervention: bool
    telemetry: dict[str, float]


def encode_row(row: EpisodeRow) -> EncodedRow:
    """Compress a row's picture: some milliseconds of work, which may be done in a thread of its own."""
    return EncodedRow(
        row.frame.index,
        row.frame.captured_ns,
        _encode(row.frame),
        row.controls,
        row.executed,
        row.speed,
        row.intervention,
        row.telemetry,
    )


class EpisodeWriter:
    """Records rows into ``NAME.recording`` and seals them as ``NAME.parquet`` on closing, whatever the reason.

    A context manager. An episode without rows leaves no file behind.

    Args:
        path: The sealed file, ending in ``.parquet``; its folder is created.
        header: What is true of the whole episode.

    Raises:
        EpisodeError: If the file or its recording exists already, or the folder cannot be written.
    """

    def __init__(self, path: Path, header: EpisodeHeader) -> None:
        if path.suffix != SEALED_SUFFIX:
            raise ValueError(f"an episode's path ends in {SEALED_SUFFIX}, not in {path.suffix!r}: {path}")
        self.path = path
        self.header = header
        self.rows = 0
        """Rows recorded so far: on the disk, or waiting for their half second to fill."""
        self._recording = path.with_suffix(RECORDING_SUFFIX)
        self._rows_per_batch = max(1, math.floor(header.rate_hz * _BATCH_NS / _NS))
        self._pending: list[dict[str, Any]] = []
        self._schema: Any = None  # known with the first row, which names the telemetry
        self._telemetry_names: set[str] = set()
        self._size = 0
        self._batches: list[tuple[int, int, int]] = []  # size of the file before it, rows before it, newest capture
        # pyarrow imports pandas with its first array, where it is installed: seconds, now instead of in mid-drive.
        pa.array([0], pa.int32())
        _refuse_existing(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if self._recording.exists():
                raise EpisodeError(
                    f"{self._recording} exists: an earlier recording was cut off there, or is still going on. "
                    f"{REPAIR}, move it away, or record under another name."
                )
            # "x" for two recordings that start at once. Unbuffered: what write() took is with the system.
            self._file = self._recording.open("xb", buffering=0)
            try:
                if not claim(self._file):  # or it would be taken for the remains of one
                    raise EpisodeError(
                        f"{self._recording} was taken hold of by another program as it was created, expected nobody "
                        "else to see to that folder now, such as a repair. Start again when that is done."
                    )
                _sync_folder(path.parent)
            except (EpisodeError, OSError):
                self._file.close()
                self._recording.unlink(missing_ok=True)
                raise
        except OSError as exc:
            raise EpisodeError(
                f"{self._recording} cannot be created ({exc.strerror}), expected a folder that can be written. "
                "Choose another one."
            ) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def write(self, row: "EpisodeRow | EncodedRow") -> None:
        """Add a row; once half a second of them is complete it is on the disk when this returns.

        Args:
            row: A row, or what :func:`encode_row` made of it in another thread.

        Raises:
            EpisodeError: If the disk takes no more. The rows of the unfinished half second are lost, those before are
                safe, and recording may go on.
            ValueError: If the row's telemetry has other names than the first row's.
        """
        if isinstance(row, EpisodeRow):
            row = encode_row(row)
        if self._schema is None:
            self._schema = _schema(self.header, sorted(row.telemetry))
            self._telemetry_names = set(row.telemetry)
        elif row.telemetry.keys() != self._telemetry_names:
            raise ValueError(
                f"a row has telemetry {sorted(row.telemetry)}, the episode's first row had "
                f"{sorted(self._telemetry_names)}: expected the same names in every row"
            )
        # Slower than the nominal rate: what is half a second old must not wait for the batch to fill.
        if self._pending and row.captured_ns - self._pending[0]["captured_ns"] >= _BATCH_NS:
            self._flush()
        self._pending.append(
            {
                "tick": row.tick,
                "captured_ns": row.captured_ns,
                "frame": {"bytes": row.picture, "path": f"{self.rows:06d}.png"},
                **dict(zip(_LABELS, row.controls.to_array().tolist(), strict=True)),
                **dict(zip(_EXECUTED, row.executed.to_array().tolist(), strict=True)),
                "speed": row.speed,
                "intervention": row.intervention,
                "telemetry": row.telemetry,
            }
        )
        self.rows += 1
        if len(self._pending) >= self._rows_per_batch:
            self._flush()

    def discard_since(self, captured_ns: int) -> int:
        """Take back the rows captured from then on, and those that went to the disk together with one of them.

        What went together is about half a second of rows, so up to that much more than asked for is taken back.

        Returns:
            How many rows were taken back.

        Raises:
            EpisodeError: If the disk does not allow it; then nothing on it is lost.
        """
        rows_before = self.rows
        if any(row["captured_ns"] >= captured_ns for row in self._pending):
            self.rows -= len(self._pending)
            self._pending = []
        while self._batches and self._batches[-1][2] >= captured_ns:
            size, rows, _ = self._batches[-1]
            try:
                self._file.seek(size)
                self._file.truncate()
            except OSError as exc:
                raise EpisodeError(
                    f"{self._recording} cannot be shortened ({exc.strerror}), expected a file that can be written. "
                    "Nothing was discarded."
                ) from exc
            self._size, self.rows = size, rows + len(self._pending)
            self._batches.pop()
        return rows_before - self.rows

    def close(self) -> None:
        """Seal the episode; calling it twice is harmless.

        Raises:
            EpisodeError: If the sealed file cannot be written, or rows cannot be read back; the recording stays then.
                ``rows`` is how many were sealed.
        """
        if self._file.closed:
            return
        recorded = sealed = unread = 0
        try:
            if self._pending:
                self._flush()
            if self.rows:
                self._append(_END_OF_STREAM)
        finally:
            try:
                recorded = self.rows
                if recorded:
                    sealed, unread = _seal(self._recording, self.path)
            finally:
                self._file.close()  # not before: until then the recording is claimed
            self.rows = sealed
            if sealed == recorded and not unread:
                self._recording.unlink(missing_ok=True)
        if sealed < recorded:
            raise EpisodeError(
                f"{self.path} has {sealed} of the {recorded} rows recorded: what follows them cannot be read back, "
                f"expected a disk that keeps what it took. It is left in {self._recording.name}. {REPAIR}."
            )

    def _flush(self) -> None:
        """Put the pending rows on the disk as one record batch, or lose them and say so."""
        rows, self._pending = self._pending, []
        try:
            columns = [pa.array([row[field.name] for row in rows], field.type) for field in self._schema]
            batch = pa.record_batch(columns, schema=self._schema)
            size = self._size
            self._append((b"" if self._size else self._schema.serialize().to_pybytes()) + _message(batch))
            self._batches.append((size, self.rows - len(rows), rows[-1]["captured_ns"]))
        except Exception:
            self.rows -= len(rows)
            raise

    def _append(self, data: bytes) -> None:
        """Write and sync; after a failure the file ends where it ended before."""
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError as exc:
            self._file.seek(self._size)
            self._file.truncate()
            raise EpisodeError(
                f"{self._recording} cannot be written ({exc.strerror}): up to half a second of the drive is lost, "
                f"{self.rows - len(self._pending)} rows before it are safe. Free space on the disk."
            ) from exc
        self._size += len(data)


class Episode:
    """A recorded episode; columns are arrays in memory, frames stay on the disk until they are asked for.

    Build it with :meth:`open`. Not safe for use from several threads at once.

    Attributes:
        path: The file.
        header: What is true of the whole episode.
        created: When recording began, UTC, ISO 8601.
        recovered: None for a sealed episode; for the remains of a recording what was recovered, as one sentence.
        unread_bytes: Bytes of a recording that are incomplete or damaged, or follow such; they hold rows, perhaps.
        tick: int32, shape (rows,): the frames' running numbers; a gap means frames missed or dropped.
        captured_ns: int64, shape (rows,): monotonic capture time in nanoseconds.
        controls: float32, shape (rows, 3): the label's steering, throttle, brake.
        executed: float32, shape (rows, 3): what was really sent.
        speed: float32, shape (rows,): in the game's own units; NaN where unknown.
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
        self.header, self.created, names = _parse_metadata(path, schema)
        self.tick: npt.NDArray[np.int32] = columns["tick"].to_numpy()
        self.captured_ns: npt.NDArray[np.int64] = columns["captured_ns"].to_numpy()
        self.controls: Floats = np.column_stack([columns[name].to_numpy() for name in _LABELS])
        self.executed: Floats = np.column_stack([columns[name].to_numpy() for name in _EXECUTED])
        self.speed: Floats = _floats(columns["speed"])
        self.intervention: npt.NDArray[np.bool_] = columns["intervention"].to_numpy()
        self.telemetry: dict[str, Floats] = {
            name: _floats(columns["telemetry"].combine_chunks().field(name)) for name in names
        }
        self._chunk_starts = np.concatenate([[0], np.cumsum(chunk_rows)])
        self._read_chunk = read_chunk
        self._chunk_index = -1
        self._chunk: Any = None

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a sealed episode, or what a killed recording left.

        Raises:
            EpisodeError: If the file is missing, empty, cut short, damaged, foreign, or of another format version.
        """
        return cls._open_recording(path) if path.suffix == RECORDING_SUFFIX else cls._open_sealed(path)

    @classmethod
    def _open_sealed(cls, path: Path) -> Self:
        _check_readable(path)
        try:
            file = pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False)
            schema = file.schema_arrow
            _check_schema(path, schema)
            table = file.read(columns=[name for name in schema.names if name != "frame"], use_threads=False)
            chunk_rows = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
            _check_columns(path, table, sum(chunk_rows))
        except _READ_ERRORS as exc:
            raise _damaged(path, f"reading it as Parquet failed: {_one_line(exc)}") from exc

        def read_chunk(index: int) -> Any:
            return file.read_row_group(index, columns=["frame"], use_threads=False)["frame"].combine_chunks()

        return cls(path, schema, table, chunk_rows, read_chunk)

    @classmethod
    def _open_recording(cls, path: Path) -> Self:
        _check_readable(path)
        with pa.memory_map(str(path)) as source:  # batches are views of the file: frames cost memory only when read
            recording = _Recording(path, source)
            batches = list(recording.batches())
        if not batches:
            raise EpisodeError(
                f"{path} holds no half second of a drive that is whole ({recording.size} bytes): nothing can be "
                "recovered. Delete it."
            )
        table = pa.Table.from_batches(batches).drop_columns(["frame"])
        _check_columns(path, table, table.num_rows)
        return cls(
            path,
            recording.schema,
            table,
            [batch.num_rows for batch in batches],
            lambda index: batches[index]["frame"],
            recording.summary(table.num_rows),
            recording.unread,
        )

    def __len__(self) -> int:
        return len(self.tick)

    @cached_property
    def duration_s(self) -> float:
        """Seconds from the first capture to the last."""
        return float(self.captured_ns[-1] - self.captured_ns[0]) / _NS

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
        except _READ_ERRORS as exc:
            found = f"frames of rows {first} to {last} cannot be read ({_one_line(exc)}); other rows may be whole"
            raise _damaged(self.path, found) from exc
        if not encoded:
            raise _damaged(self.path, f"row {index} has no picture")
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
            raise _damaged(self.path, f"the picture of row {index} cannot be decoded ({_one_line(exc)})") from exc
        return Frame(pixels, int(self.captured_ns[index]), int(self.tick[index]))

    def frames(self) -> Iterator[Frame]:
        """Decode all frames in order."""
        return (self.frame(index) for index in range(len(self)))


def recover(path: Path) -> Episode:
    """Seal what a killed recording left behind as ``NAME.parquet``.

    The recording stays, for the caller to remove unless :attr:`Episode.unread_bytes` of the result are left in it.

    Args:
        path: ``NAME.recording``; nobody may be writing it any more.

    Raises:
        EpisodeError: If there is nothing to recover, or ``NAME.parquet`` exists or cannot be written.
    """
    if path.suffix != RECORDING_SUFFIX:
        raise ValueError(f"expected a path that ends in {RECORDING_SUFFIX}, not {path}")
    remains = Episode.open(path)
    summary = remains.recovered
    del remains  # unmaps the file, which Windows would not let go otherwise
    sealed = path.with_suffix(SEALED_SUFFIX)
    _, unread_bytes = _seal(path, sealed)
    episode = Episode.open(sealed)
    episode.recovered, episode.unread_bytes = summary, unread_bytes
    return episode


class _Recording:
    """Reads an unsealed recording up to its first incomplete or damaged batch."""

    def __init__(self, path: Path, source: Any) -> None:
        self.size = source.size()
        self.rows = 0
        self._good_size = 0
        self._source = source
        try:
            self._reader = pa.ipc.open_stream(source)
            self.schema = self._reader.schema
            _check_schema(path, self.schema)
        except _READ_ERRORS as exc:
            raise _damaged(path, f"reading it as an Arrow IPC stream failed: {_one_line(exc)}") from exc

    def batches(self) -> Iterator[Any]:
        """Yield whole batches whose checksum holds."""
        try:
            while True:
                batch, metadata = self._reader.read_next_batch_with_custom_metadata()
                batch.validate(full=True)  # before anything follows its offsets; a checksum does not cover lengths
                if metadata is None or metadata.get(_BATCH_CHECKSUM_KEY) != _checksum(batch):
                    return
                self._good_size = self._source.tell()
                self.rows += batch.num_rows
                yield batch
        except StopIteration:
            self._good_size = self._source.tell()
        except _READ_ERRORS:
            return  # the summary tells where it ended

    @property
    def unread(self) -> int:
        """Bytes behind the last good batch."""
        return int(self.size - self._good_size)

    def summary(self, rows: int) -> str:
        end = f"; {self.unread} bytes after them are incomplete or damaged" if self.unread else ""
        return f"the recording was cut off before it was sealed: {rows} rows recovered{end}."


def salvage(damaged: Path, sealed: Path) -> tuple[int, int]:
    """Write what can be read of a damaged sealed episode as another one.

    A row group, half a second or so, is taken whole or not at all: frames and controls stay together. What is taken
    was looked at as on reading, pictures included: it is not found damaged again.

    Args:
        damaged: A sealed episode, under any name.
        sealed: What to write; must not exist.

    Returns:
        How many rows were kept, and how many lost.

    Raises:
        EpisodeError: If nothing can be read, or the other one cannot be written.
    """
    _check_readable(damaged)
    try:
        file = pq.ParquetFile(damaged, page_checksum_verification=True, pre_buffer=False)
        schema = file.schema_arrow
        _check_schema(damaged, schema)
        _parse_metadata(damaged, schema)
        groups = file.num_row_groups
        rows = int(file.metadata.num_rows)
    except _READ_ERRORS as exc:
        raise _damaged(damaged, f"reading it as Parquet failed: {_one_line(exc)}") from exc
    whole = [index for index in range(groups) if _is_whole(damaged, file, index)]
    if not whole:
        raise _damaged(damaged, "no part of it can be read")

    def batches() -> Iterator[Any]:
        for index in whole:
            yield from file.read_row_group(index, use_threads=False).combine_chunks().to_batches()

    kept = sum(file.metadata.row_group(index).num_rows for index in whole)
    _write_sealed(sealed, schema, batches(), f"{damaged.name} is left as it is")
    return kept, rows - kept


def _is_whole(path: Path, file: Any, index: int) -> bool:
    try:
        table = file.read_row_group(index, use_threads=False)
        _check_columns(path, table, file.metadata.row_group(index).num_rows)
        for picture in table["frame"].combine_chunks().field("bytes"):
            decode_picture(picture.as_py() or b"")
    except (*_READ_ERRORS, EpisodeError, FrameError):
        return False
    return True


def _seal(recording: Path, sealed: Path) -> tuple[int, int]:
    """Turn a recording into Parquet batch by batch; return its rows, and how many bytes could not be read."""
    _check_readable(recording)
    with pa.OSFile(str(recording)) as source:
        reader = _Recording(recording, source)

        def batches() -> Iterator[Any]:
            yield from reader.batches()
            if not reader.rows:  # rather no sealed file than one without rows
                raise _damaged(recording, "no half second of it can be read")

        _write_sealed(sealed, reader.schema, batches(), f"the drive is safe in {recording.name}. {REPAIR}")
        return reader.rows, reader.unread


def _write_sealed(sealed: Path, schema: Any, batches: Iterator[Any], otherwise: str) -> None:
    """Write a sealed episode, a batch a row group; it appears whole or not at all."""
    _refuse_existing(sealed)
    temporary = sealed.with_suffix(SEALING_SUFFIX)
    try:
        with temporary.open("wb") as file:
            # PNG does not compress further and floats barely; checksums make flipped bits an error on reading.
            with pq.ParquetWriter(
                file,
                schema,
                compression="NONE",
                use_dictionary=False,
                write_statistics=False,
                write_page_checksum=True,
            ) as writer:
                for batch in batches:
                    writer.write_batch(batch)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(sealed)
        _sync_folder(sealed.parent)
    except (pa.ArrowException, OSError) as exc:
        raise EpisodeError(
            f"{sealed} cannot be written ({_one_line(exc)}), expected room on the disk; {otherwise}"
        ) from exc
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a new name survive a power cut; Windows has no such call and needs none."""
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _message(batch: Any) -> bytes:
    """Return a batch as one IPC message that carries the checksum of its content."""
    sink = pa.BufferOutputStream()
    writer = pa.ipc.new_stream(sink, batch.schema)
    writer.write_batch(batch, custom_metadata={_BATCH_CHECKSUM_KEY: _checksum(batch)})
    message: bytes = sink.getvalue().to_pybytes()
    return message[batch.schema.serialize().size :]  # the schema leads every stream; the file has it already


def _checksum(batch: Any) -> bytes:
    return str(zlib.crc32(batch.serialize())).encode()


def _encode(frame: Frame) -> bytes:
    pixels = frame.pixels if frame.pixels.shape[2] == 3 else cv2.cvtColor(frame.pixels, cv2.COLOR_BGRA2BGR)
    _, encoded = cv2.imencode(".png", pixels, _PNG_SETTINGS)
    return encoded.tobytes()


def _schema(header: EpisodeHeader, telemetry: list[str]) -> Any:
    """Return the Arrow schema with our header and Hugging Face's feature declaration in its metadata."""
    types = dict(_COLUMN_TYPES)
    if telemetry:
        types["telemetry"] = pa.struct([(name, pa.float32()) for name in telemetry])
    about = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "header": asdict(header),
        "telemetry": telemetry,
    }
    text = json.dumps(about).encode()
    # Layout of datasets' own ArrowWriter; a feature counts only if its type equals the column's exactly.
    features = {name: _feature(kind) for name, kind in types.items() if name != "frame"} | {"frame": {"_type": "Image"}}
    metadata = {
        _METADATA_KEY: text,
        _METADATA_CHECKSUM_KEY: str(zlib.crc32(text)).encode(),
        b"huggingface": json.dumps({"info": {"features": features}}).encode(),
    }
    return pa.schema(list(types.items()), metadata=metadata)


def _feature(kind: Any) -> dict[str, Any]:
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    return {"dtype": kind.to_pandas_dtype().__name__, "_type": "Value"}


def _parse_metadata(path: Path, schema: Any) -> tuple[EpisodeHeader, str, list[str]]:
    """Return header, creation time and telemetry names; :func:`_check_schema` has seen the schema before."""
    about = json.loads(schema.metadata[_METADATA_KEY])
    try:
        # A later version may say more of an episode: the checksum tells that it is no damage.
        known = {
            entry.name: about["header"][entry.name] for entry in fields(EpisodeHeader) if entry.name in about["header"]
        }
        return EpisodeHeader(**known), about["created"], about["telemetry"]
    except (KeyError, TypeError, ValueError) as exc:
        raise _damaged(path, f"its header cannot be understood ({_one_line(exc)})") from exc


def _check_schema(path: Path, schema: Any) -> None:
    """Refuse foreign files, other versions of the format, and files whose description is damaged."""
    metadata = schema.metadata or {}
    text = metadata.get(_METADATA_KEY)
    if text is None:
        raise ForeignEpisodeError(
            f"{path} is no episode: its columns are {_shortened(schema.names)} and it has no {FORMAT} header. "
            "Pass a file recorded by this project."
        )
    if metadata.get(_METADATA_CHECKSUM_KEY) != str(zlib.crc32(text)).encode():
        raise _damaged(path, "its header does not match its checksum")
    about = json.loads(text)
    if not isinstance(about, dict):
        raise _damaged(path, f"its header is {_quoted(about)}, no object")
    if about.get("format") != FORMAT or about.get("version") != FORMAT_VERSION:
        raise ForeignEpisodeError(
            f"{path} has format {_quoted(about.get('format'))} version {_quoted(about.get('version'))}, this "
            f"program reads {FORMAT!r} version {FORMAT_VERSION}. Use the version of this project that recorded it."
        )
    expected = dict(_COLUMN_TYPES)
    if about["telemetry"]:
        expected["telemetry"] = pa.struct([(name, pa.float32()) for name in about["telemetry"]])
    if len(schema.names) != len(expected) or dict(zip(schema.names, schema.types, strict=True)) != expected:
        raise _damaged(path, f"it has columns {_shortened(schema.names)}, expected {_shortened(expected)}")


def _check_columns(path: Path, table: Any, rows: int) -> None:
    table.validate(full=True)
    empty = [name for name in table.column_names if name not in _NULLABLE and table[name].null_count]
    if empty:
        raise _damaged(path, f"values are missing in {_shortened(empty)}")
    if not rows or table.num_rows != rows:
        raise _damaged(path, f"it has {table.num_rows} rows of {rows}")
    if not all(np.isfinite(table[name].to_numpy()).all() for name in _LABELS + _EXECUTED):
        raise _damaged(path, "it holds controls that are no finite numbers")


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as exc:
        raise ForeignEpisodeError(
            f"{path} cannot be read ({exc.strerror}), expected an episode ending in {SEALED_SUFFIX} or "
            f"{RECORDING_SUFFIX}. Check the path."
        ) from exc
    if empty:
        raise EpisodeError(f"{path} is empty (0 bytes): nothing can be recovered. Delete it.{_beside(path)}")


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise EpisodeError(f"{path} exists, and a recording is never overwritten. Move it away or choose another name.")


def _damaged(path: Path, found: str) -> EpisodeError:
    return EpisodeError(
        f"{path} is damaged, cut short or no episode: {found}. Restore the file from where it came from, or keep what "
        f"can be read: `python -m agent episodes repair`.{_beside(path)}"
    )


def _beside(path: Path) -> str:
    """Point at the recording a sealed file was made from, where it is still there."""
    recording = path.with_suffix(RECORDING_SUFFIX)
    if path == recording or not recording.exists():
        return ""
    return f" Its recording {recording.name} is still beside it, and is what that takes."


def _floats(column: Any) -> Floats:
    """Return a nullable float column with NaN for null."""
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float32)


def _one_line(exc: BaseException) -> str:
    return _printable((str(exc).strip().splitlines() or [type(exc).__name__])[0].rstrip("."))


def _shortened(names: Any) -> str:
    listed = list(names)
    return _printable(", ".join(listed[:12]) + (", ..." if len(listed) > 12 else ""))


def _quoted(value: object) -> str:
    return _printable(repr(value)[:100])


def _printable(text: str) -> str:
    """Return a text that may quote bytes of a file without what steers a terminal, and not too much of it."""
    return "".join(character if character.isprintable() else "?" for character in text)[:300]
