"""Episodes from elsewhere: whatever they hold, opening them ends soon, in little memory, and in one line."""

import json
import os
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agent.contract.controls import NEUTRAL
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.reading import Episode, RecordingFile
from agent.contract.episodes.sealing import salvage
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.errors import EpisodeError
from agent.contract.locks import claimed, is_claimed
from agent.contract.observation import Frame

RATE_HZ = 20.0


def write(path: Path, rows: int = 40) -> Path:
    """Record a drive of noise; return the sealed file."""
    rng = np.random.default_rng(0)
    with EpisodeWriter(path, EpisodeHeader("game", "human", RATE_HZ)) as writer:
        for index in range(rows):
            pixels = rng.integers(0, 256, (6, 8, 3), np.uint8)
            writer.write(EpisodeRow(Frame(pixels, index * 50_000_000, index), NEUTRAL, NEUTRAL))
    return path


def row(index: int) -> EpisodeRow:
    """Return a row whose picture is as bright as its index."""
    return EpisodeRow(Frame(np.full((6, 8, 3), index, np.uint8), index * 50_000_000, index), NEUTRAL, NEUTRAL)


def write_recording(path: Path, rows: int = 40) -> Path:
    """Record without sealing; return the recording."""
    writer = EpisodeWriter(path, EpisodeHeader("game", "human", RATE_HZ))
    for index in range(rows):
        writer.write(
            EpisodeRow(Frame(np.full((6, 8, 3), index, np.uint8), index * 50_000_000, index), NEUTRAL, NEUTRAL)
        )
    writer._file.close()
    return path.with_suffix(".recording")


def with_header(source: Path, path: Path, **changes: Any) -> Path:
    """Write an episode anew whose header says something else, with a checksum that holds."""
    table = pq.read_table(source)
    about = json.loads(table.schema.metadata[b"hoodcam"])
    for key, value in changes.items():
        (about if key in about else about["header"])[key] = value
    text = json.dumps(about).encode()
    return rewritten(table, path, text)


def rewritten(table: Any, path: Path, text: bytes, **options: Any) -> Path:
    metadata = {**table.schema.metadata, b"hoodcam": text, b"hoodcam_crc32": str(zlib.crc32(text)).encode()}
    options = {"compression": "NONE", "use_dictionary": False, "write_page_checksum": True} | options
    pq.write_table(table.replace_schema_metadata(metadata), path, **options)
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"rate_hz": 10**400},
        {"rate_hz": True},
        {"rate_hz": "fast"},
        {"game": ["a", "list"]},
        {"game": {"deep": [1] * 1000}},
        {"driver": 7},
        {"driver": "x" * 1_000_000},
        {"seed": "one"},
        {"track": None},
        {"telemetry": ["a", "a"]},
        {"telemetry": [f"t{k}" for k in range(10_000)]},
        {"telemetry": {"a": 1}},
        {"telemetry": [["nested"]]},
        {"header": []},
        {"header": "text"},
        {"axes": ["steering", "steering", "brake"]},
    ],
    ids=lambda changes: f"{next(iter(changes))}={str(next(iter(changes.values())))[:20]}",
)
def test_a_strange_header_is_told_in_one_line(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = with_header(write(tmp_path / "good.parquet"), tmp_path / "strange.parquet", **changes)
    with pytest.raises(EpisodeError) as caught:
        Episode.open(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 2000


def test_a_header_of_endless_depth_is_told_in_one_line(tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path / "good.parquet"))
    depth = 100_000
    path = rewritten(table, tmp_path / "deep.parquet", b'{"format": ' + b"[" * depth + b"]" * depth + b"}")
    with pytest.raises(EpisodeError, match="damaged") as caught:
        Episode.open(path)
    assert "\n" not in str(caught.value)


def test_more_rows_than_any_drive_has_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run lengths and dictionaries: 15 KB said that they were 50 million rows, and took 4.4 GB."""
    sealed, recording = write(tmp_path / "a.parquet"), write_recording(tmp_path / "b.parquet")
    monkeypatch.setattr("agent.contract.episodes.columns.MAX_NUMBERS", 100)
    monkeypatch.setattr(pq.ParquetFile, "read", lambda *_, **__: pytest.fail("was read"))
    for path in (sealed, recording):
        with pytest.raises(EpisodeError, match="more than is read"):
            Episode.open(path)


def test_more_rows_than_the_file_has_room_for_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns of one value each: 1.1 MB, of which nearly all were definition levels, took 830 MB and 4.5 s."""
    schema = pq.read_schema(write(tmp_path / "good.parquet"))
    rows = 20_000
    values = {"frame": {"bytes": b"", "path": ""}, "intervention": False}
    columns = [pa.array([values.get(each.name, 0)] * rows, each.type) for each in schema]
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table(columns, schema=schema), path, compression="NONE", write_page_checksum=True)
    assert path.stat().st_size < 50 * rows
    monkeypatch.setattr(pq.ParquetFile, "read", lambda *_, **__: pytest.fail("was read"))
    with pytest.raises(EpisodeError, match=r"20000 rows of 12 columns in .* bytes, more than is read"):
        Episode.open(path)


def test_a_picture_named_a_thousand_times_does_not_unpack(tmp_path: Path) -> None:
    """A dictionary: one picture of 100 KB in the file, a thousand in memory."""
    good = pq.read_table(write(tmp_path / "good.parquet", rows=1000))
    picture = {"bytes": os.urandom(100_000), "path": "a.png"}
    frames = pa.array([picture] * len(good), good.schema.field("frame").type)
    table = good.set_column(good.schema.get_field_index("frame"), good.schema.field("frame"), frames)
    text = good.schema.metadata[b"hoodcam"]
    path = rewritten(table, tmp_path / "bomb.parquet", text, use_dictionary=True)
    assert path.stat().st_size < 1_000_000
    episode = Episode.open(path)
    with pytest.raises(EpisodeError, match="unpack to more than the"):
        episode.encoded_frame(0)
    with pytest.raises(EpisodeError, match="no part of it can be read"):
        salvage(path, tmp_path / "salvaged.parquet")


def test_a_compressed_file_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path / "good.parquet"))
    path = rewritten(table, tmp_path / "packed.parquet", table.schema.metadata[b"hoodcam"], compression="ZSTD")
    with pytest.raises(EpisodeError, match="it is compressed"):
        Episode.open(path)


def test_a_compressed_recording_is_not_unpacked(tmp_path: Path) -> None:
    recording = write_recording(tmp_path / "drive.parquet")
    with recording.open("rb") as file:
        reader = pa.ipc.open_stream(file)
        batches = list(reader)
    packed = tmp_path / "packed.recording"
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with packed.open("wb") as sink, pa.ipc.new_stream(sink, reader.schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    with pytest.raises(EpisodeError, match="nothing can be recovered"):
        Episode.open(packed)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every file name is text")
def test_names_that_are_not_utf_8_are_names_like_any(tmp_path: Path) -> None:
    """Of an old disk, or out of a zip: sound episodes were damaged, and `repair` renamed every one."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    path = write(folder / Path(os.fsdecode(b"t\xfcr.parquet")).name)
    episode = Episode.open(path)
    assert len(episode) == 40
    assert episode.frame(3).pixels.shape == (6, 8, 3)
    recording = write_recording(folder / "second.parquet")
    remains = Episode.open(recording)
    assert (len(remains), int(remains.frame(3).pixels[0, 0, 0])) == (40, 3)


def test_a_recording_that_is_shortened_while_it_is_read_is_told(tmp_path: Path) -> None:
    """As the discard key does: a reader that had mapped it died of SIGBUS."""
    recording = write_recording(tmp_path / "drive.parquet")
    episode = Episode.open(recording)
    os.truncate(recording, recording.stat().st_size // 2)
    assert int(episode.frame(0).pixels[0, 0, 0]) == 0
    with pytest.raises(EpisodeError, match=r"frames of rows 30 to 39 cannot be read"):
        episode.frame(39)


def test_a_full_disk_counts_the_rows_that_it_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = EpisodeWriter(tmp_path / "drive.parquet", EpisodeHeader("game", "human", RATE_HZ))
    fsync, calls = os.fsync, []

    def fill_up(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fill_up)

    def record() -> None:
        for index in range(40):
            writer.write(row(index))

    with pytest.raises(EpisodeError, match="20 rows before it are safe"):
        record()
    monkeypatch.undo()
    writer.close()
    assert len(Episode.open(tmp_path / "drive.parquet")) == 20


def test_a_recording_whose_folder_is_taken_away_counts_nothing_as_recorded(tmp_path: Path) -> None:
    folder = tmp_path / "episodes"
    writer = EpisodeWriter(folder / "drive.parquet", EpisodeHeader("game", "human", RATE_HZ))
    for index in range(20):
        writer.write(row(index))
    folder.rename(tmp_path / "moved")
    with pytest.raises(EpisodeError, match="cannot be read"):
        writer.close()
    assert writer.rows == 0
    assert (tmp_path / "moved" / "drive.recording").exists()


def test_rows_that_were_recorded_in_the_place_of_others_are_told(tmp_path: Path) -> None:
    """The discard key, and the drive goes on: an old row must not get a new row's picture."""
    writer = EpisodeWriter(tmp_path / "drive.parquet", EpisodeHeader("game", "human", RATE_HZ))
    for index in range(40):
        writer.write(row(index))
    episode = Episode.open(tmp_path / "drive.recording")
    writer.discard_since(20 * 50_000_000)
    for index in range(200, 220):
        writer.write(row(index))
    with pytest.raises(EpisodeError, match="has changed meanwhile"):
        episode.frame(39)
    writer.close()


def test_a_recording_that_grows_while_it_is_read_has_nothing_unread(tmp_path: Path) -> None:
    recording = write_recording(tmp_path / "drive.parquet")
    whole = recording.read_bytes()
    recording.write_bytes(whole[: len(whole) // 2])
    with recording.open("rb") as file:
        reader = RecordingFile(recording, pa.PythonFile(file))
        recording.write_bytes(whole)
        rows = sum(batch.num_rows for batch in reader.batches())
    assert rows == 40
    assert reader.unread == 0


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of Unix")
@pytest.mark.parametrize("suffix", [".parquet", ".recording"])
def test_what_is_no_file_is_not_waited_for(suffix: str, tmp_path: Path) -> None:
    """A pipe in a folder of episodes held `episodes verify` and `repair` for ever."""
    pipe, folder, loop = (tmp_path / f"{name}{suffix}" for name in ("pipe", "folder", "loop"))
    os.mkfifo(pipe)
    folder.mkdir()
    loop.symlink_to(loop)
    for path in (pipe, folder, loop):
        with pytest.raises(EpisodeError, match="cannot be read"):
            Episode.open(path)
    assert not is_claimed(pipe), "asked without waiting"
    with claimed(pipe) as mine:
        assert mine


def test_a_header_takes_numpys_numbers() -> None:
    header = EpisodeHeader("game", "human", np.float64(25.0), np.int64(3))  # type: ignore[arg-type]
    assert (header.rate_hz, header.seed) == (25.0, 3)
    assert type(header.rate_hz) is float
