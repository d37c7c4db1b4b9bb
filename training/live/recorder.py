"""Everything that is driven becomes episodes, a few minutes each; the drive never waits for the disk."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

from agent.contract.episodes.columns import EpisodeHeader, timed_path
from agent.contract.errors import AgentError
from agent.observers.base import TickRecord
from agent.observers.episode_writer import EpisodeRecorder

_log = logging.getLogger(__name__)

EPISODE_S = 180.0
"""How long an episode of an endless drive is: sealing a longer one would keep the disk busy for longer."""
_AGAIN_NS = 5_000_000_000  # after a file could not be made, as on a full disk


class LiveRecorder:
    """Records a drive in one episode after the other; an observer of the drive.

    Before there are weights, only what the person does is recorded, as ``human``: whatever else happens then is
    nobody's driving. Later, everything is, and the person's rows are marked as interventions.

    The next episode's file is made, and the last one's is sealed, in a thread. Ticks that come while no file is open
    yet are not recorded; :attr:`missed` counts them.

    Args:
        folder: For the episodes.
        header: Of all of them, but for the driver.
        driver: Who drives at present.
        episode_s: How long an episode is.
        blocking: Wait for the disk, and for the next file, instead of leaving out; for a clock that waits.

    Attributes:
        files: The episodes.
        missed: Ticks for which no file was open.
        problem: Why the newest episode could not be recorded; None if nothing is wrong.
    """

    def __init__(
        self,
        folder: Path,
        header: EpisodeHeader,
        driver: Callable[[], str],
        episode_s: float = EPISODE_S,
        blocking: bool = False,
    ) -> None:
        self.files: list[Path] = []
        self.missed = 0
        self.problem: str | None = None
        self._folder = folder
        self._header = header
        self._driver = driver
        self._episode_ns = round(episode_s * 1e9)
        self._blocking = blocking
        self._current: EpisodeRecorder | None = None
        self._name = ""  # of the current driver
        self._began_ns = 0
        self._opening: threading.Thread | None = None
        self._closing: list[threading.Thread] = []
        self._number = 0

    def __enter__(self) -> Self:
        self._begin(self._driver(), 0)
        self._wait()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._wait()
        self._end()
        for thread in self._closing:
            thread.join()

    def on_tick(self, record: TickRecord) -> None:
        """Record a tick."""
        if record.kind != "driven":
            return
        driver, now_ns = kind_of(self._driver()), record.frame.captured_ns
        patience_ns = self._episode_ns if self._current is not None else _AGAIN_NS
        if self._opening is None and (driver != self._name or now_ns - self._began_ns > patience_ns):
            self._end()
            self._begin(driver, now_ns)
        if self._blocking:
            self._wait()
        elif self._opening is not None and not self._opening.is_alive():
            self._opening = None
        if self._opening is not None or self._current is None:
            self.missed += 1
            return
        if driver == "human" and not record.intervention:
            return
        self._began_ns = self._began_ns or now_ns
        self._current.on_tick(record)

    def _begin(self, driver: str, now_ns: int) -> None:
        self._name, self._began_ns = kind_of(driver), now_ns
        self._opening = threading.Thread(target=self._open, name="next episode", daemon=True)
        self._opening.start()

    def _open(self) -> None:
        self._number += 1
        path = timed_path(self._folder, self._header.game, ending=f"{self._number:03d}")
        try:
            recorder = EpisodeRecorder(path, replace(self._header, driver=self._name), blocking=self._blocking)
            self._current = recorder.__enter__()
            self.files.append(path)
            self.problem = None
        except (AgentError, OSError) as exc:
            self.problem = str(exc)
            _log.error("recording: %s", exc)

    def _wait(self) -> None:
        if self._opening is not None:
            self._opening.join()
            self._opening = None

    def _end(self) -> None:
        if self._current is None:
            return
        recorder, self._current = self._current, None
        self._closing = [thread for thread in self._closing if thread.is_alive()]
        self._closing.append(threading.Thread(target=self._close, args=(recorder,), name="last episode"))
        self._closing[-1].start()

    def _close(self, recorder: EpisodeRecorder) -> None:
        try:
            recorder.__exit__(None, None, None)
        except (AgentError, OSError) as exc:
            self.problem = str(exc)
            _log.error("recording: %s", exc)
        with suppress(ValueError):
            if not self.files[self.files.index(recorder.path)].exists():  # nothing was driven in it
                self.files.remove(recorder.path)


def kind_of(driver: str) -> str:
    """Return who drives, whatever the round of the weights: an episode goes on when newer ones take over."""
    name, dash, number = driver.rpartition("-")
    return name if dash and number.isdigit() and driver.startswith("policy:") else driver
