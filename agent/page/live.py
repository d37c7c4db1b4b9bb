"""The page's process during a drive: reads the shared memory, and makes pictures of it only while somebody looks.

What a drive writes into that memory is in ``agent.page.records``. What the browser shows of it is in
``agent/page/front/src``.
"""

import functools
import json
import math
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from agent.contract.observation import Observation, Pixels
from agent.contract.spec import WEIGHTS_FILE
from agent.page.records import Facts, PageMemory, Weights, side_by_side
from agent.page.viewers import GAME, INPUT, Board, Texts

HISTORY_S = 30.0
"""How much of the drive the page remembers."""
_WIDEST_PX = 1280
_MOST_WEIGHTS = 100  # of which it is remembered when they drove
_GAME_QUALITY, _INPUT_QUALITY = 80, 92


@dataclass(frozen=True, slots=True)
class Remembered:
    """A tick of the last seconds.

    Attributes:
        row: Its numbers.
        observation: Unpacks the network's input; may be called in any thread.
    """

    row: npt.NDArray[np.float64]
    observation: Callable[[], Observation]


class Live:
    """What a drive tells, in the form that viewers get.

    Args:
        memory: The drive's shared memory.
        board: Receives what is new.
    """

    def __init__(self, memory: PageMemory) -> None:
        ticks = math.ceil(memory.facts.rate_hz * HISTORY_S)
        self.board = Board(Texts(ticks))
        self.ended = False
        self.seed: int | None = None
        self._memory = memory
        self._lap = 0  # the last tick before this lap
        facts = memory.facts
        self._weights = deque([(0, Weights(facts.driver, facts.engine, facts.folder))], _MOST_WEIGHTS)
        self._ticks = self._notes = self._inputs = self._frame = 0
        self._most = ticks
        self._rows: OrderedDict[int, npt.NDArray[np.float64]] = OrderedDict()
        self._packed: OrderedDict[int, Any] = OrderedDict()
        self._codec = pa.Codec("zstd", compression_level=1)
        self._newest_input: tuple[int, Observation] | None = None

    @property
    def facts(self) -> Facts:
        """The drive's facts."""
        return self._memory.facts

    def read(self, wanted: frozenset[str]) -> bool:
        """Read what is new; return whether there was anything.

        Args:
            wanted: Names of the pictures that are looked at.
        """
        return bool(self._read_notes() + self._read_ticks() + self._read_inputs(wanted) + self._read_frame(wanted))

    def observation(self, stamp: int | None) -> tuple[int, Observation] | None:
        """Return the network's input of a tick, or of the last one before it that is known, and its stamp.

        Args:
            stamp: The tick's number; None for the newest.
        """
        if stamp is None:
            return self._newest_input
        known = [each for each in self._packed if each <= stamp]
        return (known[-1], self._unpack(self._packed[known[-1]])) if known else None

    def weights(self, stamp: int | None = None) -> Weights:
        """Return the weights that drove at a tick; the newest without one."""
        drove = [weights for since, weights in self._weights if stamp is None or since <= stamp]
        return drove[-1] if drove else self._weights[0][1]

    def remembered(self) -> "list[Remembered]":
        """Return the ticks of this lap that have a network input, the oldest first."""
        stamps = [stamp for stamp in self._packed if stamp in self._rows and stamp > self._lap]
        return [Remembered(self._rows[each], functools.partial(self._unpack, self._packed[each])) for each in stamps]

    def _unpack(self, packed: Any) -> Observation:
        shape = self.facts.observation_shape
        data = pa.Codec("zstd").decompress(packed, math.prod(shape))
        return np.frombuffer(data, np.uint8).reshape(shape)

    def _read_notes(self) -> int:
        self._notes, notes = self._memory.read_notes(self._notes)
        for note in notes:
            if note["kind"] == "begin":
                self.seed, self._lap = note.get("seed"), note.get("tick", 0)
            if note["kind"] == "weights":
                self._note_weights(note)
            self.ended |= note["kind"] == "end"
            self.board.notes.add(json.dumps(note))
        return len(notes)

    def _note_weights(self, note: dict[str, Any]) -> None:
        weights = Weights(note["driver"], note["engine"], note["folder"])
        self._weights.append((note["tick"], weights))
        note["name"], note["made_s"] = weights.name, 0.0
        if weights.folder:
            with suppress(OSError):
                note["made_s"] = (Path(weights.folder) / WEIGHTS_FILE).stat().st_mtime

    def _read_ticks(self) -> int:
        found = self._memory.ticks.read_since(self._ticks)
        for number, _, row in found:
            self._ticks = number
            self._rows[int(row[0])] = row
            self.board.ticks.add(as_json(row))
        while len(self._rows) > self._most:
            self._rows.popitem(last=False)
        return len(found)

    def _read_inputs(self, wanted: frozenset[str]) -> int:
        found = self._memory.inputs.read_since(self._inputs)
        for number, stamp, observation in found:
            self._inputs = number
            self._newest_input = stamp, observation
            self._packed[stamp] = self._codec.compress(observation.tobytes(), asbytes=True)
        while len(self._packed) > self._most:
            self._packed.popitem(last=False)
        if found and "input" in wanted:
            _, stamp, observation = found[-1]
            picture = cv2.cvtColor(side_by_side(observation), cv2.COLOR_RGB2BGR)
            self.board.show(INPUT, stamp, encode(np.asarray(picture, np.uint8), _INPUT_QUALITY))
        return len(found)

    def _read_frame(self, wanted: frozenset[str]) -> int:
        if "game" not in wanted or self._memory.frames.newest == self._frame:
            return 0
        self._frame = self._memory.frames.newest
        if (found := self._memory.read_frame()) is None:
            return 0
        stamp, pixels = found
        self.board.show(GAME, stamp, encode(pixels, _GAME_QUALITY))
        return 1


def encode(pixels: Pixels, quality: int) -> bytes:
    """Return a picture as JPEG, at most 1280 px wide.

    Args:
        pixels: uint8, BGR or BGRA.
        quality: 0 to 100.
    """
    if pixels.shape[1] > _WIDEST_PX:
        height = max(1, round(pixels.shape[0] * _WIDEST_PX / pixels.shape[1]))
        pixels = np.asarray(cv2.resize(pixels, (_WIDEST_PX, height), interpolation=cv2.INTER_AREA), np.uint8)
    if pixels.shape[2] == 4:
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR), np.uint8)
    _, encoded = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, quality))
    return encoded.tobytes()


def as_json(row: npt.NDArray[np.float64]) -> str:
    """Return a row as a JSON list; what is unknown is null."""
    return json.dumps([None if math.isnan(value) else round(value, 6) for value in row.tolist()], separators=(",", ":"))
