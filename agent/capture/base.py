"""The interface between the loop and whatever delivers frames.

To add a grabber, write a module beside ``mss.py``, and add its name to ``registry.py``.
"""

from types import TracebackType
from typing import Protocol, Self

from agent.contract.observation import Frame, Pixels
from agent.contract.profile import Region


class FrameSource(Protocol):
    """Delivers the newest frame; a context manager that owns its capture resources."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def read(self) -> Frame:
        """Return the newest frame; the same index twice means that no new one has come.

        Raises:
            CaptureError: If there is no frame.
        """


class Grabber(Protocol):
    """Reads pixels off the screen."""

    @property
    def monitors(self) -> list[Region]:
        """The region of all monitors together, then of each one."""

    def grab(self, region: Region) -> Pixels:
        """Return uint8, shape (height, width, 4), BGRA: a new array.

        Raises:
            CaptureError: If the screen cannot be read.
        """

    def close(self) -> None:
        """Release the screen."""
