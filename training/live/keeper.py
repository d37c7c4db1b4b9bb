"""A part of a live training that runs in a process of its own, and is started again if something ends it."""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from agent.contract.errors import AgentError, TrainingError
from agent.system.child import Child, start_child

_log = logging.getLogger(__name__)

_SOON_S = 5.0
_FAILURES = 3
"""Failures in a row, none of which was later than some seconds after the start or did anything before."""
_LAST_STEPS_S = 1.0
"""How long a part whose end of the pipe is closed may take to end, so that its own exit code is told."""
_REST_S = 30.0
"""How long a part that worked before and fails again and again is left alone, as on a full disk."""


@contextmanager
def kept_going(link: "Connection[Any, Any]", nice: int) -> Iterator[None]:
    """What a kept process does around its work: it yields to the drive, and says why it ends, if an error ends it.

    Ctrl-C is left to the process that keeps it; started from a thread, this one would get it, too. The block ends
    quietly when the other end of the pipe is gone.

    Args:
        link: Its end of the pipe.
        nice: What is added to its nice value.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING)
    with contextlib.suppress(OSError, AttributeError):
        os.nice(nice)
    try:
        yield
    except (BrokenPipeError, EOFError, ConnectionResetError):
        return  # the drive has ended
    except (AgentError, OSError, MemoryError) as exc:
        with contextlib.suppress(OSError):
            link.send(f"{exc}")


class Keeper:
    """Keeps a process going.

    A process that is killed is started again at once. One that says why it ends (its last message is a text) is started
    again too. The third time in a row is an error, if it has never done anything; otherwise it is started again after
    half a minute each time, as where a disk is full.

    Args:
        name: What it is called.
        target: What it runs; gets its end of the pipe first.
        arguments: Further arguments.
        note: Is told that it had to be started again.

    Attributes:
        restarts: How often it was started again.
        back_s: How long it took, the last time, from its end to its first message; None if it never ended.
    """

    def __init__(
        self, name: str, target: Callable[..., None], arguments: tuple[Any, ...], note: Callable[[str], None]
    ) -> None:
        self.restarts = 0
        self.back_s: float | None = None
        self._name = name
        self._target = target
        self._arguments = arguments
        self._note = note
        self._ended_s: float | None = None
        self._failures = 0
        self._has_worked = False
        self._rests_until_s: float | None = None
        self._start()

    @property
    def pid(self) -> int | None:
        """The process at present."""
        return self._child.process.pid

    def hear(self) -> list[Any]:
        """Return what it has sent since the last call; start it again if it has ended.

        Raises:
            TrainingError: If it fails again and again; with its own words.
        """
        heard: list[Any] = []
        if self._rests_until_s is not None:
            if time.monotonic() < self._rests_until_s:
                return heard
            self._rests_until_s = None
            self._start()
        try:
            while self._child.link.poll():
                word = self._child.link.recv()
                if isinstance(word, str):
                    self._problem = word
                else:
                    heard.append(word)
                    self._count_as_working()  # at once: its end may be found before this loop is left
        except (EOFError, OSError):
            self._revive(self._problem)
        return heard

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._child.process.is_alive()

    def drain(self) -> None:
        """Throw away what it has sent, so that it need not wait to end."""
        try:
            while self._child.link.poll():
                self._child.link.recv()
        except (EOFError, OSError):
            return

    def tell(self, word: object) -> None:
        """Send it a message; lost if it has ended."""
        try:
            self._child.link.send(word)
        except (BrokenPipeError, OSError):
            _log.debug("the %s did not get %r", self._name, word)

    def end(self, patience_s: float = 0.0) -> None:
        """End it, and do not start it again."""
        self._child.end(patience_s)

    def _count_as_working(self) -> None:
        self._failures, self._has_worked = 0, True
        if self._ended_s is not None:
            self.back_s, self._ended_s = time.monotonic() - self._ended_s, None
            self._note(f"the {self._name} is back after {self.back_s:.1f} s")

    def _revive(self, problem: str) -> None:
        self._child.end(_LAST_STEPS_S)
        code = self._child.process.exitcode
        ended_soon = time.monotonic() - self._started_s < _SOON_S
        self._failures += bool(problem) or ended_soon
        fails = self._failures >= _FAILURES
        if fails and not self._has_worked:
            often = f"the {self._name} ended {_FAILURES} times as soon as it began (exit code {code})."
            raise TrainingError(problem or often)
        self.restarts += 1
        self._ended_s = time.monotonic()
        why = problem or f"exit code {code}"
        if fails:
            self._rests_until_s = self._ended_s + _REST_S
            self._note(f"the {self._name} ended ({why}), and is started again in {_REST_S:.0f} s")
            return
        self._note(f"the {self._name} ended ({why}), and is started again")
        self._start()

    def _start(self) -> None:
        self._started_s = time.monotonic()
        self._problem = ""
        self._child: Child = start_child(self._target, self._arguments, self._name)
