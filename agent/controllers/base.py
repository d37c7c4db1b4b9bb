"""The interface between the loop and whatever moves the car."""

from types import TracebackType
from typing import Protocol, Self

from agent.contract.controls import Controls

EXPIRY_S = 0.15
"""How long controls hold without new ones. With the time that the guard takes to wake up, they are neutral within
200 ms."""

LONGEST_EXPIRY_S = 0.5
"""The longest time for which controls hold, however slow the loop: at 100 km/h, a car goes 14 m in that time."""

_PERIODS = 1.5  # controls hold for this many control periods, so that a slow loop does not look dead


def expiry_for(period_s: float) -> float:
    """Return how long controls hold, in seconds: 0.15, or one and a half periods of a slow loop, but at most 0.5.

    At less than 2 Hz, the controls are neutral between two decisions.
    """
    return min(LONGEST_EXPIRY_S, max(EXPIRY_S, _PERIODS * period_s))


class Controller(Protocol):
    """Sends controls; a context manager that sets neutral controls on leaving, whatever the reason."""

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
        """Hold a button or key beside the controls until :meth:`release`; it is down by the next :meth:`send`.

        Raises:
            ControllerError: If no button or key has that name.
        """

    def release(self, name: str) -> None:
        """Release a button or key; it is up by the next :meth:`send`."""
