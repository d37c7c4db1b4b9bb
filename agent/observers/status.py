"""The status line of a drive."""

import shutil
import sys
from collections import deque
from collections.abc import Callable
from typing import Self, TextIO

import numpy as np

from agent.observers.base import DrivenTick, TickRecord
from agent.system.pacing import TickStats, clock_ns

_TERMINAL_PERIOD_S = 0.2
_LOG_PERIOD_S = 5.0
_RECENT_TICKS = 500  # the line shows the latency of the last seconds; the final summary has the whole drive


class StatusLine:
    """Writes rates, the last prediction with the sent values in brackets, latency and missed deadlines.

    It counts only ticks whose decision was sent; blind and late ticks appear in the log and the summary.

    On a terminal, the line is rewritten in place five times a second. Elsewhere, such as in a log file, a new line is
    written every five seconds. ``Hz`` is the rate achieved since the start. FPS (frames delivered by the source) and
    PPS (predictions made) are per second since the line was last written.

    Args:
        stats: The pacer's figures.
        stream: Where to write; standard error if None.
        clock: Monotonic time in nanoseconds.
    """

    def __init__(self, stats: TickStats, stream: TextIO | None = None, clock: Callable[[], int] = clock_ns) -> None:
        self._stats = stats
        self._stream = stream or sys.stderr
        self._clock = clock
        self._in_place = self._stream.isatty()
        self._period_s = _TERMINAL_PERIOD_S if self._in_place else _LOG_PERIOD_S
        self._latencies_s: deque[float] = deque(maxlen=_RECENT_TICKS)
        self._last: DrivenTick | None = None
        self._written_at_ns = 0
        self._written: DrivenTick | None = None
        self._columns = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._last is not None and self._last is not self._written:
            self._write(self._last)
        if self._in_place and self._columns:
            self._stream.write("\n")
            self._stream.flush()

    def on_tick(self, record: TickRecord) -> None:
        if record.kind != "driven":
            return
        self._latencies_s.append(record.latency_s)
        self._last = record
        if self._written is None:  # a rate needs an earlier moment to compare with
            self._written = record
            self._written_at_ns = self._clock()
        elif self._clock() - self._written_at_ns >= self._period_s * 1e9:
            self._write(record)

    def _write(self, record: DrivenTick) -> None:
        now_ns = self._clock()
        frames_per_second = predictions_per_second = 0.0
        if self._written is not None and now_ns > self._written_at_ns:
            elapsed_s = (now_ns - self._written_at_ns) / 1e9
            frames_per_second = (record.frame.index - self._written.frame.index) / elapsed_s
            predictions_per_second = (record.index - self._written.index) / elapsed_s
        p50_s, p99_s = np.percentile(list(self._latencies_s), (50, 99))
        line = (
            f"{self._stats.rate_hz:.1f} Hz | FPS {frames_per_second:.0f} PPS {predictions_per_second:.0f}"
            f" | {format_controls(record)} | latency p50 {p50_s * 1e3:.0f} ms, p99 {p99_s * 1e3:.0f} ms"
            f" | missed {self._stats.missed}/{self._stats.deadlines}"
        )
        if self._in_place:
            # A wrapped line could not be rewritten in place; a shorter line must cover the rest of the last one.
            line = line[: shutil.get_terminal_size().columns - 1]
            self._stream.write("\r" + line.ljust(self._columns))
            self._columns = len(line)
        else:
            self._stream.write(line + "\n")
        self._stream.flush()
        self._written_at_ns = now_ns
        self._written = record


def format_controls(record: DrivenTick) -> str:
    """Return each output's raw prediction with the sent value in brackets."""
    sent = record.controls.to_array(record.outputs)
    return " ".join(
        f"{name} {raw:.2f} ({value:.2f})"
        for name, raw, value in zip(record.outputs, record.prediction, sent, strict=True)
    )
