"""Which episodes a training takes, and what it says of what it does not take."""

import sys
from pathlib import Path

import pytest

from agent.contract.errors import TrainingError
from agent.contract.locks import claim
from training.data.finding import find_episodes


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not looked into")


def found(*entries: Path) -> tuple[list[str], list[str]]:
    notes: list[str] = []
    return [path.name for path in find_episodes(entries, notes.append)], notes


def test_folders_and_single_files_are_taken(tmp_path: Path) -> None:
    make(tmp_path, "a/2.parquet", "a/1.parquet", "b/3.parquet", "b/4.parquet")
    assert found(tmp_path / "a", tmp_path / "b" / "4.parquet") == (["1.parquet", "2.parquet", "4.parquet"], [])


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there that few users have")
def test_what_is_named_twice_counts_once_and_is_told(tmp_path: Path) -> None:
    make(tmp_path, "a/1.parquet", "a/2.parquet")
    (tmp_path / "same").symlink_to(tmp_path / "a")
    names, notes = found(tmp_path / "a", tmp_path / "same", tmp_path / "a" / "1.parquet")
    assert names == ["1.parquet", "2.parquet"]
    assert [note.partition(": ")[2] for note in notes] == [
        "2 episodes were named before, and count once",
        "1 episodes were named before, and count once",
    ]


def test_hidden_files_are_left_alone(tmp_path: Path) -> None:
    make(tmp_path, "._1.parquet", "1.parquet", ".cache/2.parquet", "._3.recording")
    assert found(tmp_path) == (["1.parquet"], [])


def test_a_recording_beside_episodes_is_told(tmp_path: Path) -> None:
    make(tmp_path, "1.parquet", "1.recording", "2.recording", "3.recording")
    with (tmp_path / "3.recording").open("rb+") as file:
        assert claim(file)
        names, notes = found(tmp_path)
    assert names == ["1.parquet"]
    assert len(notes) == 2
    assert "2.recording was never sealed, and is left out. Run `python -m agent episodes repair` on it" in notes[0]
    assert "3.recording is being recorded" in notes[1]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("nowhere", r"nowhere does not exist.*Check the path"),
        ("empty", r"empty holds no episodes.*`python -m agent record --game karts --out .*empty`"),
        ("above", r"above holds no episodes.*2 folders \(a, b\) with some.*`--data .*above[/\\]a .*above[/\\]b`"),
        ("cut", r"cut holds no episodes.*1 recording \(1\.recording\) never sealed.*episodes repair"),
        ("cut/1.recording", r"1\.recording was never sealed.*episodes repair"),
        ("above/notes.txt", r"notes\.txt is no episode, expected a file ending in \.parquet"),
    ],
)
def test_what_holds_no_episodes_is_told_with_what_it_is(tmp_path: Path, entry: str, message: str) -> None:
    make(tmp_path, "above/a/1.parquet", "above/b/1.parquet", "above/c/1.txt", "above/notes.txt", "cut/1.recording")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match=message):
        find_episodes([tmp_path / entry], game="karts")


def test_names_in_upper_case_are_names_like_any(tmp_path: Path) -> None:
    make(tmp_path, "1.PARQUET", "2.parquet", "3.Recording")
    names, notes = found(tmp_path)
    assert names == ["1.PARQUET", "2.parquet"]
    assert len(notes) == 1
    assert "3.Recording was never sealed" in notes[0]
    assert found(tmp_path / "1.PARQUET") == (["1.PARQUET"], [])
