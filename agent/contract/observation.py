"""The picture as captured (Frame) and as the network sees it (Observation)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agent.contract.errors import FrameError

Pixels = npt.NDArray[np.uint8]
"""uint8, shape (height_px, width_px, 3) BGR or (height_px, width_px, 4) BGRA, OpenCV's and mss' order."""

Observation = npt.NDArray[np.uint8]
"""uint8, shape spec.observation_shape: (height_px, width_px, 3), RGB. A network that sees several pictures has three
channels for each, the oldest first. The network's first layer scales to [-1, 1]: bytes are a quarter of the traffic of
floats, and no second place can scale differently."""


def newest_picture(observation: Observation) -> Observation:
    """Return the newest picture of an observation: uint8, shape (height_px, width_px, 3), RGB; a view."""
    return observation[..., -3:]


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured picture, untouched.

    Attributes:
        pixels: uint8, shape (height, width, 3 or 4), BGR or BGRA.
        captured_ns: Monotonic time of the capture (``agent.system.pacing.clock_ns``) in nanoseconds; on a virtual
            clock, the virtual time.
        index: Running number given by the source; a gap means that frames were missed, a repeat that it is not new.

    Raises:
        FrameError: If the pixels are not a non-empty uint8 image with three or four channels.
    """

    pixels: Pixels
    captured_ns: int
    index: int = 0

    def __post_init__(self) -> None:
        pixels = self.pixels
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or 0 in pixels.shape:
            raise FrameError(
                f"a frame has dtype {pixels.dtype} and shape {pixels.shape}, expected uint8 (height, width, 3 or 4). "
                "The frame source must deliver BGR or BGRA bytes."
            )
