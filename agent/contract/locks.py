"""Locks on files that a process is writing, so that no other process touches them. They end with the process."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt

    # Far behind the end of any recording: on Windows, others cannot read the locked bytes. But not farther than file
    # systems reach: 2**62 is refused by ext4, whose end is at 2**44, under Wine and on network drives.
    _BYTE = 2**42

    def claim(file: BinaryIO) -> bool:
        """Mark an open file as one's own until it is closed; return False if it is somebody else's."""
        position = file.tell()
        file.seek(_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:  # Windows' answer for a byte that another process has locked
            return False
        except OSError:  # a file system without locks, as below
            return True
        finally:
            file.seek(position)
        return True
else:
    import fcntl

    def claim(file: BinaryIO) -> bool:
        """Mark an open file as one's own until it is closed; return False if it is somebody else's."""
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks: a recording must not fail because of it
            return True
        return True


def is_claimed(path: "str | os.PathLike[str]") -> bool:
    """Return whether a process has claimed a file.

    Raises:
        OSError: If it cannot be opened.
    """
    with open(path, "rb", opener=_at_once) as file:  # for reading: it works without the right to write, too
        return not claim(file)


def _at_once(path: str, flags: int) -> int:
    """Open a file without waiting: a pipe would wait for whoever writes into it, for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


@contextmanager
def claimed(path: "str | os.PathLike[str]") -> Iterator[bool]:
    """Claim a file while the block runs; gives False if another process has claimed it.

    Windows neither renames nor removes an open file. So there the file is claimed only for a moment, as a check.

    Raises:
        OSError: If it cannot be opened.
    """
    with open(path, "rb", opener=_at_once) as file:
        mine = claim(file)
        if sys.platform == "win32":
            file.close()
        yield mine
