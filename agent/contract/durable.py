"""Files and folders that are replaced as a whole: after a crash or a power cut, either the old or the new one is there.

If a file gets its name before its bytes are on the disk, a power cut can leave a file full of zeros. So the bytes go to
the disk first. Then the name changes. Then the change of name goes to the disk.
"""

import errno
import itertools
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}  # the answers of Samba, drvfs and VirtualBox's shares


_NUMBERS = itertools.count()  # two threads may replace one file
_LEFT_BEHIND = re.compile(r"\..+\.(\d{1,9})-\d+\.partial")  # the process that writes it
_LEFT_BEHIND_S = 3600.0  # nothing takes so long to write
_tidied: set[Path] = set()


def sync_file(path: Path) -> None:
    """Return once a file's bytes are on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Return once a folder's names are on the disk.

    Windows has no such call and needs none. Some file systems refuse it; then nothing more can be done.
    """
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as exc:
        if exc.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path, sync: bool = True) -> Iterator[Path]:
    """Give the path of a new file beside ``path``, which takes its place when the block is left without an error.

    Args:
        path: The file to write or replace; its folder exists.
        sync: Whether the file must survive a power cut; false for files that are rewritten all the time.

    Yields:
        Where to write. Two processes get two paths. A device or a pipe is written to itself: it is nothing to replace.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        yield path
        return
    if path.is_symlink():  # what a link leads to is replaced, not the link
        path = Path(os.path.realpath(path))  # not of every path: Wine fails at those above 260 characters
    _tidy(path.parent)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{next(_NUMBERS)}.partial")
    try:
        yield partial
        if path.exists():
            shutil.copymode(path, partial)
        if sync:
            sync_file(partial)
        os.replace(partial, path)
        if sync:
            sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def _tidy(folder: Path) -> None:
    """Remove what killed processes have left half written in a folder; looks once, at the first file written there."""
    if folder in _tidied:
        return
    _tidied.add(folder)
    with suppress(OSError):
        for entry in os.scandir(folder):
            found = _LEFT_BEHIND.fullmatch(entry.name)
            if found and time.time() - entry.stat().st_mtime > _LEFT_BEHIND_S and not _is_alive(int(found[1])):
                os.unlink(entry.path)


def _is_alive(pid: int) -> bool:
    """Return whether there is such a process here: a clock that jumps makes a file old that is being written now."""
    from psutil import pid_exists  # rarely needed, and slow to import

    return bool(pid_exists(pid))


def replace_file(path: Path, content: str | bytes, sync: bool = True) -> None:
    """Write a whole file in place of the previous one; text as UTF-8, with its line ends unchanged.

    Raises:
        OSError: If it cannot be written; the previous file is unchanged.
    """
    with replacing(path, sync) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Write a new folder beside the previous one, then put it in its place.

    If it cannot be written, for example on a full disk, the previous folder stays and no half-written one is left.

    Args:
        folder: The folder to replace.
        write: Fills the empty folder that it is given.
    """
    partial, old = folder.with_suffix(".partial"), folder.with_suffix(".old")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        write(partial)
        for path in partial.rglob("*"):
            if path.is_file():
                sync_file(path)
        for path in (*(path for path in partial.rglob("*") if path.is_dir()), partial):
            sync_folder(path)
    except Exception:
        shutil.rmtree(partial, ignore_errors=True)  # deleting it may free the space that the disk lacks
        raise
    if folder.exists():  # otherwise an earlier kill left ``old`` as the only complete one
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    partial.rename(folder)
    sync_folder(folder.parent)  # before the old one goes
    shutil.rmtree(old, ignore_errors=True)


def restore_folder(folder: Path) -> None:
    """Put the last complete folder back in its place, where :func:`replace_folder` was ended between two renames."""
    old = folder.with_suffix(".old")
    if old.exists() and not folder.exists():
        old.rename(folder)


def find_folder(folder: Path) -> Path | None:
    """Return where the last complete folder is, or None if there never was one."""
    candidates = (folder, folder.with_suffix(".old"))
    return next((candidate for candidate in candidates if candidate.exists()), None)
