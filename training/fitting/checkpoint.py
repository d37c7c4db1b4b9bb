"""A folder that is replaced as a whole: whenever the process is killed, the last complete one is found again."""

import shutil
from collections.abc import Callable
from pathlib import Path


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Write a folder anew beside the last one, then put it in its place.

    Where it cannot be written, such as on a full disk, the last one stays and nothing half written is left.

    Args:
        folder: The folder.
        write: Fills the empty folder it is given.
    """
    partial, old = folder.with_suffix(".partial"), folder.with_suffix(".old")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        write(partial)
    except Exception:
        shutil.rmtree(partial, ignore_errors=True)  # what it holds may be just what the disk lacks
        raise
    if folder.exists():  # otherwise an earlier kill left ``old`` as the only complete one
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def find_folder(folder: Path) -> Path | None:
    """Return where the last complete folder is, or None if there never was one."""
    candidates = (folder, folder.with_suffix(".old"))
    return next((candidate for candidate in candidates if candidate.exists()), None)
