"""A frame is a colour picture in bytes, or it is refused before anything looks at it."""

from typing import Any

import numpy as np
import pytest

from agent.contract.errors import FrameError
from agent.contract.observation import Frame


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1, 4), (2, 5, 3), (720, 1280, 4)])
def test_a_frame_keeps_its_pixels_untouched(shape: tuple[int, ...]) -> None:
    pixels = np.full(shape, 7, np.uint8)
    frame = Frame(pixels, captured_ns=12, index=3)
    assert frame.pixels is pixels
    assert (frame.captured_ns, frame.index) == (12, 3)


@pytest.mark.parametrize(
    "shape", [(4,), (4, 6), (4, 6, 1), (4, 6, 2), (4, 6, 5), (1, 4, 6, 3), (0, 6, 3), (4, 0, 4), (3, 4, 6)]
)
def test_a_frame_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(FrameError, match=r"expected uint8 \(height, width, 3 or 4\)") as raised:
        Frame(np.zeros(shape, np.uint8), captured_ns=0)
    assert f"shape {shape}" in str(raised.value)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, np.float32, np.bool_])
def test_a_frame_that_is_not_bytes_is_refused(dtype: Any) -> None:
    with pytest.raises(FrameError, match=f"dtype {np.dtype(dtype)} "):
        Frame(np.zeros((4, 6, 3), dtype), captured_ns=0)
