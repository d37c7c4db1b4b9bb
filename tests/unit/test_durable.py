"""A folder that is replaced as a whole, killed at every step of it."""

import errno
import itertools
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.contract.durable import find_folder, replace_file, replace_folder, replacing

STEPS = 8
_NOBODY = 999_999_999  # no process has this number: Linux gives 2**22 at most


class Killed(BaseException):
    """Stands for the end of the process."""


class Dying:
    """Lets so many steps on the disk happen, then raises; a tree that is being removed is left half removed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
        self.left = steps
        rmtree = shutil.rmtree

        def half_remove(folder: Path, ignore_errors: bool) -> None:
            if not folder.exists():
                return
            self.step()
            for path in sorted(folder.iterdir())[:1]:
                path.unlink()
            self.step()
            rmtree(folder)

        monkeypatch.setattr(shutil, "rmtree", half_remove)
        for name in ("mkdir", "rename"):
            monkeypatch.setattr(Path, name, self.counted(getattr(Path, name)))

    def counted(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            self.step()
            return operation(*arguments, **options)

        return run

    def step(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1

    def write(self, text: str) -> Callable[[Path], None]:
        def write(folder: Path) -> None:
            for name in ("first", "second"):
                self.step()
                (folder / name).write_text(text)

        return write


def save(folder: Path, text: str, steps: int) -> bool:
    """Replace the folder by one that says ``text`` until so many steps are done; returns whether that was all."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        dying = Dying(monkeypatch, steps)
        try:
            replace_folder(folder, dying.write(text))
        except Killed:
            return False
    return True


def content(folder: Path) -> str:
    found = find_folder(folder)
    assert found is not None
    texts = {(found / name).read_text() for name in ("first", "second")}
    assert len(texts) == 1
    return texts.pop()


def test_there_is_none_before_the_first() -> None:
    assert find_folder(Path("nowhere") / "checkpoint") is None


@pytest.mark.parametrize(("second", "third"), list(itertools.product(range(STEPS), repeat=2)))
def test_a_kill_at_any_step_of_two_saves_leaves_a_whole_one(tmp_path: Path, second: int, third: int) -> None:
    folder = tmp_path / "checkpoint"
    assert save(folder, "1", 1000)
    finished = save(folder, "2", second)
    assert not finished or second == STEPS - 1, "STEPS covers every step"
    kept = content(folder)
    assert kept in ("1", "2")
    save(folder, "3", third)
    assert content(folder) in (kept, "3")
    assert save(folder, "4", 1000)
    assert content(folder) == "4"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


class Disk:
    """Notes what would survive a power cut: files and folders that were synced since they changed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: set[int] = set()
        self.removed: list[tuple[str, bool]] = []
        fsync, rename, rmtree = os.fsync, Path.rename, shutil.rmtree

        def noted_fsync(descriptor: int) -> None:
            self.synced.add(os.fstat(descriptor).st_ino)
            fsync(descriptor)

        def noted_rename(path: Path, target: Path) -> Path:
            self.synced.discard(path.parent.stat().st_ino)
            return rename(path, target)

        def noted_rmtree(folder: Path, ignore_errors: bool) -> None:
            if folder.exists():
                self.removed.append((folder.name, folder.parent.stat().st_ino in self.synced))
            rmtree(folder, ignore_errors=ignore_errors)

        monkeypatch.setattr(os, "fsync", noted_fsync)
        monkeypatch.setattr(Path, "rename", noted_rename)
        monkeypatch.setattr(shutil, "rmtree", noted_rmtree)

    def holds(self, path: Path) -> bool:
        return path.stat().st_ino in self.synced


@pytest.mark.skipif(os.name == "nt", reason="Windows syncs no folders")
def test_the_old_folder_goes_when_the_new_one_would_survive_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "checkpoint"

    def write(to: Path) -> None:
        (to / "inner").mkdir()
        (to / "weights").write_text("new")
        (to / "inner" / "history").write_text("new")

    replace_folder(folder, write)
    disk = Disk(monkeypatch)
    replace_folder(folder, write)
    assert disk.removed == [("checkpoint.old", True)], "renamed, synced, and only then removed"
    for path in (folder / "weights", folder / "inner" / "history", folder / "inner", folder):
        assert disk.holds(path), path


def test_a_file_takes_its_name_once_its_bytes_are_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, disk = tmp_path / "spec.json", Disk(monkeypatch)
    replace_file(path, "{}")
    assert disk.holds(path)
    assert path.read_text() == "{}"
    assert os.name == "nt" or disk.holds(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    replace_file(path, "old")

    def fill_up() -> None:
        with replacing(path) as partial:
            partial.write_text("new")
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        fill_up()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_system_that_syncs_no_folders_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def refuse(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    replace_file(tmp_path / "a", "1")
    replace_folder(tmp_path / "b", lambda to: (to / "c").write_text("2") and None)
    assert (tmp_path / "a").read_text() + (tmp_path / "b" / "c").read_text() == "12"


def test_a_disk_that_fails_to_sync_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        replace_file(tmp_path / "a", "1")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="modes and links are POSIX's")
def test_a_link_and_a_files_mode_outlive_the_replacing(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)
    replace_file(link, "new")
    assert link.is_symlink()
    assert (target.read_text(), stat.S_IMODE(target.stat().st_mode)) == ("new", 0o600)


@pytest.mark.skipif(os.name == "nt", reason="pipes with names are POSIX's")
@pytest.mark.parametrize("through_a_link", [False, True])
def test_what_is_no_file_is_written_to_and_not_replaced(through_a_link: bool, tmp_path: Path) -> None:
    """Run as root, `--health /dev/null` put a file in the place of the device, for the whole system."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        replace_file(link if through_a_link else pipe, "new")
        assert os.read(reader, 10) == b"new"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]


def test_what_another_process_is_writing_is_left_alone_though_the_clock_has_jumped(tmp_path: Path) -> None:
    writing = tmp_path / f".a.json.{os.getppid()}-0.partial"
    writing.touch()
    os.utime(writing, (0, 0))
    replace_file(tmp_path / "c.json", "{}")
    assert writing.exists()


def test_what_killed_processes_left_half_written_is_removed(tmp_path: Path) -> None:
    names = (f".a.json.{_NOBODY}-0.partial", f".b.json.{_NOBODY}-7.partial", ".partial")
    old, new, ours = (tmp_path / name for name in names)
    for path in (old, new, ours):
        path.touch()
    for path in (old, ours):
        os.utime(path, (0, 0))
    replace_file(tmp_path / "c.json", "{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == [new.name, ours.name, "c.json"]


def test_a_folder_is_no_device_and_is_named_when_it_is_in_the_way(tmp_path: Path) -> None:
    place = tmp_path / "weights"
    place.mkdir()

    def write() -> None:
        with replacing(place) as partial:
            partial.touch()

    with pytest.raises(OSError, match="weights"):
        write()
    assert list(tmp_path.iterdir()) == [place]
