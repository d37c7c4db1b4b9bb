"""Pictures are refused by what their header says, before anything is unpacked."""

import struct
import subprocess
import sys
import time
import zlib

import cv2
import numpy as np
import pytest

from agent.contract.errors import FrameError
from agent.contract.picture_codec import MAX_PIXELS, decode_picture

PIXELS = np.random.default_rng(1).integers(0, 256, (6, 9, 3), np.uint8)


def encode(suffix: str, pixels: np.ndarray = PIXELS) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, *chunks: bytes, rows: bytes = b"") -> bytes:
    """A PNG whose header says this size, whatever it holds."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_a_png_is_decoded() -> None:
    np.testing.assert_array_equal(decode_picture(encode(".png")), PIXELS)


@pytest.mark.parametrize(
    "pixels", [PIXELS[..., 0], np.dstack([PIXELS, PIXELS[..., :1]]), PIXELS.astype(np.uint16) * 257]
)
def test_other_depths_become_three_channels_of_bytes(pixels: np.ndarray) -> None:
    decoded = decode_picture(encode(".png", pixels))
    assert (decoded.shape, decoded.dtype) == ((6, 9, 3), np.uint8)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp", ".tiff", ".gif", ".ppm", ".avif", ".hdr", ".sr"])
def test_no_other_decoder_is_let_near_the_bytes(suffix: str) -> None:
    try:
        data = encode(suffix)
    except cv2.error:
        data = b"what this OpenCV does not write"
    with pytest.raises(FrameError, match="it is not a PNG"):
        decode_picture(data)


@pytest.mark.parametrize(
    ("width", "height"),
    [(60_000, 60_000), (2**31 - 1, 1), (1, 2**31 - 1), (7680, 4321), (0, 5), (5, 0), (2**32 - 1,) * 2],
)
def test_a_picture_larger_than_a_screen_is_refused_by_its_header(width: int, height: int) -> None:
    with pytest.raises(FrameError, match=f"says that it has {width} x {height} px"):
        decode_picture(png(width, height))


@pytest.mark.skipif(sys.platform == "win32", reason="reads what getrusage tells")
def test_a_bomb_takes_no_memory() -> None:
    probe = (
        "import resource, sys\n"
        "from agent.contract.errors import FrameError\n"
        "from agent.contract.picture_codec import decode_picture\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: decode_picture(sys.stdin.buffer.read())\n"
        "except FrameError: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    bomb = png(30_000, 30_000, rows=bytes(90_001 * 1000))  # OpenCV's own limit is 2^30 pixels
    done = subprocess.run([sys.executable, "-c", probe], input=bomb, capture_output=True, timeout=60)
    assert int(done.stdout) < 20_000, f"{int(done.stdout)} KB more"  # the kernel counts in KB


def test_a_picture_as_large_as_a_screen_is_decoded() -> None:
    assert MAX_PIXELS >= 7680 * 4320
    white = np.full((4320, 7680, 3), 255, np.uint8)
    assert decode_picture(encode(".png", white)).shape == (4320, 7680, 3)


def test_a_length_that_is_not_there_takes_neither_time_nor_memory() -> None:
    whole = bytearray(encode(".png"))
    whole[33] = 0xFF  # the first byte of the length of IDAT: 4 GB
    started = time.process_time()
    with pytest.raises(FrameError, match="its chunk b'IDAT' is cut short"):
        decode_picture(bytes(whole))
    assert time.process_time() - started < 0.1


def test_every_bit_that_is_flipped_and_every_byte_that_is_missing_is_noticed() -> None:
    whole = encode(".png")
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FrameError):
            decode_picture(bytes(damaged))
    for size in range(len(whole)):
        with pytest.raises(FrameError):
            decode_picture(whole[:size])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not a PNG"),
        (png(9, 6, chunk(b"acTL", bytes(8))), "has a chunk b'acTL'"),
        (png(9, 6, chunk(b"eXIf", bytes(8))), "has a chunk b'eXIf'"),
        (png(9, 6, chunk(b"\x1b[2J", b"")), r"has a chunk b'\\x1b\[2J'"),
        (encode(".png") + b"more", "4 bytes follow its end"),
        (png(9, 6), "incomplete"),
        (png(9, 6, rows=bytes(28 * 5)), "incomplete"),
        (png(9, 6, rows=b"\x09" * 28 * 6), "incomplete"),
        (png(9, 6, chunk(b"IHDR", bytes(13)), rows=bytes(28 * 6)), "incomplete"),
    ],
)
def test_what_is_no_whole_still_picture_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(FrameError, match=message) as raised:
        decode_picture(data)
    assert str(raised.value).isprintable()
