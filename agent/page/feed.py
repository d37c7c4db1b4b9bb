"""The drive's side of the page: starts the page's process, and tells it every tick without ever waiting for it."""

import math
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from agent.contract.errors import AgentError
from agent.observers.base import TickRecord
from agent.page.records import KINDS, STUCK_STATES, Facts, PageMemory, Weights, row_of
from agent.system.child import Child, start_child
from agent.system.pacing import TickStats, clock_ns

if TYPE_CHECKING:
    from agent.games.base import DriveState

LOOPBACK = "127.0.0.1"
FRAMES_PER_S = 20.0
"""Pictures of the game a second, at most."""
_READY_TIMEOUT_S = 30.0
_CLOSE_TIMEOUT_S = 5.0  # to tell the viewers that it ends; on a busy machine it gets little processor time


@dataclass(frozen=True, slots=True)
class Address:
    """Where the page listens.

    Attributes:
        host: Address of this machine to listen at.
        port: TCP port; 0 is the usual one, or the next one that is free.
        token: The first part of every path; empty on the loopback address, which nobody else reaches.
        browser: Whether to open a browser.
        theme: A style sheet with the colours of the stream; empty for the usual ones.
    """

    host: str = LOOPBACK
    port: int = 0
    token: str = ""
    browser: bool = False
    theme: bytes = b""

    @classmethod
    def at(cls, host: str | None, port: int | None, browser: bool = False) -> Self:
        """Return where to listen, with a new token if other machines can reach it."""
        host = host or LOOPBACK
        return cls(host, port or 0, "" if is_loopback(host) else secrets.token_urlsafe(16), browser)


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    return host in ("localhost", "::1") or host.startswith("127.")


def is_for_a_person() -> bool:
    """Return whether somebody would see a browser's window: at a terminal, on a machine with a display."""
    has_display = sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(has_display) and sys.stderr.isatty()


class Page:
    """The page of a drive: ``with Page(...) as page``, and ``page.of(stats)`` observes a lap.

    The page's process ends with the block, and with this process. If it ends earlier, the drive goes on.

    Args:
        facts: What does not change during the drive.
        address: Where to listen.

    Attributes:
        url: The page's address, once the block is entered.
    """

    def __init__(self, facts: Facts, address: Address) -> None:
        self.facts = facts
        self.url = ""
        self._address = address
        self._started_ns = clock_ns()
        self._child: Child | None = None
        self._memory: PageMemory | None = None

    def __enter__(self) -> Self:
        """Start the page's process.

        Raises:
            AgentError: If it cannot listen there, or does not start.
        """
        memory = self._memory = PageMemory(self.facts)
        try:
            memory.touch()
            arguments = (self.facts, memory.name, self._address, self._started_ns)
            self._child = start_child(_serve, arguments, "page")
            self.url = wait_until_ready(self._child)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        memory, self._memory = self._memory, None
        if memory is None:
            return
        if self._child is not None:
            memory.write_note("end")
            self._child.end(_CLOSE_TIMEOUT_S)
            self._child = None
        memory.close(unlink=True)

    @property
    def pid(self) -> int | None:
        """The page's process; None while there is none."""
        return None if self._child is None else self._child.process.pid

    def of(
        self,
        stats: TickStats,
        seed: int | None = None,
        state: "Callable[[], DriveState] | None" = None,
        swaps: Callable[[], int] = lambda: 0,
        clock: Callable[[], int] | None = None,
        weights: Callable[[], Weights] = Weights,
    ) -> "PageObserver":
        """Return an observer of a drive, or of one lap.

        Args:
            stats: The pacer's figures.
            seed: Track of the lap; None for a game in a window.
            state: Returns the state of the drive, for a game that reports it.
            swaps: Returns how often other weights have taken over.
            clock: The time that the page shows; for a drive on a virtual clock. None takes the ticks' own.
            weights: Returns the weights that drive; asked after each swap.

        Raises:
            ValueError: If the block is not entered.
        """
        if self._memory is None:
            raise ValueError("the page is not open, expected to be used inside its `with` block")
        return PageObserver(self._memory, stats, self._started_ns, seed, state, swaps, clock=clock, weights=weights)


@contextmanager
def page_of_folder(folder: Path, address: Address) -> Iterator[str]:
    """Serve the page of a folder, such as that of a training, in a process of its own; gives its address.

    Raises:
        AgentError: If it cannot listen there, or does not start.
    """
    child = start_child(_serve_folder, (folder, address), "page")
    try:
        yield wait_until_ready(child)
    finally:
        child.end(_CLOSE_TIMEOUT_S)


def _serve_folder(link: "Connection[Any, Any]", folder: Path, address: Address) -> None:
    from agent.page.folder import serve_run

    serve_run(link, folder, address)


def _serve(link: "Connection[Any, Any]", *arguments: Any) -> None:
    """Serve the page; in its process, so that this one does not import the web server."""
    from agent.page.service import serve_drive

    serve_drive(link, *arguments)


def wait_until_ready(child: Child) -> str:
    """Return the address of a page's process.

    Raises:
        AgentError: If it cannot listen there, or does not start.
    """
    try:
        if child.link.poll(_READY_TIMEOUT_S):
            what, details = child.link.recv()
            if what == "ready":
                return str(details)
            raise AgentError(str(details))
    except (EOFError, OSError) as exc:
        raise AgentError("the page's process ended before it was ready. Drive without --page.") from exc
    raise AgentError(
        f"the page's process was not ready within {_READY_TIMEOUT_S:.0f} s, expected a second. Close other programs, "
        "or drive without --page."
    )


class PageObserver:
    """Copies every tick's numbers and network input into shared memory, and the game's picture 20 times a second.

    Args:
        memory: The page's memory; stays open.
        stats: The pacer's figures.
        started_ns: When the page's time began.
        seed: Track of the lap; None for a game in a window.
        state: Returns the state of the drive; None for a game that does not report it.
        swaps: Returns how often other weights have taken over.
        frames_per_s: Pictures of the game a second, at most.
        clock: Monotonic time in nanoseconds; None takes the ticks' own.
        weights: Returns the weights that drive; asked after each swap.
    """

    def __init__(
        self,
        memory: PageMemory,
        stats: TickStats,
        started_ns: int,
        seed: int | None = None,
        state: "Callable[[], DriveState] | None" = None,
        swaps: Callable[[], int] = lambda: 0,
        frames_per_s: float = FRAMES_PER_S,
        clock: Callable[[], int] | None = None,
        weights: Callable[[], Weights] = Weights,
    ) -> None:
        self._memory = memory
        self._stats = stats
        self._started_ns = started_ns
        self._seed = seed
        self._state = state
        self._swaps = swaps
        self._swapped = 0
        self._weights = weights
        self._clock = clock
        # A tenth less, or pictures that are due a moment after a tick would come only every second or third tick.
        self._frame_period_ns = round(0.9e9 / frames_per_s)
        self._next_frame_ns = -math.inf
        self._kind = "driven"
        self._stamp = memory.ticks.newest  # goes on from lap to lap

    def __enter__(self) -> Self:
        self._memory.write_note("begin", seed=self._seed, tick=self._stamp)
        return self

    def __exit__(self, *exc_info: object) -> None:
        stats = self._stats
        self._memory.write_note("finish", ticks=stats.ticks, missed=stats.missed, deadlines=stats.deadlines)

    def on_tick(self, record: TickRecord) -> None:
        self._stamp += 1
        started_ns = record.started_ns if self._clock is None else self._clock()
        if (swaps := self._swaps()) != self._swapped:  # this tick was the first one of other weights
            self._swapped = swaps
            self._memory.write_note("weights", tick=self._stamp, **asdict(self._weights()))
        raw, age_s, frame_index = None, math.nan, math.nan
        if record.kind != "blind":
            raw, frame_index = record.prediction, record.frame.index
            age_s = record.latency_s if record.kind == "driven" else record.age_s
            if record.observation.shape == self._memory.facts.observation_shape:
                self._memory.inputs.write(record.observation, self._stamp)
            if started_ns >= self._next_frame_ns:
                self._next_frame_ns = started_ns + self._frame_period_ns
                self._memory.write_frame(record.frame.pixels, self._stamp)
        if record.kind != self._kind:
            self._kind = record.kind
            reason = record.reason if record.kind == "blind" else ""
            self._memory.write_note("sight", now=record.kind, reason=reason, tick=self._stamp)
        numbers = (self._stamp, KINDS.index(record.kind), (started_ns - self._started_ns) / 1e9, age_s)
        sections = (record.sections_s.get(name, math.nan) for name in ("capture", "preprocess", "infer", "send"))
        state = record.intervention, STUCK_STATES.index(record.stuck), frame_index
        counts = self._stats.missed, self._stats.deadlines, swaps
        row = (*numbers, *sections, *state, *counts, *self._progress())
        outputs = len(self._memory.facts.outputs)
        self._memory.ticks.write(row_of(row, raw, outputs, record.controls.values), started_ns)

    def _progress(self) -> Sequence[float]:
        if self._state is None:
            return math.nan, math.nan, math.nan
        now = self._state()
        return math.nan if now.speed is None else now.speed, now.progress, now.episode_return
