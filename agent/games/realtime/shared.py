"""The block of memory that the agent and the game's process share."""

import secrets
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import BinaryIO, get_args

import numpy as np

from agent.contract.controls import AXES
from agent.contract.locks import claim, claimed
from agent.games.base import Outcome
from agent.games.realtime.ring import Ring

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
_FOLDER = Path("/dev/shm")  # where Linux shows such blocks as files
_PREFIX = "hoodcam-"
_YOUNG_S = 60.0  # one that has just been made may not have been claimed yet
_CONTROLS_SHAPE = (len(AXES) + 1,)  # every axis in the order of the table, and how long they hold
NUMBERS = (
    "time_s",
    "episode_return",
    "progress",
    "outcome",
    "speed",
    "in_control",
    "ticks_late",
    "processor_s",
    "expired",
)
"""The numbers published after every tick, in this order; telemetry and figures follow, in the layout's order."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The facts that both processes must agree on; known once the game has drawn its first picture.

    Attributes:
        frame_shape: Shape of every picture.
        telemetry: Names of the state's telemetry, the same for every state of the game.
        figures: Names of the state's figures, the same for every state of the game.
    """

    frame_shape: tuple[int, ...]
    telemetry: tuple[str, ...]
    figures: tuple[str, ...]


class SharedRings:
    """The three rings in one block of shared memory.

    Whoever creates one frees those first that nobody was left to free: both processes and Python's own resource
    tracker were killed at once. They are told by a claim on the block's file, which ends with the process.

    Args:
        layout: The game's layout.
        name: The block to attach to; None creates it.
    """

    def __init__(self, layout: Layout, name: str | None = None) -> None:
        state_shape = (len(NUMBERS) + len(layout.telemetry) + len(layout.figures),)
        at_controls = Ring.size(layout.frame_shape, np.uint8)
        at_state = at_controls + Ring.size(_CONTROLS_SHAPE, np.float64)
        size = at_state + Ring.size(state_shape, np.float64)
        self._claim: BinaryIO | None = None
        if name is None:
            if sys.platform == "linux":
                _free_what_was_left()
            self._memory = SharedMemory(_PREFIX + secrets.token_hex(8), create=True, size=size)
            if sys.platform == "linux":
                self._claim = open(_FOLDER / self._memory.name, "rb")  # noqa: SIM115  (closed with the block)
                claim(self._claim)
        else:
            self._memory = SharedMemory(name, size=size)
        buffer = self._memory.buf
        assert buffer is not None, "None only once it is closed"
        self.frames = Ring(buffer, 0, layout.frame_shape, np.uint8)
        self.controls = Ring(buffer, at_controls, _CONTROLS_SHAPE, np.float64)
        self.state = Ring(buffer, at_state, state_shape, np.float64)

    @property
    def name(self) -> str:
        """The name by which the other process attaches."""
        return self._memory.name

    def close(self, unlink: bool) -> None:
        """Close the block; ``unlink`` frees it for both processes."""
        del self.frames, self.controls, self.state  # the block cannot be closed while arrays use it
        self._memory.close()
        if self._claim is not None:
            self._claim.close()
        if unlink:
            self._memory.unlink()


def _free_what_was_left() -> None:
    for path in _FOLDER.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, or freed meanwhile
            if time.time() - path.stat().st_mtime < _YOUNG_S:
                continue
            with claimed(path) as is_nobodys:
                if is_nobodys:
                    path.unlink()
