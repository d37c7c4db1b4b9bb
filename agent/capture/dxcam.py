"""Grabs pixels of a Windows screen with DXcam, through Desktop Duplication: from the graphics card, without GDI.

Written against DXcam 0.3's interface and tested with a stand-in for it: nobody has seen it at work with Hoodcam yet.
"""

from typing import Any

import numpy as np

from agent.contract.errors import CaptureError
from agent.contract.observation import Pixels
from agent.contract.profile import Region


class DxcamGrabber:
    """Reads the primary monitor of the first graphics card; what lies on another monitor cannot be read.

    Raises:
        CaptureError: If DXcam is missing, or there is no such monitor.
    """

    def __init__(self) -> None:
        try:
            import dxcam
        except ImportError as exc:
            raise CaptureError(
                f"the grabber dxcam cannot be imported ({exc}), expected Windows and the package dxcam: "
                "`pip install '.[windows]'`. Or leave it out: mss reads the screen, too."
            ) from exc
        try:
            self._camera: Any = dxcam.create(output_color="BGRA")
            self._monitor = Region(0, 0, self._camera.width, self._camera.height)
        except Exception as exc:  # COM's own, or the library's
            raise CaptureError(
                f"the grabber dxcam cannot be opened ({type(exc).__name__}: {exc}), expected a monitor on the first "
                "graphics card, and no remote session. Use mss."
            ) from exc
        self._last: dict[Region, Pixels] = {}

    @property
    def monitors(self) -> list[Region]:
        """The region of all monitors together, then of each one: there is one, the primary."""
        return [self._monitor, self._monitor]

    def grab(self, region: Region) -> Pixels:
        """Return uint8, shape (height, width, 4), BGRA: a new array.

        Where the screen has not changed since the last call, the same picture again.

        Raises:
            CaptureError: If the region is not on the primary monitor, or the screen cannot be read.
        """
        right, bottom = region.left + region.width, region.top + region.height
        monitor = self._monitor
        if region.left < 0 or region.top < 0 or right > monitor.width or bottom > monitor.height:
            raise CaptureError(
                f"{region} is not on the primary monitor of {monitor.width} x {monitor.height} px, expected the game "
                "there. Move it, or use --grabber mss."
            )
        try:
            found = self._camera.grab(region=(region.left, region.top, right, bottom), new_frame_only=False)
        except Exception as exc:
            raise CaptureError(
                f"the screen cannot be read at {region} ({type(exc).__name__}: {exc}), expected the desktop to be "
                "unlocked. Start again, or use --grabber mss."
            ) from exc
        if found is None:  # nothing has been shown since it was opened
            found = self._last.get(region, np.zeros((region.height, region.width, 4), np.uint8))
        pixels = np.array(found, np.uint8)
        if pixels.shape != (region.height, region.width, 4):
            raise CaptureError(
                f"DXcam gave a picture of shape {pixels.shape} for {region}, expected BGRA of that size. Update dxcam, "
                "or use --grabber mss."
            )
        self._last = {region: pixels}
        return pixels.copy()

    def close(self) -> None:
        """Release the screen."""
        self._camera.release()
