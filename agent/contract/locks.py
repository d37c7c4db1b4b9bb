"""Which files somebody is writing at present, so that nobody else touches them. The system forgets it when they end."""

import os
import sys
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
        except OSError:
            return False
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
    with open(path, "r+b") as file:
        return not claim(file)
