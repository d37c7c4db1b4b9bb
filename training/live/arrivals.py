"""What episodes gain while they are being recorded, as samples: every row once, also after a restart."""

import logging
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pyarrow as pa

from agent.contract.episodes.columns import RECORDING_SUFFIX, SEALED_SUFFIX
from agent.contract.episodes.reading import Episode, RecordingFile
from agent.contract.errors import AgentError, TrainingError
from agent.contract.observation import Observation
from agent.contract.preprocess import preprocess
from agent.contract.spec import ModelSpec
from training.data.balancing.labels import check_ranges
from training.data.buffers import EncodedSample
from training.data.held_out import HELD_OUT_SEED, HELD_OUT_TRACK
from training.data.rows import GAP_S, SEGMENT_S, SPAN_S, START_S, labelled_rows

_log = logging.getLogger(__name__)

_MOST_BYTES = 64_000_000  # read of a recording at a time; half a second of a drive takes a tenth of it


class Arrival(NamedTuple):
    """A sample as it arrives.

    Attributes:
        sample: The observation and its labels.
        correction: Whether a person gave it while a network drove.
        held_out: Whether the network is judged by it and must not learn from it.
    """

    sample: EncodedSample
    correction: bool
    held_out: bool


@dataclass(frozen=True, slots=True)
class Place:
    """How far an episode was read.

    Attributes:
        rows: Rows read.
        began_ns: Capture time of its first row.
    """

    rows: int
    began_ns: int


def is_held_out(seconds: float, name: str) -> bool | None:
    """Return whether a moment of an episode is judged by; None if it is too near to such a moment to be used at all.

    The spans are those of :func:`training.data.rows.hold_out`, but need no knowledge of how long the episode will be:
    4 s in every 40 s, at a place that the name decides, and never in the first 5 s.

    Args:
        seconds: Since the episode began.
        name: The episode's name.
    """
    if seconds < START_S:
        return False
    segment, within = divmod(seconds - START_S, SEGMENT_S)
    place = np.random.default_rng([zlib.crc32(name.encode()), int(segment)]).random()
    first = GAP_S + place * (SEGMENT_S - SPAN_S - 2 * GAP_S)
    if first <= within < first + SPAN_S:
        return True
    return None if first - GAP_S <= within < first + SPAN_S + GAP_S else False


class Arrivals:
    """Follows the episodes of a folder, sealed ones and those that are being recorded.

    Nothing has to be told to it: whoever records writes an episode, and half a second later the rows arrive here. So a
    recorder that is killed loses no more than the format does, and what was read goes on from :attr:`places`.

    Args:
        folder: Of the episodes; need not exist yet.
        spec: Size, masks and outputs of the samples.
        places: How far each episode was read before, by name.

    Attributes:
        places: How far each episode has been read, by name.
        problems: Episodes that cannot be read, with the reason.
    """

    def __init__(self, folder: Path, spec: ModelSpec, places: Mapping[str, Place] | None = None) -> None:
        self.places: dict[str, Place] = dict(places or {})
        self.problems: dict[str, str] = {}
        self._folder = folder
        self._spec = spec
        self._done: set[str] = set()  # sealed, and read to their end
        self._recordings: dict[str, _Tail] = {}
        self._waiting: Iterator[Arrival] = iter(())

    def forget_deleted(self) -> None:
        """Forget how far episodes were read that are not there any more."""
        there = {path.stem for path in self._folder.iterdir()} if self._folder.is_dir() else set()
        self.places = {name: place for name, place in self.places.items() if name in there}
        self._done &= there

    def take(self, most: int) -> list[Arrival]:
        """Return the next samples, oldest episodes first; fewer than ``most`` where no more are there."""
        taken: list[Arrival] = []
        looked = False
        while len(taken) < most:
            arrival = next(self._waiting, None)
            if arrival is not None:
                taken.append(arrival)
            elif looked:
                break
            else:
                self._waiting, looked = self._look(), True
        return taken

    def _look(self) -> Iterator[Arrival]:
        for path in sorted(self._folder.glob(f"*{SEALED_SUFFIX}")) + sorted(self._folder.glob(f"*{RECORDING_SUFFIX}")):
            name = path.stem
            if name in self._done or name in self.problems:
                continue
            try:
                yield from self._read(path, name)
            except FileNotFoundError:
                continue  # it was sealed at this moment
            except (AgentError, OSError) as exc:
                if path.exists():
                    self.problems[name] = str(exc)
                    _log.warning("%s is left out: %s", path.name, exc)

    def _read(self, path: Path, name: str) -> Iterator[Arrival]:
        if path.suffix == SEALED_SUFFIX:
            self._recordings.pop(name, None)
            yield from self._rows_of(Episode.open(path), name, skipped=self._rows(name))
            self._done.add(name)
            return
        tail = self._recordings.setdefault(name, _Tail(path))
        while (episode := tail.read()) is not None:
            # After a restart the first rows are read again, to find the place in the file; not decoded.
            yield from self._rows_of(episode, name, skipped=max(0, self._rows(name) - (tail.rows - len(episode))))

    def _rows(self, name: str) -> int:
        return self.places[name].rows if name in self.places else 0

    def _rows_of(self, episode: Episode, name: str, skipped: int) -> Iterator[Arrival]:
        header = episode.header
        if (header.seed is not None and header.seed >= HELD_OUT_SEED) or header.track == HELD_OUT_TRACK:
            raise TrainingError(f"{episode.path} is of a track that is kept for judging. Take it out of the folder.")
        labels = episode.labels(self._spec.output_names)
        check_ranges(labels, self._spec.outputs, str(episode.path))
        wanted = set(labelled_rows(episode).tolist())
        corrects = header.driver.startswith("policy:")
        for row in range(skipped, len(episode)):
            captured_ns = int(episode.captured_ns[row])
            place = self.places.get(name) or Place(0, captured_ns)
            self.places[name] = replace(place, rows=place.rows + 1)
            held_out = is_held_out((captured_ns - place.began_ns) / 1e9, name)
            if row not in wanted or held_out is None:
                continue
            picture = encode(preprocess(episode.frame(row), self._spec))
            yield Arrival(EncodedSample(picture, labels[row]), corrects and bool(episode.intervention[row]), held_out)


def encode(observation: Observation) -> bytes:
    """Return an observation as the PNG that :func:`training.data.samples.decode` reads."""
    _, data = cv2.imencode(".png", observation, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return data.tobytes()


class _Tail:
    """Reads a recording on from where it ended before; a batch is read once, whatever the length of the drive."""

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self._path = path
        self._head = b""  # the stream's schema
        self._offset = 0

    def read(self) -> Episode | None:
        """Return the rows that are new; None if there are none."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            new = file.read(_MOST_BYTES)
        if not self._head:
            self._head = _schema_of(new)
            if not self._head:
                return None
            self._offset, new = len(self._head), new[len(self._head) :]
        stream = pa.BufferReader(self._head + new)
        recording = RecordingFile(self._path, stream)
        batches = []
        for _, batch in recording.placed_batches():
            batches.append(batch)
            read = stream.tell() - len(self._head)
        if not batches:
            return None
        self._offset += read
        counts = [batch.num_rows for batch in batches]
        self.rows += sum(counts)
        table = pa.Table.from_batches(batches).drop_columns(["frame"])
        return Episode(self._path, recording.schema, table, counts, lambda index: batches[index]["frame"])


def _schema_of(content: bytes) -> bytes:
    """Return the bytes of an Arrow stream's first message; nothing if they are not there yet."""
    source = pa.BufferReader(content)
    try:
        pa.ipc.open_stream(source)
    except (EOFError, pa.ArrowInvalid, OSError):
        return b""
    return content[: source.tell()]
