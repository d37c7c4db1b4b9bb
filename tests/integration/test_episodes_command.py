"""Episodes looked through and put right: `python -m agent episodes info|verify|repair`."""

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agent.cli import main
from agent.contract.controls import Controls
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.edits import edits_path, read_edits, write_edits
from agent.contract.episodes.reading import Episode
from agent.contract.episodes.sealing import recover
from agent.contract.episodes.writing import EpisodeWriter, encode_row
from agent.contract.errors import EpisodeError
from agent.contract.locks import claimed, is_claimed
from agent.contract.observation import Frame
from agent.sessions.repair_episodes import find_episodes, repair

HEADER = EpisodeHeader("carracing", "expert", rate_hz=10.0)


def make_row(index: int, captured_ns: int | None = None) -> EpisodeRow:
    """Return a row whose pixels and controls tell its index."""
    pixels = np.random.default_rng(index).integers(0, 256, (12, 16, 3), np.uint8)
    frame = Frame(pixels, index * 100_000_000 if captured_ns is None else captured_ns, index)
    return EpisodeRow(frame, Controls(index / 256), Controls(-index / 256))


def record(path: Path, rows: int = 23) -> Path:
    with EpisodeWriter(path, HEADER) as writer:
        for index in range(rows):
            writer.write(make_row(index))
    return path


def kill(path: Path, rows: int = 23) -> Path:
    """Return what a killed recording of so many rows leaves behind: whole half seconds, 20 rows of 23."""
    writer = EpisodeWriter(path, HEADER)
    for index in range(rows):
        writer.write(make_row(index))
    writer._file.close()
    return path.with_suffix(".recording")


def damage(path: Path, row: int) -> Path:
    """Flip a bit in the picture of a row."""
    whole = bytearray(path.read_bytes())
    whole[whole.index(Episode.open(path).encoded_frame(row)) + 40] ^= 1
    path.write_bytes(whole)
    return path


def assert_holds(path: Path, indices: list[int]) -> None:
    """Assert that an episode has these rows, pictures and controls of the same one."""
    episode = Episode.open(path)
    assert episode.tick.tolist() == indices
    for row, index in enumerate(indices):
        expected = make_row(index)
        np.testing.assert_array_equal(episode.frame(row).pixels, expected.frame.pixels)
        np.testing.assert_array_equal(episode.controls[row], expected.controls.to_array())
        np.testing.assert_array_equal(episode.executed[row], expected.executed.to_array())


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, Any]]:
    code = main(["episodes", *argv, "--json"])
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, report


def repair_twice(capsys: pytest.CaptureFixture[str], folder: Path) -> tuple[int, list[str]]:
    """Repair a folder; assert that doing it again changes nothing and has nothing to say; return code and deeds."""
    code, report = run(capsys, "repair", str(folder))
    after = contents(folder)
    again = run(capsys, "repair", str(folder))
    assert again[1]["repairs"] == []
    assert again[0] == 0
    assert contents(folder) == after
    return code, [each["deed"] for each in report["repairs"]]


def test_sound_episodes_are_sound_and_stay_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "a.parquet")
    record(tmp_path / "b.parquet", 3)
    before = contents(tmp_path)
    code, report = run(capsys, "verify", str(tmp_path))
    assert code == 0
    first, second = report["episodes"]
    assert (first["verdict"], first["problems"], first["rows"], first["seconds"]) == ("sound", [], 23, 2.2)
    assert (second["rows"], second["width_px"], second["height_px"], second["game"]) == (3, 16, 12, "carracing")
    assert repair_twice(capsys, tmp_path) == (0, [])
    assert contents(tmp_path) == before


def test_a_recording_that_was_cut_off_is_sealed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kill(tmp_path / "a.parquet")
    (tmp_path / "a.sealing").write_bytes(b"killed while it was sealed")
    code, report = run(capsys, "verify", str(tmp_path))
    assert (code, report["episodes"][0]["verdict"], report["episodes"][0]["rows"]) == (1, "cut off", 20)
    assert repair_twice(capsys, tmp_path) == (0, ["sealed as a.parquet, 20 rows"])
    assert_holds(tmp_path / "a.parquet", list(range(20)))
    assert list(contents(tmp_path)) == ["a.parquet"]
    assert run(capsys, "verify", str(tmp_path))[0] == 0


def test_what_cannot_be_read_of_a_recording_is_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = kill(tmp_path / "a.parquet")
    recording.write_bytes(recording.read_bytes()[:-300])
    code, (deed,) = repair_twice(capsys, tmp_path)
    assert (code, deed) == (
        0,
        "sealed as a.parquet, 15 rows; what could not be read is in a.recording.damaged",
    )
    assert_holds(tmp_path / "a.parquet", list(range(15)))
    assert set(contents(tmp_path)) == {"a.parquet", "a.recording.damaged"}


def test_a_recording_of_nothing_is_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.recording").write_bytes(b"")
    (tmp_path / "b.recording").write_bytes(b"no recording at all")
    code, deeds = repair_twice(capsys, tmp_path)
    assert code == 1
    assert [deed.split(":")[0] for deed in deeds] == [
        "set aside as a.recording.damaged",
        "set aside as b.recording.damaged",
    ]


def test_a_kill_between_sealing_and_tidying_up_leaves_one_episode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both are one recording, which began at one moment; a file's header has its second.
    began = time.gmtime()
    monkeypatch.setattr("agent.contract.episodes.columns.time.gmtime", lambda: began)
    kill(tmp_path / "a.parquet")
    record(tmp_path / "whole" / "a.parquet", 20)
    shutil.move(tmp_path / "whole" / "a.parquet", tmp_path / "a.parquet")
    (tmp_path / "whole").rmdir()
    code, deeds = repair_twice(capsys, tmp_path)
    assert (code, deeds) == (0, ["was sealed as a.parquet before: removed"])
    assert_holds(tmp_path / "a.parquet", list(range(20)))


def test_a_sealed_file_that_holds_less_gives_way_to_its_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kill(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    code, (deed,) = repair_twice(capsys, tmp_path)
    assert code == 0
    assert deed.startswith("sealed as a.parquet, 20 rows")
    assert_holds(tmp_path / "a.parquet", list(range(20)))
    assert (tmp_path / "a.parquet.damaged").read_bytes() == b"PAR1 and no more"


def test_damage_costs_the_half_second_it_is_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = damage(record(tmp_path / "a.parquet"), row=7)
    before = path.read_bytes()
    code, report = run(capsys, "verify", str(tmp_path))
    (found,) = report["episodes"]
    assert (code, found["verdict"]) == (1, "damaged")
    assert "frames of rows 5 to 9 cannot be read" in found["problems"][0]
    assert len(found["problems"]) == 1, "said once for the five of them"
    code, deeds = repair_twice(capsys, tmp_path)
    assert (code, deeds) == (0, ["18 rows kept, 5 lost; the damaged file is a.parquet.damaged"])
    assert_holds(path, [*range(5), *range(10, 23)])
    assert (tmp_path / "a.parquet.damaged").read_bytes() == before


def test_a_sealed_file_cut_short_is_set_aside_and_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = record(tmp_path / "a.parquet")
    path.write_bytes(path.read_bytes()[:-200])
    code, (deed,) = repair_twice(capsys, tmp_path)
    assert code == 1
    assert deed.startswith("set aside as a.parquet.damaged: ")
    assert list(contents(tmp_path)) == ["a.parquet.damaged"]


def test_files_of_another_version_are_told_and_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.contract.episodes.columns.FORMAT_VERSION", 3)
    record(tmp_path / "sealed.parquet")
    kill(tmp_path / "killed.parquet")
    record(tmp_path / "both.parquet")
    monkeypatch.undo()
    kill(tmp_path / "theirs.parquet")
    (tmp_path / "theirs.recording").rename(tmp_path / "both.recording")
    before = contents(tmp_path)
    code, report = run(capsys, "verify", str(tmp_path))
    assert code == 1
    assert [each["verdict"] for each in report["episodes"]] == ["foreign", "cut off", "foreign", "foreign"]
    code, report = run(capsys, "repair", str(tmp_path))
    assert code == 1
    assert [each["deed"].partition(":")[0] for each in report["repairs"]] == ["left alone"] * 4
    assert contents(tmp_path) == before


def test_oddities_are_told_and_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with EpisodeWriter(tmp_path / "a.parquet", HEADER) as writer:
        for index, time_ns in enumerate((0, 100_000_000, 50_000_000, 200_000_000)):
            writer.write(make_row(index, time_ns))
        frame = make_row(9).frame
        writer.write(EpisodeRow(frame, Controls(0.0, -0.5), Controls()))
    before = contents(tmp_path)
    code, report = run(capsys, "verify", str(tmp_path))
    (found,) = report["episodes"]
    assert (code, found["verdict"], found["missing"]) == (1, "odd", 5)
    assert found["problems"] == [
        "time goes backwards at row 2 (1 times)",
        "throttle (label) is -0.5 at row 4 (1 times), expected 0 to 1",
    ]
    code, report = run(capsys, "repair", str(tmp_path))
    assert (code, len(report["repairs"])) == (1, 1)
    assert contents(tmp_path) == before


def test_a_recording_that_goes_on_can_be_read_and_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with EpisodeWriter(tmp_path / "a.parquet", HEADER) as writer:
        for index in range(13):
            writer.write(make_row(index))
        before = contents(tmp_path)
        code, report = run(capsys, "verify", str(tmp_path))
        (found,) = report["episodes"]
        assert (code, found["verdict"], found["rows"]) == (0, "being recorded", 10)
        code, report = run(capsys, "repair", str(tmp_path))
        deed = "is being recorded, or repaired by another program: left alone"
        assert (code, report["repairs"][0]["deed"]) == (0, deed)
        assert contents(tmp_path) == before
        for index in range(13, 23):
            writer.write(make_row(index))
    assert_holds(tmp_path / "a.parquet", list(range(23)))


def test_two_recorders_in_one_folder_do_not_meet(tmp_path: Path) -> None:
    with (
        EpisodeWriter(tmp_path / "a.parquet", HEADER) as first,
        EpisodeWriter(tmp_path / "b.parquet", HEADER) as second,
    ):
        with pytest.raises(EpisodeError, match="still going on"):
            EpisodeWriter(tmp_path / "a.parquet", HEADER)
        for index in range(23):
            first.write(make_row(index))
            second.write(make_row(2 * index))
    assert_holds(tmp_path / "a.parquet", list(range(23)))
    assert_holds(tmp_path / "b.parquet", list(range(0, 46, 2)))


def test_any_flipped_bit_is_found_or_harmless(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = record(tmp_path / "whole.parquet").read_bytes()
    rng = np.random.default_rng(0)
    for flip in range(150):
        path = tmp_path / f"{flip}.parquet"
        broken = bytearray(whole)
        broken[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(broken)
        if run(capsys, "verify", str(path))[0] == 0:
            assert_holds(path, list(range(23)))
        path.unlink()


def test_pictures_that_nobody_was_to_record_are_not_counted_as_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A game that draws twice as often as it is driven lacked half of its rows, it was said."""
    with EpisodeWriter(tmp_path / "a.parquet", HEADER) as writer:
        period_ns = round(1e9 / HEADER.rate_hz)
        for index in (0, 1, 2, 3, 6, 7):
            late_ns = (index % 3) * period_ns // 8
            row = make_row(index, index * period_ns + late_ns)
            writer.write(replace(row, frame=replace(row.frame, index=2 * index + index % 2)))
    _, report = run(capsys, "info", str(tmp_path))
    (found,) = report["episodes"]
    assert found["missing"] == 2
    assert found["verdict"] == "sound"


def test_the_table_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(record(tmp_path / "a.parquet"), row=7)
    record(tmp_path / "b.parquet")
    assert main(["episodes", "info", str(tmp_path)]) == 0, "info reads the first picture alone"
    assert main(["episodes", "verify", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "rows 5 to 9 cannot be read" in out
    assert "2 episodes, 46 rows" in out


@pytest.mark.parametrize(
    ("name", "message"), [("a.txt", "not an episode by its name"), ("a.parquet", "does not exist")]
)
def test_paths_that_are_none(name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").touch()
    assert main(["episodes", "info", str(tmp_path / name)]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("action", ["info", "verify", "repair", "apply", "drop"])
def test_a_folder_without_episodes_is_told(action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It was a table of nothing and success, also for a folder that was meant otherwise."""
    (tmp_path / "a.txt").touch()
    (tmp_path / ".b.parquet").touch()
    assert main(["episodes", action, str(tmp_path)]) == 1
    output = capsys.readouterr()
    assert output.err == (
        f"error: {tmp_path} holds no episodes (.parquet) and no recordings (.recording), also not in its folders. "
        "Check the path.\n"
    )
    assert not output.out


def test_a_folder_that_is_named_like_an_episode_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.parquet").mkdir()
    code, deeds = run(capsys, "repair", str(tmp_path))
    assert code == 1
    (deed,) = deeds["repairs"]
    assert deed["deed"].startswith("left alone: ")
    assert "is not a plain file" in deed["deed"]


def test_rows_behind_damage_are_never_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = EpisodeWriter(tmp_path / "a.parquet", HEADER)
    for index in range(23):
        writer.write(make_row(index))
    damage(tmp_path / "a.recording", row=7)
    with pytest.raises(EpisodeError, match="5 of the 23 recorded rows"):
        writer.close()
    before = (tmp_path / "a.recording").read_bytes()
    code, deeds = repair_twice(capsys, tmp_path)
    assert (code, deeds) == (
        0,
        ["was sealed as a.parquet before; what could not be read is in a.recording.damaged"],
    )
    assert_holds(tmp_path / "a.parquet", list(range(5)))
    assert (tmp_path / "a.recording.damaged").read_bytes() == before


@pytest.mark.parametrize("sealed_rows", [23, 10])
@pytest.mark.parametrize("created", ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])
def test_another_drive_of_the_same_name_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, sealed_rows: int, created: str
) -> None:
    """In lockstep every drive begins at the time 0; of one second only the rows tell them apart."""
    monkeypatch.setattr("time.strftime", lambda *args: "2026-01-01T00:00:00Z")
    record(tmp_path / "a.parquet", sealed_rows)
    monkeypatch.setattr("time.strftime", lambda *args: created)
    writer = EpisodeWriter(tmp_path / "other.parquet", HEADER)
    for index in range(20):
        row = make_row(index)
        writer.write(row if created.startswith("2026-01-02") else EpisodeRow(row.frame, Controls(-1.0), Controls()))
    writer._file.close()
    (tmp_path / "other.recording").rename(tmp_path / "a.recording")
    before = contents(tmp_path)
    code, report = run(capsys, "repair", str(tmp_path))
    assert code == 1
    (found,) = report["repairs"]
    assert found["deed"].startswith("left alone: the a.parquet beside it is of another drive")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("held", ["a.recording", "a.parquet"])
def test_what_another_repair_holds_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str], held: str) -> None:
    kill(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    before = contents(tmp_path)
    with claimed(tmp_path / held) as mine:
        assert mine
        code, report = run(capsys, "repair", str(tmp_path))
    assert (code, {each["deed"].rpartition(": ")[2] for each in report["repairs"]}) == (0, {"left alone"})
    assert contents(tmp_path) == before


def test_a_repair_holds_what_it_works_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = kill(tmp_path / "a.parquet")
    seen = []

    def look(path: Path) -> Episode:
        seen.append(is_claimed(path))
        return recover(path)

    monkeypatch.setattr("agent.sessions.repair_episodes.recover", look)
    assert repair(recording).deed == "sealed as a.parquet, 20 rows"
    assert seen == [True]


def test_what_may_not_be_opened_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = kill(tmp_path / "a.parquet")

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("agent.sessions.repair_episodes.claimed", refuse)
    done = repair(recording)
    assert done.failed
    assert "Permission denied" in done.deed
    assert "user who recorded it" in done.deed
    assert list(contents(tmp_path)) == ["a.recording"]


def test_a_recording_that_may_only_be_read_is_seen_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EpisodeWriter(tmp_path / "a.parquet", HEADER) as writer:
        writer.write(make_row(0))
        opened = open

        def read_only(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if set(mode) & set("wax+"):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return opened(path, mode, *args, **kwargs)

        monkeypatch.setattr("builtins.open", read_only)
        assert is_claimed(tmp_path / "a.recording")
        monkeypatch.undo()


def test_a_full_disk_sets_no_recording_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = kill(tmp_path / "a.parquet")

    def full_disk(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    done = repair(recording)
    assert done.failed
    assert "No space left on device" in done.deed
    assert list(contents(tmp_path)) == ["a.recording"]


def resize(path: Path) -> None:
    with EpisodeWriter(path, HEADER) as writer:
        for index in range(12):
            row = make_row(index)
            shape = (12, 16, 3) if index < 7 else (14, 18, 3)
            writer.write(EpisodeRow(Frame(np.full(shape, index, np.uint8), index, index), row.controls, row.executed))


def write_pictures(path: Path, **pictures: bytes) -> EpisodeWriter:
    """Write 12 rows of which some have other bytes for a picture, and leave the recording open."""
    writer = EpisodeWriter(path, HEADER)
    for index in range(12):
        row = encode_row(make_row(index))
        writer.write(replace(row, picture=pictures.get(f"row_{index}", row.picture)))
    return writer


def seal_without_checks(path: Path, column: str, row: int) -> None:
    """Put a NaN into a column of a sealed file; its checksums hold."""
    file = pq.ParquetFile(record(path))
    groups = [file.read_row_group(index) for index in range(file.num_row_groups)]
    with pq.ParquetWriter(path, file.schema_arrow, write_page_checksum=True) as writer:
        for number, group in enumerate(groups):
            values = group[column].to_numpy().copy()
            if number == row // 5:
                values[row % 5] = np.nan
            place = group.schema.get_field_index(column)
            writer.write_table(group.set_column(place, group.schema.field(column), pa.array(values, pa.float32())))


def refuse_header(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.contract.episodes.columns.asdict", lambda header: {"rate_hz": -1.0})
    record(path)
    monkeypatch.undo()


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


DAMAGES: dict[str, Callable[[Path, pytest.MonkeyPatch], Any]] = {
    "another size": lambda path, _: resize(path),
    "no PNG, sealed": lambda path, _: write_pictures(path, row_7=b"no picture").close(),
    "no picture, sealed": lambda path, _: write_pictures(path, row_7=b"").close(),
    "no PNG, killed": lambda path, _: write_pictures(path, row_7=b"no picture")._file.close(),
    "no picture at all, killed": lambda path, _: write_pictures(
        path, **{f"row_{row}": b"" for row in range(12)}
    )._file.close(),
    "NaN": lambda path, _: seal_without_checks(path, "steering", 7),
    "header": refuse_header,
    "cut": lambda path, _: cut(record(path), -200),
    "recording cut": lambda path, _: cut(kill(path), -300),
    "empty": lambda path, _: path.write_bytes(b""),
    "picture": lambda path, _: damage(record(path), 7),
    "both": lambda path, _: (damage(kill(path), 7), damage(record(path.with_name("b.parquet")), 7).rename(path)),
    "nothing of the recording": lambda path, _: (
        damage(record(path), 7),
        path.with_suffix(".recording").write_bytes(b"no recording at all"),
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_repairing_again_changes_nothing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # One second for all: files of two seconds are two drives, and left alone beside each other.
    monkeypatch.setattr("agent.contract.episodes.columns.time.strftime", lambda *_: "2026-11-27T20:00:00Z")
    DAMAGES[name](tmp_path / "a.parquet", monkeypatch)
    first = run(capsys, "repair", str(tmp_path))
    after = contents(tmp_path)
    run(capsys, "repair", str(tmp_path))
    assert contents(tmp_path) == after, first
    verdicts = [each["verdict"] for each in run(capsys, "verify", str(tmp_path))[1]["episodes"]]
    assert "damaged" not in verdicts
    assert "cut off" not in verdicts
    assert verdicts == (["odd"] if name == "another size" else ["sound"] * len(verdicts))


@pytest.mark.parametrize("suffix", [".parquet", ".recording"])
def test_repairing_again_changes_nothing_for_any_flipped_bit(tmp_path: Path, suffix: str) -> None:
    kill(tmp_path / "killed.parquet")
    record(tmp_path / "sealed.parquet")
    whole = (tmp_path / ("sealed.parquet" if suffix == ".parquet" else "killed.recording")).read_bytes()
    rng = np.random.default_rng(1)
    for flip in range(30):
        folder = tmp_path / str(flip)
        folder.mkdir()
        broken = bytearray(whole)
        broken[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        (folder / f"a{suffix}").write_bytes(broken)
        for path in find_episodes([folder]):
            repair(path)
        after = contents(folder)
        for path in find_episodes([folder]):
            repair(path)
        assert contents(folder) == after


def test_names_in_upper_case_are_looked_at_and_repaired_like_any(tmp_path: Path) -> None:
    record(tmp_path / "1.parquet").rename(tmp_path / "1.PARQUET")
    kill(tmp_path / "2.parquet").rename(tmp_path / "2.RECORDING")
    damage(record(tmp_path / "3.parquet"), 12).rename(tmp_path / "3.PARQUET")
    found = find_episodes([tmp_path])
    assert [path.name for path in found] == ["1.PARQUET", "2.RECORDING", "3.PARQUET"]
    assert [bool(repair(path).deed) for path in found] == [False, True, True]
    assert len(Episode.open(tmp_path / "2.parquet")) == 20
    assert main(["episodes", "verify", str(tmp_path)]) == 0


def test_hidden_files_are_nobodys_episodes(tmp_path: Path) -> None:
    record(tmp_path / "1.parquet")
    (tmp_path / "._1.parquet").write_bytes(b"what macOS leaves on a foreign disk")
    assert main(["episodes", "repair", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["._1.parquet", "1.parquet"]


def test_what_was_deleted_on_the_shelf_is_not_looked_at(tmp_path: Path) -> None:
    kept, gone = record(tmp_path / ".day" / "kept.parquet"), record(tmp_path / ".day" / ".deleted" / "gone.parquet")
    assert find_episodes([tmp_path / ".day"]) == [kept]
    assert find_episodes([gone]) == [gone], "it was named"


def test_applied_edits_take_the_bad_rows_out_and_the_whole_episode_is_kept(tmp_path: Path) -> None:
    path, other = record(tmp_path / "a.parquet"), record(tmp_path / "b.parquet")
    write_edits(path, [(3, 12), (22, 22)], 23)
    before = contents(tmp_path)
    assert main(["episodes", "apply", str(tmp_path)]) == 0
    assert_holds(path, [0, 1, 2, *range(13, 22)])
    assert Episode.open(path).header == Episode.open(other).header
    after = contents(tmp_path)
    assert after.keys() == {"a.parquet", "b.parquet", ".deleted/a.parquet", ".deleted/a.edits.json"}
    for name in ("a.parquet", "a.edits.json"):
        assert after[f".deleted/{name}"] == before[name]
    assert after["b.parquet"] == before["b.parquet"]
    assert main(["episodes", "apply", str(tmp_path)]) == 0
    assert contents(tmp_path) == after
    assert main(["episodes", "verify", str(tmp_path)]) == 0


def test_dropped_edits_are_gone_and_the_episode_stays(tmp_path: Path) -> None:
    path = record(tmp_path / "a.parquet")
    before = contents(tmp_path)
    write_edits(path, [(3, 12)], 23)
    assert main(["episodes", "drop", str(tmp_path)]) == 0
    assert contents(tmp_path) == before
    edits_path(path).write_text("[")
    assert main(["episodes", "drop", str(tmp_path)]) == 0
    assert contents(tmp_path) == before


@pytest.mark.parametrize("why", ["all rows are bad", "one was deleted before", "the list is damaged"])
def test_edits_that_cannot_be_applied_change_nothing(tmp_path: Path, why: str) -> None:
    path = record(tmp_path / "a.parquet")
    write_edits(path, [(0, 22 if why == "all rows are bad" else 3)], 23)
    if why == "one was deleted before":
        record(tmp_path / ".deleted" / "a.parquet", 5)
    if why == "the list is damaged":
        edits_path(path).write_text("[")
    before = contents(tmp_path)
    assert main(["episodes", "apply", str(tmp_path)]) == 1
    assert contents(tmp_path) == before


@pytest.mark.parametrize("step", ["cut", "_copy", "os.rename", "os.replace"])
def test_wherever_applying_is_interrupted_the_whole_episode_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = record(tmp_path / "a.parquet")
    write_edits(path, [(3, 12)], 23)

    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "no space left", str(path))

    with monkeypatch.context() as broken:
        broken.setattr(f"agent.sessions.apply_edits.{step}", fail)
        assert main(["episodes", "apply", str(path)]) == 1
    assert_holds(path, list(range(23)))
    assert read_edits(path, 23) == ((3, 12),)
    assert not any(name.startswith(".a") for name in contents(tmp_path))
    assert main(["episodes", "apply", str(path)]) == 0
    assert_holds(path, [0, 1, 2, *range(13, 23)])
    assert_holds(tmp_path / ".deleted" / "a.parquet", list(range(23)))


def test_where_a_disk_has_no_second_names_the_whole_episode_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = record(tmp_path / "a.parquet")
    write_edits(path, [(3, 12)], 23)

    def refuse(*arguments: object) -> None:
        raise OSError(errno.EPERM, "no second names")

    monkeypatch.setattr("os.link", refuse)
    assert main(["episodes", "apply", str(path)]) == 0
    assert_holds(tmp_path / ".deleted" / "a.parquet", list(range(23)))
    assert len(Episode.open(path)) == 13
