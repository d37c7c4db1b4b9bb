"""A drive's use of the system over hours: memory, handles, threads, and missed deadlines."""

import contextlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import psutil

from agent.contract.durable import replace_file
from agent.contract.errors import AgentError
from agent.observers.base import TickRecord
from agent.system.files import claim_file
from agent.system.pacing import TickStats, clock_ns

_SETTLING_SHARE = 0.1  # the first share of the samples, left out of trends: caches are still filling


@dataclass(frozen=True, slots=True)
class HealthSample:
    """The resources of this process and its children at one moment.

    Attributes:
        time_s: Seconds since the first tick.
        memory_mb: Resident memory of this process.
        children_memory_mb: Resident memory of the game's and the guard's processes.
        handles: Open files and other handles of all these processes.
        threads: Threads of all these processes.
        deadlines: Deadlines since the last sample.
        missed: Missed deadlines since the last sample.
    """

    time_s: float
    memory_mb: float
    children_memory_mb: float
    handles: int
    threads: int
    deadlines: int
    missed: int


class HealthLog:
    """Takes samples at regular intervals, and writes all of them whenever one of its observers ends.

    Args:
        path: JSON file to write; replaced.
        period_s: Seconds between two samples.
        clock: Monotonic time in nanoseconds.
    """

    def __init__(self, path: Path, period_s: float = 10.0, clock: Callable[[], int] = clock_ns) -> None:
        self.samples: list[HealthSample] = []
        self._path = path
        self._period_ns = round(period_s * 1e9)
        self._clock = clock
        self._process = psutil.Process()
        self._first_ns: int | None = None
        self._next_ns = 0

    def of(self, stats: TickStats) -> "HealthObserver":
        """Return an observer of a drive, or of one lap, that adds to the log."""
        return HealthObserver(self, stats)

    def sample_if_due(self, account: Callable[[], tuple[int, int]]) -> None:
        """Take a sample if it is due; ``account`` returns all and missed deadlines since the last sample."""
        now_ns = self._clock()
        if self._first_ns is None:
            self._first_ns = now_ns
        if now_ns < self._next_ns:
            return
        self._next_ns = now_ns + self._period_ns
        processes = [self._process, *self._process.children(recursive=True)]
        memory_mb, handles, threads = [], 0, 0
        for process in processes:
            with contextlib.suppress(psutil.Error):  # the process has ended meanwhile
                memory_mb.append(process.memory_info().rss / 1e6)
                handles += process.num_handles() if psutil.WINDOWS else process.num_fds()
                threads += process.num_threads()
        seconds = (now_ns - self._first_ns) / 1e9
        self.samples.append(HealthSample(seconds, memory_mb[0], sum(memory_mb[1:]), handles, threads, *account()))

    def trends(self) -> dict[str, float]:
        """Return each figure's growth per hour: the slope of a line through its samples, without the first ones."""
        settled = self.samples[math.ceil(len(self.samples) * _SETTLING_SHARE) :]
        if len(settled) < 3:
            return {}
        hours = [sample.time_s / 3600 for sample in settled]
        names = ("memory_mb", "children_memory_mb", "handles", "threads", "missed")
        return {name: float(np.polyfit(hours, [getattr(sample, name) for sample in settled], 1)[0]) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"growth_per_hour": self.trends(), "samples": [asdict(sample) for sample in self.samples]}

    def claim(self) -> None:
        """Check that the file can be written.

        Raises:
            AgentError: If it cannot be written.
        """
        claim_file(self._path)

    def write(self) -> None:
        """Write the whole file.

        Raises:
            AgentError: If it cannot be written.
        """
        try:
            replace_file(self._path, json.dumps(self.to_dict(), indent=1) + "\n", sync=False)
        except OSError as exc:
            raise AgentError(
                f"{self._path} cannot be written ({exc.strerror or exc}). Free some space, or pass another path."
            ) from exc

    def describe(self) -> str:
        """Return the trends in a line; empty if there were too few samples."""
        trends = self.trends()
        if not trends:
            return ""
        hours = self.samples[-1].time_s / 3600
        return (
            f"growth per hour, over {hours:.2f} h: memory {trends['memory_mb']:+.2f} MB (game and guard "
            f"{trends['children_memory_mb']:+.2f} MB), handles {trends['handles']:+.2f}, "
            f"threads {trends['threads']:+.2f}"
        )


class HealthObserver:
    """Feeds a log while it watches, on blind and late ticks too; made by :meth:`HealthLog.of`."""

    def __init__(self, log: HealthLog, stats: TickStats) -> None:
        self._log = log
        self._stats = stats
        self._counted = (0, 0)

    def __enter__(self) -> Self:
        self._log.claim()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._log.write()

    def on_tick(self, record: TickRecord) -> None:
        self._log.sample_if_due(self._account)

    def _account(self) -> tuple[int, int]:
        before, self._counted = self._counted, (self._stats.deadlines, self._stats.missed)
        return self._counted[0] - before[0], self._counted[1] - before[1]
