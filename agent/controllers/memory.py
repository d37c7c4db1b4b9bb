"""A controller that only remembers: for a dry run and for tests."""

from collections import deque
from typing import Self

from agent.contract.controls import NEUTRAL, Controls


class MemoryController:
    """Keeps what it was sent, newest last.

    Args:
        remembered: How many commands to keep.

    Attributes:
        sent: The newest commands, the closing neutral one included.
        current: The controls that a car would have now.
    """

    def __init__(self, remembered: int = 10_000) -> None:
        self.sent: deque[Controls] = deque(maxlen=remembered)
        self.current = NEUTRAL

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.send(NEUTRAL)

    def send(self, controls: Controls) -> None:
        self.current = controls
        self.sent.append(controls)
