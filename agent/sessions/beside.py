"""A drive in a process of its own, beside a game that this process has started and watches.

The child loads the network, waits for the word to begin, drives, and sends how it went. It ends as after Ctrl-C when it
is told to, or when this process has ended: the film and the recording are finished, and the keys are let go of.
"""

import logging
import os
import signal
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Self

from agent.contract.errors import AgentError, GameError
from agent.games.registry import find_game
from agent.sessions.opening import Note
from agent.settings.drive import DriveSettings
from agent.system.child import start_child
from agent.system.priority import own_session

_END_S = 60.0  # finishing a film takes a while
_BEGIN, _END = "begin", "end"
_READY, _NOTE, _DRIVEN, _FAILED = "ready", "note", "driven", "failed"


class DriveBeside:
    """Drives a game in a window from a process of its own.

    Args:
        settings: What to drive.
        note: Called with the drive's notes, one line at a time, from the thread that waits here.
    """

    def __init__(self, settings: DriveSettings, note: Note) -> None:
        self._note = note
        self._report: dict[str, Any] | None = None
        self._child = start_child(_drive, (settings,), "drive", may_start_others=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, after the drive's files are finished; may be called twice."""
        with suppress(OSError):
            self._child.link.send(_END)
        self._child.end(_END_S)

    def wait_until_ready(self) -> None:
        """Wait until the network is loaded.

        Raises:
            AgentError: If it cannot be loaded.
        """
        while self._hear()[0] != _READY:
            pass

    def begin(self) -> None:
        """Let it drive."""
        with suppress(OSError):  # it has ended, which is noticed below
            self._child.link.send(_BEGIN)

    def is_running(self, wait_s: float) -> bool:
        """Wait for up to some seconds, and return whether it still drives.

        Raises:
            AgentError: If the drive could not begin, or its process was ended from outside.
        """
        if self._report is None and self._child.link.poll(wait_s):
            self._hear()
        return self._report is None

    def end(self) -> dict[str, Any]:
        """End the drive unless it has ended, and return how it went: ``WindowDrive.to_dict()``.

        Raises:
            AgentError: If the drive could not begin, or its process was ended from outside.
        """
        with suppress(OSError):
            self._child.link.send(_END)
        while self._report is None:
            self._hear()
        return self._report

    def _hear(self) -> tuple[str, Any]:
        try:
            kind, said = self._child.link.recv()
        except (EOFError, OSError):
            self._child.process.join(_END_S)
            raise GameError(
                f"the drive said nothing (exit code {self._child.process.exitcode}), expected what it drove. Something "
                "ended it from outside: look whether memory ran out."
            ) from None
        if kind == _FAILED:
            raise said
        if kind == _NOTE:
            self._note(said)
        elif kind == _DRIVEN:
            self._report = said
        return kind, said


class _Teller(logging.Handler):
    """The child's end of the pipe; sends notes and warnings, from any thread."""

    def __init__(self, link: "Connection[Any, Any]") -> None:
        super().__init__(logging.WARNING)
        self._link = link
        self._sending = threading.Lock()

    def tell(self, kind: str, said: Any = None) -> None:
        with self._sending, suppress(OSError):  # nobody listens any more
            self._link.send((kind, said))

    def note(self, line: str) -> None:
        self.tell(_NOTE, line)

    def emit(self, record: logging.LogRecord) -> None:
        self.note(record.getMessage())


def _drive(link: "Connection[Any, Any]", settings: DriveSettings) -> None:
    """Load the network, wait for the word, and drive; the child's process."""
    own_session()  # its share of the processor is not the desktop's
    teller = _Teller(link)
    logging.getLogger("agent").addHandler(teller)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it was started with Ctrl-C ignored
    begun = threading.Event()
    threading.Thread(target=_obey, args=(link, begun), daemon=True).start()
    try:
        from agent.observers.status import StatusLine
        from agent.sessions.opening import open_policy
        from agent.sessions.window_drive import drive_window

        profile = find_game(settings.game).profile
        open_policy(settings, profile.model_name, teller.note, profile.axes).close()
        teller.tell(_READY)
        begun.wait()
        driven = drive_window(settings, teller.note, lambda stats: [StatusLine(stats)])
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        teller.tell(_DRIVEN, driven.to_dict())
    except AgentError as exc:
        teller.tell(_FAILED, exc)
    except KeyboardInterrupt:
        teller.tell(_FAILED, GameError("the drive was ended before it began, expected it to drive. Start again."))


def _obey(link: "Connection[Any, Any]", begun: threading.Event) -> None:
    """Do what the other process says; at its end, or at the word, interrupt the main thread."""
    with suppress(EOFError, OSError):
        while link.recv() != _END:
            begun.set()
    os.kill(os.getpid(), signal.SIGINT)
