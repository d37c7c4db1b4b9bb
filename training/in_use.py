"""Folders that one process at a time writes into."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from agent.contract.errors import TrainingError
from agent.contract.locks import claim

_FILE = ".in-use"
_ours: set[Path] = set()
"""Folders that this process has."""


@contextmanager
def in_use(folder: Path, deed: str, ours: bool = False) -> Iterator[None]:
    """Keep other processes out of a folder, which is made if it has to be; a process that is killed keeps nobody out.

    Args:
        folder: The folder.
        deed: What is done to it, as ``is being ...`` goes on.
        ours: Whether this process may have the folder already; then nothing is done.

    Raises:
        TrainingError: If another process has it; it says which.
        OSError: If it cannot be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = folder.resolve()
    if ours and place in _ours:
        yield
        return
    path = folder / _FILE
    while True:
        with path.open("a+b") as file:
            if not claim(file):
                raise _taken(folder, file)
            if not _is_still_there(file.fileno(), path):  # its last owner removed it a moment ago
                continue
            file.truncate(0)
            file.write(f"{os.getpid()} {deed}".encode())
            file.flush()
            _ours.add(place)
            try:
                yield
            finally:
                _ours.discard(place)
                with suppress(OSError):  # Windows removes no open file: it stays, and says nothing
                    path.unlink()
            return


def refuse_in_use(folder: Path) -> None:
    """Say at once that a folder cannot be had, before anything that takes long.

    Raises:
        TrainingError: If another process has it, or it is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise TrainingError(f"--out {folder} is a file, expected a folder: a new one, or a run's. Choose another name.")
    with suppress(OSError), (folder / _FILE).open("rb") as file:
        if not claim(file):
            raise _taken(folder, file)


def _taken(folder: Path, file: BinaryIO) -> TrainingError:
    file.seek(0)
    owner, _, deed = file.read(100).decode(errors="replace").partition(" ")
    return TrainingError(
        f"{folder} is being {deed or 'used'} by process {owner or 'unknown'}. Wait until that one is done, or choose "
        "another folder."
    )


def _is_still_there(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False
