"""Which files somebody is writing at present, so that nobody else touches them. The system forgets it when they end."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt

    _BYTE = 2**62  # far behind the end of any file: a lock on Windows keeps others from reading what it covers

    def claim(file: BinaryIO) -> bool:
        """Mark an open file as one's own until it is closed; return False if it is somebody else's."""
        position = file.tell()
        file.seek(_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:  # what Windows says of a byte that somebody has locked
            return False
        except OSError:  # no locks there, as below
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
        except OSError:  # a file system without locks: nobody can tell, and a recording must not fail for it
            return True
        return True


def is_claimed(path: "str | os.PathLike[str]") -> bool:
    """Return whether somebody has claimed a file.

    Raises:
        OSError: If it cannot be opened.
    """
    with open(path, "rb") as file:  # for reading: whoever may not write it is told, too
        return not claim(file)


@contextmanager
def claimed(path: "str | os.PathLike[str]") -> Iterator[bool]:
    """Claim a file while the block runs; gives False if it is somebody else's.

    Windows neither renames nor removes a file that is open: there it is claimed for a moment only, to see whose it is.

    Raises:
        OSError: If it cannot be opened.
    """
    with open(path, "rb") as file:
        mine = claim(file)
        if sys.platform == "win32":
            file.close()
        yield mine
