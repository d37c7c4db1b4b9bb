"""A folder that is replaced as a whole, killed at every step of it."""

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training.fitting.checkpoint import find_folder, replace_folder

STEPS = 8


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
