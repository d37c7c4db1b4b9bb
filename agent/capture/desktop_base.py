"""The interface to a desktop: its windows, where they are, and the state of each."""

from dataclasses import dataclass
from typing import Protocol

from agent.contract.profile import Region


@dataclass(frozen=True, slots=True)
class Window:
    """A window as it was when it was listed.

    Attributes:
        handle: The system's number for it.
        title: Its title.
        region: Its inside, in desktop pixels.
        process: The number of the process that made it; 0 where that is not known.
    """

    handle: int
    title: str
    region: Region
    process: int = 0


@dataclass(frozen=True, slots=True)
class WindowState:
    """The present state of a window.

    Attributes:
        region: Its inside, in desktop pixels.
        minimised: Whether it is hidden, so that its pixels are not on the screen.
        focused: Whether keys go to it; None without a window manager, because nothing keeps track of the focus.
    """

    region: Region
    minimised: bool
    focused: bool | None


class Desktop(Protocol):
    """The windows of the session that this process belongs to."""

    def windows(self) -> list[Window]:
        """Return every window with a title that is or can be on the screen.

        Raises:
            CaptureError: If the session has ended.
        """

    def look(self, handle: int) -> WindowState | None:
        """Return the present state of a window, or None if it is gone.

        Raises:
            CaptureError: If the session has ended.
        """

    def covering(self, handle: int) -> list[Window]:
        """Return the windows that lie on top of a window and hide a part of it; none if the system does not say.

        Raises:
            CaptureError: If the session has ended.
        """

    def close(self) -> None:
        """Close the connection to the session."""


def overlap(first: Region, second: Region) -> bool:
    """Return whether two regions share a pixel."""
    across = first.left < second.left + second.width and second.left < first.left + first.width
    return across and first.top < second.top + second.height and second.top < first.top + first.height
