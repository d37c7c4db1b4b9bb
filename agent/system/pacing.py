"""A fixed rate without drift: absolute deadlines, and statistics on how well they were kept."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

clock_ns = time.perf_counter_ns
"""Monotonic time in nanoseconds: the only clock for stamping frames, pacing the loop and timing it.

It is the same in every process of a machine, so the game's stamps can be compared with the agent's. On Linux and macOS
it equals ``time.monotonic_ns``. On Windows before Python 3.13, ``monotonic_ns`` advances in steps of 16 ms; this clock,
the system's QueryPerformanceCounter, does not.
"""

_NS = 1e9
_REMEMBERED_TICKS = 60 * 60 * 60  # an hour at 60 Hz; percentiles of a longer drive cover its last hour

_FIRST_REMEMBERED = 256

# How late a tick may start, as a share of the period, before its slot is skipped. A slightly late tick should run at
# once, because waiting for the next slot would halve the rate. After a very late tick, the next one would follow almost
# immediately, and the gamepad would see a burst. With a quarter, every interval is at least 3/4 of the period.
_LATE_START_SHARE = 0.25


class VirtualClock:
    """A clock that moves only when told to, for tests and for simulators that wait.

    Call it for the time in nanoseconds; pass it and its ``sleep`` to :class:`Pacer`.
    """

    def __init__(self, now_ns: int = 0) -> None:
        self._now_ns = now_ns

    def __call__(self) -> int:
        """Return the virtual time in nanoseconds."""
        return self._now_ns

    def sleep(self, seconds: float) -> None:
        """Advance the time by this much, without waiting."""
        self.advance_to(self._now_ns + round(seconds * _NS))

    def advance_to(self, now_ns: int) -> None:
        """Set the time.

        Raises:
            ValueError: If the time is earlier than now.
        """
        if now_ns < self._now_ns:
            raise ValueError(f"a clock at {self._now_ns} ns cannot go back to {now_ns} ns")
        self._now_ns = now_ns


class Tick:
    """One pass of the loop.

    Attributes:
        index: Running number, from 0.
        deadline_ns: When the tick was due.
        started_ns: When it began.
        sections_s: Seconds spent in each named section so far.
        latency_s: From the capture of the frame to the controls sent, in seconds; None until they are sent.
    """

    __slots__ = ("_clock", "deadline_ns", "index", "latency_s", "sections_s", "started_ns")

    def __init__(self, index: int, deadline_ns: int, started_ns: int, clock: Callable[[], int]) -> None:
        self.index = index
        self.deadline_ns = deadline_ns
        self.started_ns = started_ns
        self.sections_s: dict[str, float] = {}
        self.latency_s: float | None = None
        self._clock = clock

    @property
    def lateness_s(self) -> float:
        """Seconds from the deadline to the actual start."""
        return (self.started_ns - self.deadline_ns) / _NS

    def section(self, name: str) -> "_Section":
        """Time a ``with`` block under this name."""
        return _Section(name, self.sections_s, self._clock)

    def age_s(self, captured_ns: int) -> float:
        """Return the seconds since a frame was captured."""
        return (self._clock() - captured_ns) / _NS

    def mark_sent(self, captured_ns: int) -> float:
        """Note that the controls for the frame captured at ``captured_ns`` have just been sent.

        Returns:
            The latency in seconds.
        """
        self.latency_s = self.age_s(captured_ns)
        return self.latency_s


class _Section:
    """Adds the duration of a ``with`` block to a dictionary; a microsecond of overhead."""

    __slots__ = ("_clock", "_name", "_sections_s", "_started_ns")

    def __init__(self, name: str, sections_s: dict[str, float], clock: Callable[[], int]) -> None:
        self._name = name
        self._sections_s = sections_s
        self._clock = clock

    def __enter__(self) -> Self:
        self._started_ns = self._clock()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._sections_s[self._name] = (self._clock() - self._started_ns) / _NS


class _Recent:
    """The newest values of a series in an array that grows up to a fixed size.

    The array is not allocated in full at the start. Each lap's statistics are kept to the end of the drive, and with
    large pages the system allocates the whole array at its first value: 6 MB a lap.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._array = np.empty(min(capacity, _FIRST_REMEMBERED), np.float64)
        self._count = 0

    def add(self, value: float) -> None:
        if self._count == len(self._array) < self._capacity:
            grown = np.empty(min(self._capacity, 2 * len(self._array)), np.float64)
            grown[: self._count] = self._array
            self._array = grown
        self._array[self._count % len(self._array)] = value
        self._count += 1

    def values(self) -> npt.NDArray[np.float64]:
        return self._array[: min(self._count, len(self._array))]


@dataclass(frozen=True, slots=True)
class Timing:
    """How well a drive kept its rate; 0.0 for figures that could not be measured.

    Attributes:
        period_s: Nominal control period.
        ticks: Ticks completed.
        missed_deadlines: Deadlines that passed while the loop was still busy with an earlier tick.
        missed_share: Missed deadlines as a share of all deadlines.
        rate_hz: Achieved rate, from the first tick to the last.
        interval_mean_s: Mean time from the start of one tick to the start of the next.
        interval_sd_s: Its standard deviation (jitter).
        interval_p99_error_s: 99th percentile of the distance between an interval and the nominal period.
        latency_p50_s: Median time from a frame's capture to the controls sent.
        latency_p90_s: 90th percentile of the latency.
        latency_p99_s: 99th percentile of the latency.
        latency_max_s: The longest latency.
        sections_s: Median seconds of each named section.
    """

    period_s: float
    ticks: int
    missed_deadlines: int
    missed_share: float
    rate_hz: float
    interval_mean_s: float
    interval_sd_s: float
    interval_p99_error_s: float
    latency_p50_s: float
    latency_p90_s: float
    latency_p99_s: float
    latency_max_s: float
    sections_s: dict[str, float]


class TickStats:
    """Collects ticks in bounded memory: counts over the whole drive, percentiles over its last hour at 60 Hz.

    Attributes:
        period_s: Nominal control period.
        ticks: Ticks completed.
        missed: Deadlines that passed while the loop was still busy with an earlier tick.
    """

    def __init__(self, period_s: float, remembered_ticks: int = _REMEMBERED_TICKS) -> None:
        self.period_s = period_s
        self.ticks = 0
        self.missed = 0
        self._skipped = 0
        self._remembered_ticks = remembered_ticks
        self._first_started_ns = 0
        self._last_started_ns = 0
        self._intervals = _Recent(remembered_ticks)
        self._latencies = _Recent(remembered_ticks)
        self._sections: dict[str, _Recent] = {}

    @property
    def rate_hz(self) -> float:
        """Achieved rate, from the first tick to the last; 0.0 before the second."""
        elapsed_ns = self._last_started_ns - self._first_started_ns
        return (self.ticks - 1) * _NS / elapsed_ns if elapsed_ns else 0.0

    @property
    def deadlines(self) -> int:
        """Deadlines so far: those of the ticks and of the skipped slots."""
        return self.ticks + self._skipped

    def add(self, tick: Tick, missed: int = 0, skipped: int = 0) -> None:
        """Add a completed tick.

        Args:
            tick: The tick.
            missed: Deadlines that passed while it ran.
            skipped: How many of these slots are skipped, so that no tick starts for them.
        """
        if self.ticks:
            self._intervals.add((tick.started_ns - self._last_started_ns) / _NS)
        else:
            self._first_started_ns = tick.started_ns
        self._last_started_ns = tick.started_ns
        self.ticks += 1
        self.missed += missed
        self._skipped += skipped
        if tick.latency_s is not None:
            self._latencies.add(tick.latency_s)
        for name, seconds in tick.sections_s.items():
            if name not in self._sections:
                self._sections[name] = _Recent(self._remembered_ticks)
            self._sections[name].add(seconds)

    @property
    def interval_errors_s(self) -> npt.NDArray[np.float64]:
        """Each interval's distance from the nominal period in seconds, shape (intervals,), in no particular order."""
        return np.abs(self._intervals.values() - self.period_s)

    def summarise(self) -> Timing:
        """Return the statistics so far."""
        intervals = self._intervals.values()
        latencies = self._latencies.values()
        return Timing(
            period_s=self.period_s,
            ticks=self.ticks,
            missed_deadlines=self.missed,
            missed_share=self.missed / self.deadlines if self.deadlines else 0.0,
            rate_hz=self.rate_hz,
            interval_mean_s=float(intervals.mean()) if intervals.size else 0.0,
            interval_sd_s=float(intervals.std()) if intervals.size else 0.0,
            interval_p99_error_s=_percentile(self.interval_errors_s, 99),
            latency_p50_s=_percentile(latencies, 50),
            latency_p90_s=_percentile(latencies, 90),
            latency_p99_s=_percentile(latencies, 99),
            latency_max_s=_percentile(latencies, 100),
            sections_s={name: _percentile(recent.values(), 50) for name, recent in self._sections.items()},
        )


def _percentile(values: npt.NDArray[np.float64], percent: float) -> float:
    return float(np.percentile(values, percent)) if values.size else 0.0


class Pacer:
    """Yields ticks at a fixed rate: tick k is due at ``start + k * period_s``, however long the other ticks took.

    A tick that overruns never causes a burst: the slots that passed meanwhile are skipped and counted. Only the latest
    of them is used if starting it late still leaves most of a period before the next one.

    One pacer serves one drive: it would count a pause between two drives as an interval.

    Args:
        period_s: Control period.
        clock: Monotonic time in nanoseconds, the one that stamps the frames.
        sleep: Waits for a number of seconds. On Windows, ``time.sleep`` uses the high-resolution timer since Python
            3.11. On Linux, on two busy EPYC cores, it woke 0.20 ms late in the median and 0.27 ms at worst. That delay
            is so constant that it hardly affects intervals, so busy waiting is not worth its processor time.

    Attributes:
        period_s: Control period.
        stats: The statistics of all ticks so far.

    Raises:
        ValueError: If the period is not a positive, finite number.
    """

    def __init__(
        self,
        period_s: float,
        clock: Callable[[], int] = clock_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not (math.isfinite(period_s) and period_s > 0):
            raise ValueError(f"a control period of {period_s} s is impossible, expected a positive number of seconds")
        self.period_s = period_s
        self.stats = TickStats(period_s)
        self._clock = clock
        self._sleep = sleep

    def ticks(self) -> Iterator[Tick]:
        """Yield ticks without end, each at its deadline; a tick ends when the next one is requested."""
        start_ns = self._clock()
        grace_ns = self.period_s * _LATE_START_SHARE * _NS
        slot = 0
        index = 0
        while True:
            deadline_ns = self._due(start_ns, slot)
            while (wait_ns := deadline_ns - self._clock()) > 0:
                self._sleep(wait_ns / _NS)
            tick = Tick(index, deadline_ns, self._clock(), self._clock)
            yield tick
            ended_ns = self._clock()
            index += 1
            slot += 1
            missed = 0
            while self._due(start_ns, slot) < ended_ns:
                missed += 1
                slot += 1
            starts_late = missed > 0 and ended_ns - self._due(start_ns, slot - 1) <= grace_ns
            if starts_late:
                slot -= 1
            self.stats.add(tick, missed, skipped=missed - starts_late)

    def _due(self, start_ns: int, slot: int) -> int:
        """Return when a slot is due, from the slot's number alone so that no rounding accumulates."""
        return start_ns + round(slot * self.period_s * _NS)
