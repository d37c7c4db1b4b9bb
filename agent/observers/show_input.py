"""Writes the network's exact input to a file."""

from pathlib import Path
from typing import Self

import cv2
import numpy as np

from agent.contract.durable import replace_file
from agent.contract.errors import AgentError
from agent.contract.observation import Observation
from agent.observers.base import TickRecord
from agent.system.files import claim_file

_PERIOD_NS = 1_000_000_000


class ShowInput:
    """Writes the network's input as a PNG at the first tick and then about once a second, always as a whole file.

    If the network sees several pictures, the oldest is on the left. Only ticks whose decision was sent are shown, so
    the file shows the pictures that the car drives by.

    Args:
        path: The file to write; overwritten.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written_at_ns: int | None = None

    def __enter__(self) -> Self:
        claim_file(self._path)
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def on_tick(self, record: TickRecord) -> None:
        if record.kind != "driven":
            return
        captured_ns = record.frame.captured_ns
        if self._written_at_ns is not None and captured_ns - self._written_at_ns < _PERIOD_NS:
            return
        _, png = cv2.imencode(".png", cv2.cvtColor(_side_by_side(record.observation), cv2.COLOR_RGB2BGR))
        try:
            # So a viewer sees the old picture or the new one, never a half-written one.
            replace_file(self._path, png.tobytes(), sync=False)
        except OSError as exc:
            raise AgentError(
                f"{self._path} cannot be written ({exc.strerror or exc}). Free some space, or pass another path with "
                "--show-input."
            ) from exc
        self._written_at_ns = captured_ns


def _side_by_side(observation: Observation) -> Observation:
    """Return an observation of any number of pictures as one: uint8, shape (height, pictures * width, 3), RGB."""
    height, width, channels = observation.shape
    pictures = observation.reshape(height, width, channels // 3, 3)
    return np.ascontiguousarray(pictures.transpose(0, 2, 1, 3)).reshape(height, -1, 3)
