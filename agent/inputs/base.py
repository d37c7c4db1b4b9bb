"""The one interface to a person at the wheel."""

from types import TracebackType
from typing import Protocol, Self

from agent.contract.controls import Controls


class Input(Protocol):
    """What a person wants now; a context manager that owns the device."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def read(self) -> Controls:
        """Return the controls of this moment, clipped; neutral if the device is not there."""

    def unheard(self) -> str | None:
        """Return why the person cannot be heard at present, to be put into a sentence; None while they can be."""
