"""The one interface between the loop and whatever moves the car."""

from types import TracebackType
from typing import Protocol, Self

from agent.contract.controls import Controls

EXPIRY_S = 0.15
"""How long controls hold without new ones, at most: with the holder's own waking up, that is neutral within 200 ms."""

LONGEST_EXPIRY_S = 0.5
"""How long controls hold at most, however slow the loop: at 100 km/h a car goes 14 m in that time."""

_PERIODS = 1.5  # a slow loop must not be taken for a dead one: controls hold for this many control periods


def expiry_for(period_s: float) -> float:
    """Return how long controls hold, in seconds: 0.15; one and a half periods of a slow loop, 0.5 at most.

    At less than 2 Hz the controls are neutral between two decisions.
    """
    return min(LONGEST_EXPIRY_S, max(EXPIRY_S, _PERIODS * period_s))


class Controller(Protocol):
    """Sends controls; a context manager that leaves the car neutral, whatever the reason for leaving."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def send(self, controls: Controls) -> None:
        """Apply clipped, arbitrated controls until the next call.

        Raises:
            ControllerError: If they cannot reach the game.
        """


class ButtonController(Controller, Protocol):
    """A controller that has buttons or keys beside the controls."""

    def hold(self, name: str) -> None:
        """Hold a button or key beside the controls, from the next :meth:`send` at the latest, until :meth:`release`.

        Raises:
            ControllerError: If there is none of that name.
        """

    def release(self, name: str) -> None:
        """Let go of it, with the next :meth:`send` at the latest."""
