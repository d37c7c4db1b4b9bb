"""Recording an episode: rows go to the disk every half second.

How a picture is compressed is in ``agent.contract.picture_codec``.
"""

import math
import os
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from agent.contract.controls import AXIS_NAMES
from agent.contract.durable import sync_folder
from agent.contract.episodes.columns import (
    BATCH_CHECKSUM_KEY,
    RECORDING_SUFFIX,
    REPAIR,
    SEALED_SUFFIX,
    SECOND_NS,
    EncodedRow,
    EpisodeHeader,
    EpisodeRow,
    arrow_schema,
    checksum_of,
    executed_columns,
    refuse_existing,
)
from agent.contract.episodes.sealing import seal_recording
from agent.contract.errors import EpisodeError
from agent.contract.locks import claim
from agent.contract.picture_codec import encode_picture

_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"  # Arrow IPC: continuation marker, empty message
# How much of a drive goes to the disk at once. A kill loses this much, and the rows that came during the last write.
_BATCH_NS = SECOND_NS // 2


def encode_row(row: EpisodeRow) -> EncodedRow:
    """Compress a row's picture: some milliseconds of work, which a separate thread may do."""
    return EncodedRow(
        row.frame.index,
        row.frame.captured_ns,
        encode_picture(row.frame),
        row.controls,
        row.executed,
        row.speed,
        row.intervention,
        row.telemetry,
    )


class EpisodeWriter:
    """Records rows into ``NAME.recording`` and seals them as ``NAME.parquet`` on closing, after an error too.

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
        if unknown := [name for name in header.axes if name not in AXIS_NAMES]:
            raise ValueError(f"there is no axis {unknown[0]!r} to record, expected some of {', '.join(AXIS_NAMES)}")
        self.path = path
        self.header = header
        self.rows = 0
        """Rows recorded so far: on the disk, or waiting for their half second to fill."""
        self._recording = path.with_suffix(RECORDING_SUFFIX)
        self._rows_per_batch = max(1, math.floor(header.rate_hz * _BATCH_NS / SECOND_NS))
        self._safe_rows = 0  # on the disk, without the batch being written
        self._pending: list[dict[str, Any]] = []
        self._schema: Any = None  # known from the first row on, which names the telemetry
        self._telemetry_names: set[str] = set()
        self._size = 0
        self._batches: list[tuple[int, int, int]] = []  # size of the file before it, rows before it, newest capture
        # pyarrow imports pandas (if installed) with its first array. That takes seconds: do it now, not while driving.
        pa.array([0], pa.int32())
        refuse_existing(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if self._recording.exists():
                raise EpisodeError(
                    f"{self._recording} exists: an earlier recording was cut off there, or is still going on. "
                    f"{REPAIR}, move it away, or record under another name."
                )
            # "x" in case two recordings start at once. Unbuffered: the system has all bytes that write() accepted.
            self._file = self._recording.open("xb", buffering=0)
            try:
                if not claim(self._file):  # an unclaimed file would be taken for the remains of a recording
                    raise EpisodeError(
                        f"{self._recording} was locked by another program as soon as it was created, expected no other "
                        "program (such as a repair) to work in that folder. Start again when that program has ended."
                    )
                sync_folder(path.parent)
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

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def write(self, row: "EpisodeRow | EncodedRow") -> None:
        """Add a row. If it completes half a second of rows, they are on the disk when this returns.

        Args:
            row: A row, or the result of :func:`encode_row` from another thread.

        Raises:
            EpisodeError: If the disk cannot be written. The rows of the unfinished half second are lost, earlier rows
                are safe, and recording may go on.
            ValueError: If the row's telemetry names differ from the first row's.
        """
        if isinstance(row, EpisodeRow):
            row = encode_row(row)
        if self._schema is None:
            self._schema = arrow_schema(self.header, sorted(row.telemetry))
            self._telemetry_names = set(row.telemetry)
        elif row.telemetry.keys() != self._telemetry_names:
            raise ValueError(
                f"a row has telemetry {sorted(row.telemetry)}, the episode's first row had "
                f"{sorted(self._telemetry_names)}: expected the same names in every row"
            )
        axes = self.header.axes
        # At less than the nominal rate, rows that are half a second old must not wait until the batch is full.
        if self._pending and row.captured_ns - self._pending[0]["captured_ns"] >= _BATCH_NS:
            self._flush()
        self._pending.append(
            {
                "tick": row.tick,
                "captured_ns": row.captured_ns,
                "frame": {"bytes": row.picture, "path": f"{self.rows:06d}.png"},
                **dict(zip(axes, row.controls.to_array(axes).tolist(), strict=True)),
                **dict(zip(executed_columns(axes), row.executed.to_array(axes).tolist(), strict=True)),
                "speed": row.speed,
                "intervention": row.intervention,
                "telemetry": row.telemetry,
            }
        )
        self.rows += 1
        if len(self._pending) >= self._rows_per_batch:
            self._flush()

    def discard_since(self, captured_ns: int) -> int:
        """Remove the rows captured from then on, and all rows of the batches that hold one of them.

        A batch is about half a second of rows, so up to half a second more than asked for is removed.

        Returns:
            How many rows were removed.

        Raises:
            EpisodeError: If the disk does not allow it; then nothing on the disk is lost.
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
            EpisodeError: If the sealed file cannot be written, or rows cannot be read back; then the recording stays,
                and ``rows`` is the number of sealed rows.
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
                    if not self._recording.exists():
                        self.rows = 0  # its folder was taken away: nothing of it is left to be counted
                    sealed, unread = seal_recording(self._recording, self.path)
            finally:
                self._file.close()  # only now: the recording must stay locked until here
            self.rows = sealed
            if sealed == recorded and not unread:
                self._recording.unlink(missing_ok=True)
        if sealed < recorded:
            raise EpisodeError(
                f"{self.path} has {sealed} of the {recorded} recorded rows: the later rows cannot be read back, "
                f"expected all of them on the disk. They are left in {self._recording.name}. {REPAIR}."
            )

    def _flush(self) -> None:
        """Put the pending rows on the disk as one record batch, or lose them and say so."""
        rows, self._pending = self._pending, []
        try:
            columns = [pa.array([row[field.name] for row in rows], field.type) for field in self._schema]
            batch = pa.record_batch(columns, schema=self._schema)
            size = self._size
            self._safe_rows = self.rows - len(rows)
            self._append((b"" if self._size else self._schema.serialize().to_pybytes()) + _message(batch))
            self._batches.append((size, self._safe_rows, rows[-1]["captured_ns"]))
        except Exception:
            self.rows -= len(rows)
            raise

    def _append(self, data: bytes) -> None:
        """Write and sync; after a failure, the file has its previous length."""
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
                f"{self._safe_rows} rows before it are safe. Free space on the disk."
            ) from exc
        self._size += len(data)


def _message(batch: Any) -> bytes:
    """Return a batch as one IPC message that carries the checksum of its content."""
    sink = pa.BufferOutputStream()
    writer = pa.ipc.new_stream(sink, batch.schema)
    writer.write_batch(batch, custom_metadata={BATCH_CHECKSUM_KEY: checksum_of(batch)})
    message: bytes = sink.getvalue().to_pybytes()
    return message[batch.schema.serialize().size :]  # without the stream's schema: the file has it
