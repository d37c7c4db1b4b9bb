"""Takes the spans that are marked as bad out of recordings, or forgets the marks: what `episodes apply|drop` does."""

import filecmp
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from agent.contract.durable import replacing, sync_folder
from agent.contract.episodes.columns import is_sealed
from agent.contract.episodes.edits import DELETED, edits_path, good_rows, read_edits, write_edits
from agent.contract.episodes.reading import Episode
from agent.contract.episodes.sealing import cut
from agent.contract.errors import AgentError, EpisodeError
from agent.contract.locks import claimed
from agent.sessions.repair_episodes import Repair, do_each
from agent.settings.episodes import EpisodesSettings

Progress = Callable[[int], None]


def apply_edits(path: Path) -> Repair:
    """Replace an episode by one without its bad rows; doing it again changes nothing.

    The whole episode and its edit list are kept in the folder of deleted recordings. Whenever this is interrupted, the
    whole episode is still there, under its name or in that folder.
    """
    return _edit(path, _apply)


def drop_edits(path: Path) -> Repair:
    """Forget what was marked as bad in an episode; a damaged edit list is deleted, too."""
    return _edit(path, _drop)


def apply_all(settings: EpisodesSettings, progress: Progress = lambda files: None) -> list[Repair]:
    """Apply the edits of every file that the settings name; ``progress`` gets the number of all files after each.

    Raises:
        EpisodeError: If a path does not exist, is a file of another kind, or is a folder that holds none.
    """
    return do_each(settings, apply_edits, progress)


def drop_all(settings: EpisodesSettings, progress: Progress = lambda files: None) -> list[Repair]:
    """Drop the edits of every file that the settings name; ``progress`` gets the number of all files after each.

    Raises:
        EpisodeError: If a path does not exist, is a file of another kind, or is a folder that holds none.
    """
    return do_each(settings, drop_edits, progress)


def _edit(path: Path, do: Callable[[Path], str]) -> Repair:
    if not is_sealed(path) or not edits_path(path).exists():
        return Repair(path)
    try:
        with claimed(path) as mine:
            if not mine:
                return Repair(path, "is being repaired by another program: left alone", failed=True)
            return Repair(path, do(path))
    except AgentError as exc:
        return Repair(path, str(exc), failed=True)
    except OSError as exc:
        reason = f"left alone: {exc.filename}: {exc.strerror}, expected a file and a folder that may be written"
        return Repair(path, reason, failed=True)


def _apply(path: Path) -> str:
    rows = len(Episode.open(path))
    good = good_rows(path, rows)
    if not good.any():
        raise EpisodeError(f"all {rows} rows are marked as bad: left alone. Delete it on the shelf, or drop the marks.")
    folder, edits = path.parent / DELETED, edits_path(path)
    whole, kept_edits = folder / path.name, folder / edits.name
    is_kept = whole.exists() and filecmp.cmp(path, whole, shallow=False)  # by an earlier try that was interrupted
    for each in (kept_edits,) if is_kept else (whole, kept_edits):
        if each.exists():
            raise EpisodeError(f"{each} exists already: left alone. Move it away.")
    shortened = path.with_name(f".{path.name}")  # hidden files are nobody's
    shortened.unlink(missing_ok=True)  # of an earlier try, too
    try:
        cut(path, shortened, good)
        folder.mkdir(exist_ok=True)
        if not is_kept:
            _copy(path, whole)
        _exchange(path, shortened, edits, kept_edits)
    finally:
        shortened.unlink(missing_ok=True)
    return f"{good.sum()} rows kept, {rows - good.sum()} taken out; the whole one is {whole}"


def _exchange(path: Path, shortened: Path, edits: Path, kept_edits: Path) -> None:
    os.rename(edits, kept_edits)  # before the rows go: the marks would be of other rows then
    sync_folder(kept_edits.parent)
    try:
        os.replace(shortened, path)
    except OSError:
        kept_edits.rename(edits)
        raise
    sync_folder(path.parent)


def _copy(path: Path, target: Path) -> None:
    """Give a file a second name, or a copy where the disk has no second names; it appears whole or not at all."""
    try:
        os.link(path, target)
    except OSError:
        with replacing(target) as partial:
            shutil.copy2(path, partial)


def _drop(path: Path) -> str:
    rows = len(Episode.open(path))
    try:
        spans = len(read_edits(path, rows))
    except EpisodeError:
        edits_path(path).unlink()
        return "its damaged edit list is deleted"
    write_edits(path, (), rows)
    return f"{spans} span{'s' if spans != 1 else ''} marked as bad: forgotten"
