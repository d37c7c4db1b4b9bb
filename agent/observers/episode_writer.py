"""Records the drive as an episode; the drive never waits for it."""

import logging
import math
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from agent.contract.episodes.columns import RECORDING_SUFFIX, EncodedRow, EpisodeHeader, EpisodeRow
from agent.contract.episodes.writing import EpisodeWriter, encode_row
from agent.contract.errors import EpisodeError
from agent.observers.base import TickRecord

_log = logging.getLogger(__name__)

# Frames wait uncompressed until the compressing thread takes them: 25 pictures of 1000 x 800 px BGRA are 80 MB.
QUEUE_ROWS = 25
# Compressed rows wait for the disk, which may be slow to sync: 10 s at 30 a second, or 10 MB at 35 KB each. A kill
# loses the waiting rows. But with less room, every sync of a second (disks do take that long) would leave a gap.
DISK_ROWS = 300


class EpisodeRecorder:
    """Writes every tick whose decision was sent into an episode; one thread compresses, another writes to the disk.

    Blind and late ticks are left out: they have no picture, or the controls sent do not belong to it. Controls that
    free a stuck car are left out too: they do not answer the picture, so nothing can be learnt from them.

    When the queue is full, a frame and its row are dropped together and counted. A failure of the disk never stops the
    drive: it is logged once, kept in ``problem``, counted row by row, and raised when the recorder is closed. A kill
    loses the waiting rows: at most a second of them, and up to ``DISK_ROWS`` and ``QUEUE_ROWS`` more while the disk
    stalls, which is logged as soon as it begins. With ``blocking``, it is never more than the second.

    Args:
        path: The sealed file, ending in ``.parquet``.
        header: What is true of the whole episode.
        telemetry: Called once a tick for the speed (None if unknown) and further numbers; None records neither.
        blocking: Wait for room in the queue instead of dropping; for simulators that wait.

    Attributes:
        problem: The first failure; None if there was none.
    """

    def __init__(
        self,
        path: Path,
        header: EpisodeHeader,
        telemetry: Callable[[], tuple[float | None, dict[str, float]]] | None = None,
        blocking: bool = False,
    ) -> None:
        self.problem: Exception | None = None
        self._path = path
        self._header = header
        self._telemetry = telemetry
        self._blocking = blocking
        self._dropped_full = 0  # counted by the loop's thread
        self._dropped_failed = 0  # counted by the disk's thread
        # The writer itself holds half a second. A simulator can wait as soon as the queues hold as much.
        room = max(1, math.floor(header.rate_hz / 4)) if blocking else DISK_ROWS
        self._queue: queue.Queue[EpisodeRow | int | None] = queue.Queue(min(QUEUE_ROWS, room))
        self._encoded: queue.Queue[EncodedRow | EpisodeError | int | None] = queue.Queue(room)
        self._told_that_it_waits = blocking
        self._threads = [
            threading.Thread(target=work, name=f"episode {name}", daemon=True)
            for name, work in (("compression", self._compress), ("disk", self._write))
        ]

    @property
    def path(self) -> Path:
        """The sealed file."""
        return self._path

    @property
    def dropped(self) -> int:
        """Rows that are missing from the episode so far."""
        return self._dropped_full + self._dropped_failed

    def __enter__(self) -> Self:
        """Create the recording.

        Raises:
            EpisodeError: If the file exists or the folder cannot be written.
        """
        self._writer = EpisodeWriter(self._path, self._header)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write what is queued and seal the episode.

        Raises:
            EpisodeError: If a part of the drive could not be written, now or before, unless another error is raised.
        """
        self._queue.put(None)
        for thread in self._threads:
            thread.join()
        rows_before = self._writer.rows
        try:
            self._writer.close()
        except EpisodeError as trouble:
            self._dropped_failed += rows_before - self._writer.rows
            self._report(trouble)
        if self._dropped_full:
            _log.warning(
                "%s lacks %d ticks: compressing and writing could not keep up with the drive",
                self._path,
                self._dropped_full,
            )
        if self.problem is not None and exc is None:
            raise EpisodeError(f"{self.problem} {self.dropped} ticks were not recorded.") from self.problem

    def on_tick(self, record: TickRecord) -> None:
        if record.kind != "driven":
            return
        if record.stuck in ("recovering", "given_up") and not record.intervention:
            return
        speed, telemetry = self._telemetry() if self._telemetry is not None else (None, {})
        self.put(
            EpisodeRow(
                record.frame,
                record.controls,
                record.controls,
                speed=speed,
                intervention=record.intervention,
                telemetry=telemetry,
            )
        )

    def put(self, row: EpisodeRow) -> bool:
        """Record a row, or drop and count it if the queue is full; return whether it was accepted."""
        if not self._told_that_it_waits and self._queue.qsize() + self._encoded.qsize() > self._header.rate_hz / 2:
            self._told_that_it_waits = True
            _log.warning(
                "recording: more than a second of the drive waits for the disk or the processor; a kill would lose it. "
                "Record to a faster disk, or close other programs."
            )
        try:
            self._queue.put(row, block=self._blocking)
        except queue.Full:
            self._dropped_full += 1
            return False
        return True

    def discard_since(self, captured_ns: int) -> None:
        """Remove the rows captured from then on; see :meth:`EpisodeWriter.discard_since`."""
        self._queue.put(captured_ns)

    @property
    def size_bytes(self) -> int:
        """The recording's present size on the disk."""
        try:
            return self._path.with_suffix(RECORDING_SUFFIX).stat().st_size
        except OSError:
            return 0

    def _compress(self) -> None:
        while (row := self._queue.get()) is not None:
            self._encoded.put(row if isinstance(row, int) else self._compressed(row))
            del row  # otherwise its picture is kept until the next one comes
        self._encoded.put(None)

    def _compressed(self, row: EpisodeRow) -> EncodedRow | EpisodeError:
        """Return a row for the disk's thread, or the error: that thread counts the lost rows."""
        try:
            return encode_row(row)
        except Exception as trouble:  # MemoryError too: nothing may wait for a dead thread, during or after the drive
            return EpisodeError(
                f"The picture of tick {row.frame.index} could not be compressed ({trouble!r}), expected memory for it. "
                "Close other programs."
            )

    def _write(self) -> None:
        while (row := self._encoded.get()) is not None:
            rows_before = self._writer.rows
            try:
                if isinstance(row, int):
                    self._writer.discard_since(row)
                    continue
                if isinstance(row, EpisodeError):
                    raise row
                self._writer.write(row)
            except Exception as trouble:  # no error of a recording may end the drive or make it wait
                self._dropped_failed += max(0, rows_before + 1 - self._writer.rows)
                self._report(trouble)

    def _report(self, trouble: Exception) -> None:
        if self.problem is None:
            self.problem = trouble
            _log.error("recording: %s", trouble)
