"""The exact picture the network gets, as a file to look at."""

from pathlib import Path
from types import TracebackType
from typing import Self

import cv2

from agent.contract.durable import replace_file
from agent.contract.errors import AgentError
from agent.observers.base import TickRecord
from agent.system.files import claim_file

_PERIOD_NS = 1_000_000_000


class ShowInput:
    """Writes what the network sees as a PNG at the first tick and again about once a second, always a whole file.

    Of ticks whose decision was sent, so that it shows what the car drives by.

    Args:
        path: Where to; overwritten.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written_at_ns: int | None = None

    def __enter__(self) -> Self:
        claim_file(self._path)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def on_tick(self, record: TickRecord) -> None:
        if record.kind != "driven":
            return
        captured_ns = record.frame.captured_ns
        if self._written_at_ns is not None and captured_ns - self._written_at_ns < _PERIOD_NS:
            return
        _, png = cv2.imencode(".png", cv2.cvtColor(record.observation, cv2.COLOR_RGB2BGR))
        try:
            # A viewer sees the old picture or the new one, never half of one.
            replace_file(self._path, png.tobytes(), sync=False)
        except OSError as exc:
            raise AgentError(
                f"{self._path} cannot be written ({exc.strerror or exc}). Free some space, or pass another path with "
                "--show-input."
            ) from exc
        self._written_at_ns = captured_ns
