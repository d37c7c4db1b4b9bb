"""What a drive tells its page, and the shared memory that it lies in.

::

    drive's process                         page's process
    PageObserver.on_tick() --- ticks --->   every tick's numbers, the last thousands of them
                           --- inputs -->   the network's input of the last ticks
                           --- frames -->   the game's picture, a few times a second
                           --- notes --->   texts: a lap begins, the picture is lost, the drive has ended

The drive writes and goes on. A page that is too slow misses what was overwritten.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.contract.controls import AXIS_NAMES
from agent.contract.observation import Observation, Pixels
from agent.system.ring import Ring
from agent.system.shared_block import SharedBlock

KINDS = ("driven", "late", "blind")
"""Kinds of ticks; a row has the position."""
STUCK_STATES = (None, "free", "recovering", "given_up")
"""States of a stuck car; a row has the position."""
NUMBERS = (
    "index",
    "kind",
    "started_s",
    "age_s",
    "capture_s",
    "preprocess_s",
    "infer_s",
    "send_s",
    "intervention",
    "stuck",
    "frame_index",
    "missed",
    "deadlines",
    "swaps",
    "speed",
    "progress",
    "episode_return",
)
"""The first numbers of a tick's row, NaN where unknown. The raw outputs and the controls sent follow. ``started_s``
counts from the page's start; ``age_s`` is the picture's age when the controls were sent, or when it was found too old.
"""
TICKS, INPUTS, FRAMES, NOTES = 4096, 8, 3, 64
"""Slots of the rings: 2 minutes of ticks at 30 a second, and 0.25 s of network inputs."""
FRAME_BYTES = 1920 * 1080 * 4
"""The largest game picture that is passed on; of a larger one, every second or third pixel."""
NOTE_BYTES = 1000
_HEAD_BYTES = 3 * 8  # height, width, channels


@dataclass(frozen=True, slots=True)
class Facts:
    """What does not change during a drive.

    Attributes:
        title: What is driven.
        game: The game's name.
        model: Name of the weights.
        engine: The engine that runs them.
        driver: Who drives, as in the header of an episode.
        rate_hz: Control rate.
        outputs: Names of the prediction's numbers.
        axes: What the car can do.
        observation_shape: Shape of the network's input.
        folder: The model's folder; empty if there is none.
        keep: Folder for episodes that are kept on demand.
        made_s: When the weights were written, in seconds since 1970; 0 if unknown.
        keep_key: The hotkey that keeps the last 30 s, by pynput's name; empty for none.
    """

    title: str
    game: str
    model: str
    engine: str
    driver: str
    rate_hz: float
    outputs: tuple[str, ...]
    axes: tuple[str, ...]
    observation_shape: tuple[int, int, int]
    folder: str = ""
    keep: str = "episodes"
    made_s: float = 0.0
    keep_key: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of a row's numbers."""
        return (*NUMBERS, *(f"raw_{name}" for name in self.outputs), *(f"sent_{name}" for name in AXIS_NAMES))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {**asdict(self), "columns": self.columns}


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights that drive from some tick on.

    Attributes:
        driver: Who drives, as in the header of an episode: the weights' name, and their round if there is one.
        engine: The engine that runs them.
        folder: Their folder; empty if it is not known.
    """

    driver: str = ""
    engine: str = ""
    folder: str = ""

    @property
    def name(self) -> str:
        """Their name in texts for people."""
        return self.driver.removeprefix("policy:")


@dataclass(slots=True)
class PageMemory:
    """The rings of one drive in a block of shared memory.

    Args:
        facts: The drive's facts; both processes must have the same.
        name: The block to attach to; None creates it.
    """

    facts: Facts
    name: str | None = None
    _block: SharedBlock = field(init=False, repr=False)
    ticks: Ring[np.float64] = field(init=False, repr=False)
    inputs: Ring[np.uint8] = field(init=False, repr=False)
    frames: Ring[np.uint8] = field(init=False, repr=False)
    notes: Ring[np.uint8] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shapes: list[tuple[tuple[int, ...], type[np.generic], int]] = [
            ((len(self.facts.columns),), np.float64, TICKS),
            (self.facts.observation_shape, np.uint8, INPUTS),
            ((_HEAD_BYTES + FRAME_BYTES,), np.uint8, FRAMES),
            ((NOTE_BYTES,), np.uint8, NOTES),
        ]
        starts = np.cumsum([0, *(Ring.size(*each) for each in shapes)])
        self._block = SharedBlock(int(starts[-1]), self.name)
        self.name = self._block.name
        rings: list[Ring[Any]] = [
            Ring(self._block.buffer, int(start), shape, dtype, slots)
            for start, (shape, dtype, slots) in zip(starts, shapes, strict=False)
        ]
        self.ticks, self.inputs, self.frames, self.notes = rings

    def touch(self, frame_bytes: int = 1280 * 720 * 4) -> None:
        """Have the system hand out the memory now; otherwise the first ticks would wait for it.

        Args:
            frame_bytes: The usual size of a picture.
        """
        for ring in (self.ticks, self.inputs, self.notes):
            ring.fill(0)
        self.frames.fill(0, frame_bytes)

    def close(self, unlink: bool) -> None:
        """Close the block; ``unlink`` frees it for both processes."""
        del self.ticks, self.inputs, self.frames, self.notes
        self._block.close(unlink)

    def write_frame(self, pixels: Pixels, stamp: int) -> None:
        """Pass a picture on: uint8, shape (height, width, 3 or 4); a very large one as every second or third pixel."""
        step = 1
        while pixels.nbytes // step**2 > FRAME_BYTES:
            step += 1
        if step > 1:
            pixels = pixels[::step, ::step]
        slot = self.frames.begin()
        head = np.array(pixels.shape, np.int64)
        slot[:_HEAD_BYTES] = head.view(np.uint8)
        slot[_HEAD_BYTES : _HEAD_BYTES + pixels.size].reshape(pixels.shape)[...] = pixels
        self.frames.publish(stamp)

    def read_frame(self) -> tuple[int, Pixels] | None:
        """Return the newest picture and its stamp; None before the first one."""
        found = self.frames.read(lambda slot: slot[: _HEAD_BYTES + int(slot[:_HEAD_BYTES].view(np.int64).prod())])
        if found is None:
            return None
        _, stamp, content = found
        height, width, channels = content[:_HEAD_BYTES].view(np.int64).tolist()
        return stamp, content[_HEAD_BYTES:].reshape(height, width, channels)

    def write_note(self, kind: str, **details: Any) -> None:
        """Pass a text on; it is cut where it is too long."""
        text = json.dumps({"kind": kind, **details}, default=str).encode()
        if len(text) > NOTE_BYTES:
            shortened = {name: value[:300] if isinstance(value, str) else value for name, value in details.items()}
            text = json.dumps({"kind": kind, **shortened}, default=str).encode()[:NOTE_BYTES]
        padded = np.zeros(NOTE_BYTES, np.uint8)
        padded[: len(text)] = np.frombuffer(text, np.uint8)
        self.notes.write(padded, 0)

    def read_notes(self, sequence: int) -> tuple[int, list[dict[str, Any]]]:
        """Return the last note's sequence number, and the notes after the given one."""
        notes = []
        for number, _, content in self.notes.read_since(sequence):
            sequence = number
            try:
                notes.append(json.loads(content.tobytes().rstrip(b"\0")))
            except ValueError:  # one that was too long
                notes.append({"kind": "text", "text": "?"})
        return sequence, notes


def row_of(numbers: Sequence[float], raw: npt.NDArray[np.float32] | None, outputs: int, sent: Sequence[float]) -> Any:
    """Return a tick's row: float64, shape (columns,)."""
    prediction = [np.nan] * outputs if raw is None else raw.tolist()
    return [*numbers, *prediction, *sent]


def side_by_side(observation: Observation) -> Observation:
    """Return an observation of any number of pictures as one, the oldest on the left: uint8, RGB."""
    height, width, channels = observation.shape
    pictures = observation.reshape(height, width, channels // 3, 3)
    return np.ascontiguousarray(pictures.transpose(0, 2, 1, 3)).reshape(height, -1, 3)
