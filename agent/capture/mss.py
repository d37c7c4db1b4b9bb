"""Grabs pixels of a part of the screen with mss."""

from typing import Any

import numpy as np

from agent.capture.desktop import why_no_screen
from agent.contract.errors import CaptureError
from agent.contract.observation import Pixels
from agent.contract.profile import Region


class MssGrabber:
    """Reads the screen through mss: shared memory on X11, GDI on Windows.

    Raises:
        CaptureError: If there is no screen.
    """

    def __init__(self) -> None:
        import mss

        try:
            self._mss: Any = mss.MSS()
            self._monitors = [
                Region(monitor["left"], monitor["top"], monitor["width"], monitor["height"])
                for monitor in self._mss.monitors
            ]
        except Exception as exc:  # from mss, from xcb, or for a missing library
            raise CaptureError(why_no_screen(exc)) from exc

    @property
    def monitors(self) -> list[Region]:
        """The region of all monitors together, then of each one, as they were when the screen was opened."""
        return self._monitors

    def grab(self, region: Region) -> Pixels:
        """Return uint8, shape (height, width, 4), BGRA: a new array.

        Raises:
            CaptureError: If the screen cannot be read.
        """
        area = {"left": region.left, "top": region.top, "width": region.width, "height": region.height}
        try:
            shot = self._mss.grab(area)
        except Exception as exc:
            raise CaptureError(
                f"the screen cannot be read at {region} ({type(exc).__name__}: {exc}), expected a part of the desktop. "
                "Start again; if that does not help, try another --region."
            ) from exc
        return np.frombuffer(shot.raw, np.uint8).reshape(shot.height, shot.width, 4)

    def close(self) -> None:
        """Release the screen."""
        self._mss.close()
