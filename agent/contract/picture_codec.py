"""How pictures are compressed, in episodes and in model folders: only as plain PNG.

No picture may unpack to more than a screen.

The bytes are checked before OpenCV gets them. Its PNG reader (5.0.0) trusts the length that a chunk states: one flipped
byte there took 4.2 GB and 12 s. OpenCV's readers for other formats never see the bytes.
"""

import zlib

import cv2
import numpy as np

from agent.contract.errors import FrameError
from agent.contract.observation import Frame, Pixels

MAX_PIXELS = 7680 * 4320
"""The largest picture that is decoded: an 8K screen, 100 MB unpacked. As PNG it can be 1000 times smaller."""

_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"  # the signature, and a header of 13 bytes
_FIRST_CHUNK = 8
_CHUNKS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")  # the chunks that a still picture needs: no animation, no tags


def decode_picture(data: bytes) -> Pixels:
    """Decode a PNG; refuse one that is incomplete or too large.

    Returns:
        uint8, shape (height, width, 3), BGR; a new array.

    Raises:
        FrameError: If it is not a PNG, empty, larger than ``MAX_PIXELS``, or damaged.
    """
    _check_chunks(data)
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (len(_START), len(_START) + 4))
    if not 0 < width * height <= MAX_PIXELS:
        raise _damaged(f"it says that it has {width} x {height} px, expected {MAX_PIXELS} in all at most")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as exc:
        raise _damaged(f"OpenCV cannot decode it ({exc.err})") from exc
    if pixels is None or pixels.shape != (height, width, 3):
        raise _damaged("its pixels are incomplete")
    return np.asarray(pixels, np.uint8)


def _check_chunks(data: bytes) -> None:
    """Refuse bytes that are not a still PNG made of whole chunks, from the first byte to the last."""
    if not data.startswith(_START):
        raise _damaged("it is not a PNG")
    name, position = b"", _FIRST_CHUNK
    while name != b"IEND":
        end = position + 8 + int.from_bytes(data[position : position + 4], "big")  # the end of the chunk's content
        name, checksum = data[position + 4 : position + 8], data[end : end + 4]
        if checksum != zlib.crc32(memoryview(data)[position + 4 : end]).to_bytes(4, "big"):
            raise _damaged(f"its chunk {name!r} is cut short or does not match its checksum")
        if name not in _CHUNKS:
            raise _damaged(f"it has a chunk {name!r}, expected those of a still picture alone")
        position = end + 4
    if position != len(data):
        raise _damaged(f"{len(data) - position} bytes follow its end")


def _damaged(found: str) -> FrameError:
    return FrameError(f"a picture cannot be decoded: {found}. Restore the file that it is in.")


_PNG_SETTINGS = (
    cv2.IMWRITE_PNG_COMPRESSION,
    3,
    cv2.IMWRITE_PNG_STRATEGY,
    cv2.IMWRITE_PNG_STRATEGY_DEFAULT,
    cv2.IMWRITE_PNG_FILTER,
    cv2.IMWRITE_PNG_FILTER_NONE,
)


def encode_picture(frame: Frame) -> bytes:
    pixels = frame.pixels if frame.pixels.shape[2] == 3 else cv2.cvtColor(frame.pixels, cv2.COLOR_BGRA2BGR)
    _, encoded = cv2.imencode(".png", pixels, _PNG_SETTINGS)
    return encoded.tobytes()
