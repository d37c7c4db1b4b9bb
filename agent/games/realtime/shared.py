"""The block of memory that the agent and the game's process share."""

from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from typing import get_args

import numpy as np

from agent.contract.controls import AXES
from agent.games.base import Outcome
from agent.games.realtime.ring import Ring

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
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
"""What is published after every tick, in this order; telemetry and figures follow, in the layout's."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What both processes must agree on, known once the game has drawn its first picture.

    Attributes:
        frame_shape: Of every picture.
        telemetry: Names of the state's telemetry, the same for every state of the game.
        figures: Names of its figures, likewise.
    """

    frame_shape: tuple[int, ...]
    telemetry: tuple[str, ...]
    figures: tuple[str, ...]


class SharedRings:
    """The three rings in one block of shared memory.

    Args:
        layout: The game's.
        name: The block to attach to; None creates it.
    """

    def __init__(self, layout: Layout, name: str | None = None) -> None:
        state_shape = (len(NUMBERS) + len(layout.telemetry) + len(layout.figures),)
        at_controls = Ring.size(layout.frame_shape, np.uint8)
        at_state = at_controls + Ring.size(_CONTROLS_SHAPE, np.float64)
        size = at_state + Ring.size(state_shape, np.float64)
        self._memory = SharedMemory(name, create=name is None, size=size)
        buffer = self._memory.buf
        assert buffer is not None, "None only once it is closed"
        self.frames = Ring(buffer, 0, layout.frame_shape, np.uint8)
        self.controls = Ring(buffer, at_controls, _CONTROLS_SHAPE, np.float64)
        self.state = Ring(buffer, at_state, state_shape, np.float64)

    @property
    def name(self) -> str:
        """Key under which the other process attaches."""
        return self._memory.name

    def close(self, unlink: bool) -> None:
        """Let go of the block; ``unlink`` frees it for both."""
        del self.frames, self.controls, self.state  # the block cannot be closed while arrays look into it
        self._memory.close()
        if unlink:
            self._memory.unlink()
