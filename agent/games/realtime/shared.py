"""The block of memory that the agent and the game's process share."""

from dataclasses import dataclass
from typing import get_args

import numpy as np

from agent.contract.controls import AXES
from agent.games.base import Outcome
from agent.system.ring import Ring
from agent.system.shared_block import SharedBlock

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

    Args:
        layout: The game's layout.
        name: The block to attach to; None creates it.
    """

    def __init__(self, layout: Layout, name: str | None = None) -> None:
        state_shape = (len(NUMBERS) + len(layout.telemetry) + len(layout.figures),)
        at_controls = Ring.size(layout.frame_shape, np.uint8)
        at_state = at_controls + Ring.size(_CONTROLS_SHAPE, np.float64)
        self._block = SharedBlock(at_state + Ring.size(state_shape, np.float64), name)
        buffer = self._block.buffer
        self.frames = Ring(buffer, 0, layout.frame_shape, np.uint8)
        self.controls = Ring(buffer, at_controls, _CONTROLS_SHAPE, np.float64)
        self.state = Ring(buffer, at_state, state_shape, np.float64)

    @property
    def name(self) -> str:
        """The name by which the other process attaches."""
        return self._block.name

    def close(self, unlink: bool) -> None:
        """Close the block; ``unlink`` frees it for both processes."""
        del self.frames, self.controls, self.state  # the block cannot be closed while arrays use it
        self._block.close(unlink)
