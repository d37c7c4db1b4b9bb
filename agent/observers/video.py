"""A video of the drive with the controls drawn below the picture."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from agent.contract.controls import AXIS_BY_NAME, AXIS_NAMES, STANDARD_AXES, Controls
from agent.contract.errors import AgentError
from agent.contract.observation import Pixels
from agent.observers.base import TickRecord
from agent.system.files import claim_file

VIDEO_SUFFIXES = (".mp4", ".webp", ".gif")

ANIMATION_FRAMES = 625
"""The most pictures of an animation, which is held in memory until it is written: 400 MB at half size. A lap of 20 s
at 30 Hz fits."""

_PANEL_HEIGHT_PX = 40
_LEAST_WIDTH_PX = 320  # narrower pictures show too little
_TEXT_SCALE = 0.4
_BACKGROUND = (32, 32, 32)
_TRACK = (72, 72, 72)
_TEXT = (220, 220, 220)
_COLOURS = ((230, 170, 60), (90, 190, 90), (70, 70, 220), (60, 200, 230), (200, 110, 190))
"""Colours of the axes in the order of their table, repeated as needed; BGR, like all colours here."""


class FilmFile:
    """A film file to which pictures are added one by one.

    An ``.mp4`` (MPEG-4 part 2, which every OpenCV build can write) may have any length. A ``.webp`` or ``.gif`` is an
    animation and ends after 625 pictures. The file appears under its name when it is complete, however its block ends.

    Args:
        path: The file to write; overwritten. The suffix decides the format.
        rate_hz: Pictures per second.

    Raises:
        ValueError: If the suffix is not in ``VIDEO_SUFFIXES``, or the rate is not positive.
    """

    def __init__(self, path: Path, rate_hz: float) -> None:
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            raise ValueError(f"{path.name} cannot be written as a video, expected a name ending in .mp4, .webp or .gif")
        if not rate_hz > 0:
            raise ValueError(f"a video at {rate_hz} Hz is impossible, expected a positive number")
        self._path = path
        self._partial = path.with_name(f".{path.stem}.partial{path.suffix.lower()}")
        self._rate_hz = rate_hz
        self._shape: tuple[int, ...] | None = None  # height and width of the first picture
        self._stream: cv2.VideoWriter | None = None
        self._written = 0  # pictures given to the stream
        self._pictures: list[Pixels] = []

    def __enter__(self) -> Self:
        claim_file(self._path)
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            if self._stream is not None:
                self._stream.release()
                self._check_stream()
                os.replace(self._partial, self._path)
            elif self._pictures:
                self._partial.write_bytes(self._animation())
                os.replace(self._partial, self._path)
        except OSError as problem:
            raise self._cannot_write(problem.strerror or str(problem)) from problem
        finally:
            self._stream = None
            self._pictures = []
            self._partial.unlink(missing_ok=True)

    def write(self, picture: Pixels) -> None:
        """Add a picture: uint8, shape (even height, even width, 3), BGR.

        A picture whose size differs from the first one's, as after a change of a window's size, is fitted into the
        first one's size, with black borders.

        Raises:
            AgentError: If it cannot be written, or an animated picture is full.
        """
        if self._shape is None:
            self._shape = picture.shape[:2]
        picture = _fit(picture, self._shape)
        if self._path.suffix.lower() == ".mp4":
            if self._stream is None:
                self._stream = self._open_stream(picture)
            if self._stream.write(picture) is False:  # OpenCV before 5 never reports it: see _check_stream
                raise self._cannot_write("OpenCV failed to write a picture")
            self._written += 1
        elif len(self._pictures) < ANIMATION_FRAMES:
            self._pictures.append(picture)
        else:
            raise AgentError(
                f"{self._path.name} ends after {ANIMATION_FRAMES} pictures, the limit of an animated picture. "
                "Record longer drives as .mp4."
            )

    def _open_stream(self, picture: Pixels) -> cv2.VideoWriter:
        height, width = picture.shape[:2]
        codec = cv2.VideoWriter.fourcc(*"mp4v")
        stream = cv2.VideoWriter(str(self._partial), codec, self._rate_hz, (width, height))
        if not stream.isOpened():
            raise AgentError(
                f"OpenCV {cv2.__version__} cannot write {self._path.name}, expected a build with FFmpeg. "
                "Install opencv-python-headless from PyPI, or record a .webp."
            )
        return stream

    def _check_stream(self) -> None:
        """Read the film's own count of its pictures: on a full disk, OpenCV finishes a film without an error."""
        film = cv2.VideoCapture(str(self._partial))
        readable = round(film.get(cv2.CAP_PROP_FRAME_COUNT)) if film.isOpened() else 0
        film.release()
        if readable != self._written:
            raise self._cannot_write(f"{readable} of {self._written} pictures can be read back")

    def _cannot_write(self, reason: str) -> AgentError:
        return AgentError(
            f"{self._path} cannot be written ({reason}), as when a disk runs full. Free some space, or film a shorter "
            "drive."
        )

    def _animation(self) -> bytes:
        animation = cv2.Animation()
        animation.frames = self._pictures
        animation.durations = [round(1000 / self._rate_hz)] * len(self._pictures)
        # Into memory: if OpenCV writes a GIF to a full disk, it reports success although the file is incomplete.
        encoded, data = cv2.imencodeanimation(self._path.suffix.lower(), animation)
        if not encoded:
            raise AgentError(f"OpenCV {cv2.__version__} cannot write {self._path.name}. Record an .mp4 instead.")
        return data.tobytes()


def _fit(picture: Pixels, shape: tuple[int, ...]) -> Pixels:
    """Return a picture of that height and width, with the whole given picture in its middle."""
    if picture.shape[:2] == shape:
        return picture
    height, width = shape
    scale = min(height / picture.shape[0], width / picture.shape[1])
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    fitted = np.zeros((height, width, 3), np.uint8)
    top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    fitted[top : top + small.shape[0], left : left + small.shape[1]] = small
    return fitted


class VideoWriter(FilmFile):
    """Films every frame whose decision was sent, with the controls below it; blind and late ticks are left out.

    Args:
        path: The file to write, see ``FilmFile``.
        rate_hz: Ticks per second, so that the video plays at the speed of the drive.
        scale: Size of the picture relative to the frame; raised, up to 1, if the picture would be narrower than 320 px.
        axes: The axes of the game's car: each has a bar.

    Raises:
        ValueError: As ``FilmFile``, or if the scale is not positive.
    """

    def __init__(self, path: Path, rate_hz: float, scale: float = 0.5, axes: Sequence[str] = STANDARD_AXES) -> None:
        super().__init__(path, rate_hz)
        if not scale > 0:
            raise ValueError(f"a video at scale {scale} is impossible, expected a positive number")
        self._scale = scale
        self._axes = tuple(axes)

    def on_tick(self, record: TickRecord) -> None:
        if record.kind != "driven":
            return
        pixels = record.frame.pixels
        scale = max(self._scale, min(1.0, _LEAST_WIDTH_PX / pixels.shape[1]))
        self.write(compose(pixels, record.controls, scale, self._axes))


def compose(pixels: Pixels, controls: Controls, scale: float, axes: Sequence[str] = STANDARD_AXES) -> Pixels:
    """Return a scaled picture with a bar for each axis below it.

    Args:
        pixels: BGR or BGRA.
        controls: The controls sent.
        scale: Size of the picture relative to the frame.
        axes: The axes that have bars.

    Returns:
        uint8, shape (even height, even width, 3), BGR; video codecs want even sizes.
    """
    height, width = (max(2, 2 * round(side * scale / 2)) for side in pixels.shape[:2])
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    if small.shape[2] == 4:
        small = cv2.cvtColor(small, cv2.COLOR_BGRA2BGR)
    return np.asarray(np.vstack([small, _panel(width, controls, axes)]), np.uint8)


def _panel(width: int, controls: Controls, axes: Sequence[str]) -> Pixels:
    """Draw the bars side by side, each from its neutral value: steering from the middle, pedals from the left."""
    panel = np.full((_PANEL_HEIGHT_PX, width, 3), _BACKGROUND, np.uint8)
    part = width // len(axes)
    margin = part // 16
    top, bottom = 22, _PANEL_HEIGHT_PX - 8
    for number, name in enumerate(axes):
        axis, value = AXIS_BY_NAME[name], getattr(controls, name)
        colour = _COLOURS[AXIS_NAMES.index(name) % len(_COLOURS)]
        left = number * part + margin
        length = part - 2 * margin
        start = left + round((axis.neutral - axis.low) / (axis.high - axis.low) * length)
        end = start + round((value - axis.neutral) / (axis.high - axis.low) * length)
        text = f"{name} {value:.2f}"
        (text_px, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, _TEXT_SCALE, 1)
        scale = _TEXT_SCALE * min(1.0, length / text_px)
        cv2.putText(panel, text, (left, 15), cv2.FONT_HERSHEY_SIMPLEX, scale, _TEXT, 1, cv2.LINE_AA)
        cv2.rectangle(panel, (left, top), (left + length, bottom), _TRACK, cv2.FILLED)
        if start != end:
            cv2.rectangle(panel, (min(start, end), top), (max(start, end), bottom), colour, cv2.FILLED)
    return panel
