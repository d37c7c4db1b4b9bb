"""The one interface between the loop and whatever moves the car."""

from types import TracebackType
from typing import Protocol, Self

from agent.contract.controls import Controls


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
