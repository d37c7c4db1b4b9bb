"""The episode format: what is written reads back, and what is damaged says so."""

import errno
import json
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deferred import Deferred
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agent.contract.controls import AXIS_NAMES, STANDARD_AXES, Controls, with_standard_axes
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow, timed_path, unused_path
from agent.contract.episodes.reading import Episode
from agent.contract.episodes.sealing import recover
from agent.contract.episodes.writing import EpisodeWriter, encode_row
from agent.contract.errors import EpisodeError
from agent.contract.observation import Frame

pd = Deferred("pandas")

HEADER = EpisodeHeader(game="carracing", driver="expert", rate_hz=10.0, seed=7, profile_notes="a small game")


def make_row(index: int) -> EpisodeRow:
    """Return a row whose every value tells its index, the pixels included."""
    pixels = np.random.default_rng(index).integers(0, 256, (6, 8, 4), np.uint8)
    return EpisodeRow(
        Frame(pixels, captured_ns=index * 100_000_000, index=index),
        controls=Controls(index / 64, index / 128, 0.0),
        executed=Controls(-index / 64, 0.0, index / 128),
        speed=None if index % 3 == 0 else float(index),
        intervention=index % 4 == 0,
        telemetry={"yaw_rate": index / 4, "lateral_offset": -float(index)},
    )


def record(path: Path, rows: int, header: EpisodeHeader = HEADER) -> Path:
    with EpisodeWriter(path, header) as writer:
        for index in range(rows):
            writer.write(make_row(index))
    return path


def kill(path: Path, rows: int) -> Path:
    """Return what a killed recording of so many rows leaves behind."""
    writer = EpisodeWriter(path, HEADER)
    for index in range(rows):
        writer.write(make_row(index))
    writer._file.close()
    return path.with_suffix(".recording")


def assert_holds_rows(episode: Episode, rows: int) -> None:
    """Assert that every column and picture is that of ``make_row``, row by row."""
    assert len(episode) == rows
    for index, frame in enumerate(episode.frames()):
        row = make_row(index)
        np.testing.assert_array_equal(frame.pixels, row.frame.pixels[..., :3])
        assert (frame.captured_ns, frame.index) == (row.frame.captured_ns, index)
        assert (episode.captured_ns[index], episode.tick[index]) == (row.frame.captured_ns, index)
        np.testing.assert_array_equal(episode.controls[index], row.controls.to_array())
        np.testing.assert_array_equal(episode.executed[index], row.executed.to_array())
        np.testing.assert_equal(float(episode.speed[index]), np.nan if row.speed is None else row.speed)
        assert episode.intervention[index] == row.intervention
        assert {name: values[index] for name, values in episode.telemetry.items()} == row.telemetry


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three full seconds and two rows, sealed and as a kill leaves them."""
    folder = tmp_path_factory.mktemp("episodes")
    record(folder / "sealed.parquet", 17)
    kill(folder / "killed.parquet", 17)
    return folder


def test_an_episode_reads_back_as_it_was_recorded(folder: Path) -> None:
    episode = Episode.open(folder / "sealed.parquet")
    assert episode.header == HEADER
    assert episode.recovered is None
    assert_holds_rows(episode, 17)
    assert {values.dtype for values in (episode.controls, episode.executed, episode.speed)} == {np.dtype(np.float32)}
    assert (episode.tick.dtype, episode.captured_ns.dtype) == (np.dtype(np.int32), np.dtype(np.int64))


def test_frames_can_be_read_in_any_order(folder: Path) -> None:
    episode = Episode.open(folder / "sealed.parquet")
    for index in (16, 0, 9, 4, 5, 16):
        np.testing.assert_array_equal(episode.frame(index).pixels, make_row(index).frame.pixels[..., :3])
    for index in (-1, 17):
        with pytest.raises(IndexError):
            episode.frame(index)


def test_only_the_sealed_file_is_left(tmp_path: Path) -> None:
    record(tmp_path / "a.parquet", 7)
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_an_episode_without_rows_leaves_nothing(tmp_path: Path) -> None:
    record(tmp_path / "a.parquet", 0)
    assert list(tmp_path.iterdir()) == []


def test_leaving_with_an_exception_seals_what_was_written(tmp_path: Path) -> None:
    def drive_until_interrupted() -> None:
        with EpisodeWriter(tmp_path / "a.parquet", HEADER) as writer:
            for index in range(7):
                writer.write(make_row(index))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive_until_interrupted()
    assert_holds_rows(Episode.open(tmp_path / "a.parquet"), 7)


finite = st.floats(-1e6, 1e6, width=32)
controls = st.builds(Controls, finite, finite, finite)


@st.composite
def rows_alike(draw: st.DrawFn) -> list[EpisodeRow]:
    """Rows with the same telemetry names; sizes and channels of frames may differ from row to row."""
    names = draw(
        st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1), unique=True, max_size=3)
    )
    pixels = hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.sampled_from((3, 4))))
    frames = st.builds(Frame, pixels, st.integers(0, 2**62), st.integers(0, 2**31 - 1))
    return draw(
        st.lists(
            st.builds(
                EpisodeRow,
                frames,
                controls,
                controls,
                speed=st.none() | finite,
                intervention=st.booleans(),
                telemetry=st.fixed_dictionaries(dict.fromkeys(names, finite)),
            ),
            min_size=1,
            max_size=9,
        )
    )


@given(rows=rows_alike(), rate_hz=st.floats(0.01, 100))
@settings(max_examples=40)
def test_any_rows_survive_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, rows: list[EpisodeRow], rate_hz: float
) -> None:
    path = tmp_path_factory.mktemp("any") / "a.parquet"
    with EpisodeWriter(path, EpisodeHeader("game", "driver", rate_hz)) as writer:
        for row in rows:
            writer.write(row)
    episode = Episode.open(path)
    assert len(episode) == len(rows)
    assert episode.header.rate_hz == rate_hz
    for index, row in enumerate(rows):
        frame = episode.frame(index)
        np.testing.assert_array_equal(frame.pixels, row.frame.pixels[..., :3])
        assert (frame.captured_ns, frame.index) == (row.frame.captured_ns, row.frame.index)
        np.testing.assert_array_equal(episode.controls[index], row.controls.to_array())
        np.testing.assert_array_equal(episode.executed[index], row.executed.to_array())
        np.testing.assert_equal(float(episode.speed[index]), np.nan if row.speed is None else row.speed)
        assert episode.intervention[index] == row.intervention
        assert {name: values[index] for name, values in episode.telemetry.items()} == row.telemetry


def test_pandas_opens_it(folder: Path) -> None:
    table = pd.read_parquet(folder / "sealed.parquet")
    assert list(table["tick"]) == list(range(17))
    assert table["steering"].dtype == np.float32
    assert table["frame"][3]["bytes"] == Episode.open(folder / "sealed.parquet").encoded_frame(3)
    assert table["speed"].isna().sum() == 6


def test_the_frame_column_is_declared_as_images_for_hugging_face(folder: Path) -> None:
    """Checked against datasets 5.2: it ignores a feature unless type and nullability equal the column's."""
    schema = pq.read_schema(folder / "sealed.parquet")
    assert b'"frame": {"_type": "Image"}' in schema.metadata[b"huggingface"]
    assert b'"speed": {"dtype": "float32", "_type": "Value"}' in schema.metadata[b"huggingface"]
    assert schema.field("frame") == pa.field("frame", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def test_a_full_second_is_readable_while_recording(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path / "a.parquet", HEADER) as writer:
        for index in range(12):
            writer.write(make_row(index))
        assert_holds_rows(Episode.open(tmp_path / "a.recording"), 10)


def test_a_slow_drive_is_on_the_disk_after_a_second_all_the_same(tmp_path: Path) -> None:
    slow = EpisodeHeader("game", "driver", rate_hz=100.0)  # the rows come at 5 Hz
    with EpisodeWriter(tmp_path / "a.parquet", slow) as writer:
        for index in range(6):
            writer.write(make_row(index))
        assert len(Episode.open(tmp_path / "a.recording")) == 5


def test_what_a_kill_left_opens_and_says_how_much(folder: Path) -> None:
    episode = Episode.open(folder / "killed.recording")
    assert_holds_rows(episode, 15)
    assert episode.recovered is not None
    assert "15 rows recovered" in episode.recovered


def test_recovering_seals_what_a_kill_left(tmp_path: Path) -> None:
    recording = kill(tmp_path / "a.parquet", 13)
    (tmp_path / "a.sealing").write_bytes(b"of a seal that was killed itself")
    episode = recover(recording)
    assert_holds_rows(episode, 10)
    assert "10 rows recovered" in str(episode.recovered)
    assert episode.unread_bytes == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "a.recording"]
    assert Episode.open(tmp_path / "a.parquet").recovered is None


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_recording_cut_anywhere_yields_its_whole_seconds(folder: Path, tmp_path: Path, data: st.DataObject) -> None:
    whole = (folder / "killed.recording").read_bytes()
    size = data.draw(st.integers(0, len(whole)))
    cut = tmp_path / "cut.recording"
    cut.write_bytes(whole[:size])
    if size < _size_after(whole, seconds=1):
        with pytest.raises(EpisodeError, match=r"cut\.recording"):
            Episode.open(cut)
        return
    episode = Episode.open(cut)
    seconds = len(episode) // 5
    assert _size_after(whole, seconds) <= size
    assert seconds == 3 or size < _size_after(whole, seconds + 1)
    assert_holds_rows(episode, 5 * seconds)


def _size_after(recording: bytes, seconds: int) -> int:
    source = pa.BufferReader(recording)
    reader = pa.ipc.open_stream(source)
    for _ in range(seconds):
        reader.read_next_batch()
    return int(source.tell())


def test_recovering_a_cut_recording_keeps_the_unread_bytes(tmp_path: Path) -> None:
    recording = kill(tmp_path / "a.parquet", 15)
    recording.write_bytes(recording.read_bytes()[:-9])
    episode = recover(recording)
    assert_holds_rows(episode, 10)
    assert "incomplete or damaged" in str(episode.recovered)
    assert episode.unread_bytes > 0
    assert recording.exists()


def flipped(whole: bytes, seed: int, count: int) -> Iterator[bytes]:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        yield bytes(damaged)


def rows_held(path: Path) -> int | None:
    """Return how many rows are there, each verified; None if an EpisodeError that names the file says otherwise."""
    message = ""
    try:
        episode = Episode.open(path)
        assert_holds_rows(episode, len(episode))
        assert episode.header == HEADER
        return len(episode)
    except EpisodeError as error:
        message = str(error)
    assert str(path) in message
    return None


def test_a_flipped_bit_in_a_sealed_file_is_found_or_harmless(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "flipped.parquet"
    held = []
    for damaged in flipped((folder / "sealed.parquet").read_bytes(), seed=1, count=100):
        path.write_bytes(damaged)
        held.append(rows_held(path))
    assert set(held) <= {17, None}
    assert held.count(None) > 30  # the rest hits names, sizes and descriptions nobody reads


def test_a_part_that_holds_fewer_pictures_than_rows_is_damaged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one flipped bit of a row group's length makes it: the pictures would be paired with other rows' controls."""
    whole = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile, "iter_batches", lambda *args, **kwargs: (batch.slice(1) for batch in whole(*args, **kwargs))
    )
    with pytest.raises(EpisodeError, match=r"frames of rows 0 to \d+ cannot be read \(there are \d+ of them\)"):
        Episode.open(folder / "sealed.parquet").frame(0)


def test_a_flipped_bit_in_a_recording_costs_no_more_than_what_follows(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "flipped.recording"
    held = []
    for damaged in flipped((folder / "killed.recording").read_bytes(), seed=2, count=100):
        path.write_bytes(damaged)
        held.append(rows_held(path))
    assert set(held) == {15, 10, 5, None}
    assert held.count(15) < 70


@pytest.mark.parametrize("suffix", [".parquet", ".recording"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"", "is empty"),
        (b"\x00" * 4096, "damaged, cut short or no episode"),
        (b"PAR1 is how it starts" + bytes(100), "damaged, cut short or no episode"),
    ],
)
def test_what_is_no_episode_is_named(tmp_path: Path, suffix: str, content: bytes | None, message: str) -> None:
    path = tmp_path / f"a{suffix}"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EpisodeError, match=message) as caught:
        Episode.open(path)
    assert str(path) in str(caught.value)


def test_a_folder_is_no_episode(tmp_path: Path) -> None:
    with pytest.raises(EpisodeError, match="cannot be read"):
        Episode.open(tmp_path)


def test_a_truncated_sealed_file_points_at_its_recording(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "sealed.parquet").read_bytes()
    path = tmp_path / "a.parquet"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EpisodeError, match=r"episodes repair`\.$"):
        Episode.open(path)
    (tmp_path / "a.recording").write_bytes((folder / "killed.recording").read_bytes())
    with pytest.raises(EpisodeError, match=r"a\.recording is still beside it"):
        Episode.open(path)


def test_foreign_parquet_is_refused_with_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "foreign.parquet"
    pd.DataFrame({"pixels": [1], "angle": [2.0]}).to_parquet(path)
    with pytest.raises(EpisodeError, match="is not an episode: its columns are pixels, angle"):
        Episode.open(path)


def test_another_version_of_the_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.contract.episodes.columns.FORMAT_VERSION", 3)
    record(tmp_path / "a.parquet", 3)
    monkeypatch.undo()
    with pytest.raises(EpisodeError, match="version 3, this program reads 'hoodcam-episode' version 1"):
        Episode.open(tmp_path / "a.parquet")


def test_what_a_later_version_says_more_of_an_episode_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.contract.episodes.columns.asdict", lambda header: asdict(header) | {"weather": "rain"})
    record(tmp_path / "a.parquet", 3)
    assert Episode.open(tmp_path / "a.parquet").header == HEADER


def test_a_header_with_a_flipped_letter_is_refused(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "killed.recording").read_bytes()
    path = tmp_path / "a.recording"
    path.write_bytes(whole.replace(b'"game": "carracing"', b'"game": "carrading"'))
    with pytest.raises(EpisodeError, match="header does not match its checksum"):
        Episode.open(path)


def test_a_picture_that_cannot_be_read_names_the_rows(folder: Path, tmp_path: Path) -> None:
    whole = bytearray((folder / "sealed.parquet").read_bytes())
    picture = Episode.open(folder / "sealed.parquet").encoded_frame(7)
    whole[whole.index(picture) + 40] ^= 1
    path = tmp_path / "a.parquet"
    path.write_bytes(whole)
    episode = Episode.open(path)
    assert episode.frame(4).index == 4
    with pytest.raises(EpisodeError, match="frames of rows 5 to 9 cannot be read"):
        episode.frame(7)
    assert episode.frame(10).index == 10


def test_an_existing_episode_is_never_overwritten(tmp_path: Path) -> None:
    path = record(tmp_path / "a.parquet", 3)
    before = path.read_bytes()
    with pytest.raises(EpisodeError, match="never overwritten"):
        EpisodeWriter(path, HEADER)
    assert path.read_bytes() == before


def test_a_leftover_recording_is_never_overwritten(tmp_path: Path) -> None:
    recording = kill(tmp_path / "a.parquet", 7)
    before = recording.read_bytes()
    with pytest.raises(EpisodeError, match="episodes repair"):
        EpisodeWriter(tmp_path / "a.parquet", HEADER)
    assert recording.read_bytes() == before


def test_recovering_never_overwrites(tmp_path: Path) -> None:
    recording = kill(tmp_path / "a.parquet", 7)
    (tmp_path / "a.parquet").write_bytes(b"another episode")
    with pytest.raises(EpisodeError, match="never overwritten"):
        recover(recording)
    assert (tmp_path / "a.parquet").read_bytes() == b"another episode"
    assert recording.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EpisodeError, match="cannot be created"):
        EpisodeWriter(tmp_path / "file" / "a.parquet", HEADER)


def test_other_telemetry_in_a_later_row_is_the_callers_mistake(tmp_path: Path) -> None:
    row = make_row(1)
    with EpisodeWriter(tmp_path / "a.parquet", HEADER) as writer:
        writer.write(make_row(0))
        with pytest.raises(ValueError, match="expected the same names"):
            writer.write(EpisodeRow(row.frame, row.controls, row.executed))
    assert_holds_rows(Episode.open(tmp_path / "a.parquet"), 1)


def full_disk(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_costs_one_second_and_recording_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EpisodeWriter(tmp_path / "a.parquet", HEADER) as writer:
        for index in range(9):
            writer.write(make_row(index))
        monkeypatch.setattr(os, "fsync", full_disk)
        with pytest.raises(EpisodeError, match="No space left on device"):
            writer.write(make_row(9))
        assert writer.rows == 5
        monkeypatch.undo()
        for index in range(10, 16):
            writer.write(make_row(index))
    assert list(Episode.open(tmp_path / "a.parquet").tick) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 15]


def test_a_disk_too_full_to_seal_keeps_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = EpisodeWriter(tmp_path / "a.parquet", HEADER)
    for index in range(10):
        writer.write(make_row(index))
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(EpisodeError, match="No space left on device"):
        writer.close()
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["a.recording"]
    assert_holds_rows(recover(tmp_path / "a.recording"), 10)


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_rate_is_refused(rate_hz: float) -> None:
    with pytest.raises(ValueError, match="rate_hz"):
        EpisodeHeader("game", "driver", rate_hz)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp"])
def test_a_picture_that_is_no_png_is_refused(tmp_path: Path, suffix: str) -> None:
    picture = cv2.imencode(suffix, make_row(0).frame.pixels[..., :3])[1].tobytes()
    with EpisodeWriter(tmp_path / "e.parquet", HEADER) as writer:
        writer.write(replace(encode_row(make_row(0)), picture=picture))
    with pytest.raises(EpisodeError, match=r"e\.parquet is damaged.*picture of row 0 cannot be decoded.*not a PNG"):
        Episode.open(tmp_path / "e.parquet").frame(0)


@pytest.mark.parametrize("name", ["steering", "t\x1b[2J"])
def test_a_column_that_is_there_twice_or_has_no_printable_name_is_refused(
    folder: Path, tmp_path: Path, name: str
) -> None:
    with pa.ipc.open_stream(folder / "killed.recording") as stream:
        table = stream.read_all()
    table = table.add_column(0, name, table["steering"])
    with pa.ipc.new_stream(tmp_path / "e.recording", table.schema) as stream:
        for batch in table.to_batches():
            stream.write_batch(batch, custom_metadata={b"crc32": str(zlib.crc32(batch.serialize())).encode()})
    with pytest.raises(EpisodeError, match="it has columns") as raised:
        Episode.open(tmp_path / "e.recording")
    assert str(raised.value).isprintable()


def test_what_a_library_says_of_bytes_of_the_file_is_printable(folder: Path, tmp_path: Path) -> None:
    data = bytearray((folder / "sealed.parquet").read_bytes())
    data[-8 - int.from_bytes(data[-8:-4], "little")] = 0x0F  # Thrift says that it does not know this type: \x0f
    (tmp_path / "e.parquet").write_bytes(data)
    with pytest.raises(EpisodeError, match="reading it as Parquet failed") as raised:
        Episode.open(tmp_path / "e.parquet")
    assert str(raised.value).isprintable()


def flip_a_picture(recording: Path, row: int) -> None:
    whole = bytearray(recording.read_bytes())
    whole[whole.index(Episode.open(recording).encoded_frame(row)) + 40] ^= 1
    recording.write_bytes(whole)


def test_rows_that_cannot_be_sealed_are_told_and_stay_in_the_recording(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path / "a.parquet", HEADER)
    for index in range(17):
        writer.write(make_row(index))
    flip_a_picture(tmp_path / "a.recording", 7)
    with pytest.raises(EpisodeError, match=r"a\.parquet has 5 of the 17 recorded rows.*a\.recording.*episodes repair"):
        writer.close()
    assert writer.rows == 5
    assert_holds_rows(Episode.open(tmp_path / "a.parquet"), 5)
    assert (tmp_path / "a.recording").exists()


def test_a_recording_of_which_nothing_can_be_sealed_stays_alone(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path / "a.parquet", HEADER)
    for index in range(17):
        writer.write(make_row(index))
    flip_a_picture(tmp_path / "a.recording", 2)
    with pytest.raises(EpisodeError, match="no half second of it can be read"):
        writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.recording"]


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
def test_a_recording_that_vanished_is_told(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path / "a.parquet", HEADER)
    writer.write(make_row(0))
    (tmp_path / "a.recording").unlink()
    with pytest.raises(EpisodeError, match=r"a\.recording cannot be read"):
        writer.close()


def test_a_recording_that_somebody_else_takes_hold_of_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.contract.episodes.writing.claim", lambda file: False)
    with pytest.raises(EpisodeError, match="locked by another program"):
        EpisodeWriter(tmp_path / "a.parquet", HEADER)
    assert list(tmp_path.iterdir()) == []


axis_sets = st.lists(st.sampled_from(sorted(set(AXIS_NAMES) - set(STANDARD_AXES))), unique=True).map(with_standard_axes)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(axes=axis_sets, data=st.data())
def test_any_axes_come_back_as_they_were_recorded(axes: tuple[str, ...], data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.parquet"
    number = st.floats(-4, 4, width=32)
    rows = data.draw(st.lists(st.tuples(*[number] * len(AXIS_NAMES)), min_size=1, max_size=4))
    with EpisodeWriter(path, replace(HEADER, axes=axes)) as writer:
        for values in rows:
            controls = Controls(*values)
            writer.write(replace(make_row(writer.rows), controls=controls, executed=controls.clip()))
    episode = Episode.open(path)
    assert episode.header.axes == axes
    np.testing.assert_array_equal(episode.controls, np.array([Controls(*row).to_array(axes) for row in rows]))
    np.testing.assert_array_equal(episode.executed, np.array([Controls(*row).clip().to_array(axes) for row in rows]))
    np.testing.assert_array_equal(episode.labels(axes), episode.controls)


def test_an_episode_with_a_further_axis_is_of_another_version_and_recovers(tmp_path: Path) -> None:
    header = replace(HEADER, axes=("steering", "throttle", "brake", "handbrake"))
    writer = EpisodeWriter(tmp_path / "a.parquet", header)
    for index in range(10):
        row = make_row(index)
        writer.write(replace(row, controls=replace(row.controls, handbrake=index / 16)))
    writer._file.close()
    episode = recover(tmp_path / "a.recording")
    assert episode.header == header
    assert episode.labels(["handbrake", "steering"]).tolist() == [[index / 16, index / 64] for index in range(10)]
    about = json.loads(pq.read_schema(tmp_path / "a.parquet").metadata[b"hoodcam"])
    assert about["version"] == 2  # which versions that know three axes refuse, where they would call this damaged


def test_the_label_of_a_signed_pedal_is_throttle_less_brake(folder: Path) -> None:
    episode = Episode.open(folder / "sealed.parquet")
    expected = episode.controls[:, 1] - episode.controls[:, 2]
    np.testing.assert_array_equal(episode.labels(["pedal", "steering"]).T, [expected, episode.controls[:, 0]])


def test_a_label_that_was_not_recorded_is_told_with_what_was(folder: Path) -> None:
    with pytest.raises(EpisodeError, match=r"no handbrake: it was recorded with steering, throttle, brake\. Record"):
        Episode.open(folder / "sealed.parquet").labels(["steering", "handbrake"])


def test_an_axis_of_a_later_version_is_read_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(Controls):
        def to_array(self, outputs: Sequence[str] | None = None) -> npt.NDArray[np.float32]:
            return np.arange(len(outputs or ()), dtype=np.float32)

    monkeypatch.setattr("agent.contract.episodes.writing.AXIS_NAMES", (*AXIS_NAMES, "clutch"))
    with EpisodeWriter(tmp_path / "a.parquet", replace(HEADER, axes=(*STANDARD_AXES, "clutch"))) as writer:
        writer.write(replace(make_row(0), controls=Later(), executed=Later()))
    monkeypatch.undo()
    assert Episode.open(tmp_path / "a.parquet").controls.tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    "axes", [("steering",), (*STANDARD_AXES, "brake"), (*STANDARD_AXES, "speed"), (*STANDARD_AXES, "executed_brake")]
)
def test_axes_that_make_no_columns_are_refused(axes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"axes are|an axis is named"):
        replace(HEADER, axes=axes)


def test_an_axis_that_is_not_in_the_table_cannot_be_recorded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no axis 'clutch' to record"):
        EpisodeWriter(tmp_path / "a.parquet", replace(HEADER, axes=(*STANDARD_AXES, "clutch")))


@pytest.mark.skipif(os.name == "nt", reason="Windows syncs no folders")
def test_an_episodes_names_are_on_the_disk_as_soon_as_it_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is synced is lost in a power cut all the same while its folder does not know its name."""
    held: list[set[str]] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        if os.fstat(descriptor).st_ino == tmp_path.stat().st_ino:
            held.append({path.name for path in tmp_path.iterdir()})
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    with EpisodeWriter(tmp_path / "race.parquet", HEADER) as writer:
        assert held == [{"race.recording"}]
        writer.write(make_row(0))
    assert "race.parquet" in held[1]


def test_an_episode_is_named_after_game_track_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.contract.episodes.columns.time.strftime", lambda *_: "20261025-020000")
    assert timed_path(tmp_path, "pond").name == "pond-20261025-020000.parquet"
    path = timed_path(tmp_path, "pond", 7, "kept")
    assert path == tmp_path / "pond-7-20261025-020000-kept.parquet"
    path.touch()
    assert timed_path(tmp_path, "pond", 7, "kept").name == "pond-7-20261025-020000-kept-2.parquet"


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    assert unused_path(tmp_path, "a").name == "a.parquet"
    (tmp_path / "a.parquet").touch()
    (tmp_path / "a-2.recording").touch()
    assert unused_path(tmp_path, "a").name == "a-3.parquet"
