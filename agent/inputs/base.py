"""The interface to a device that a person drives with."""

from types import TracebackType
from typing import Protocol, Self

from agent.contract.controls import Controls


class InputDevice(Protocol):
    """Reads a person's controls; a context manager that owns the device."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def read(self) -> Controls:
        """Return the controls of this moment, clipped; neutral if the device is not there."""

    def unheard(self) -> str | None:
        """Return why the device cannot be read now, as a phrase that fits into a sentence; None if it can."""
