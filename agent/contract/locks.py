"""Locks on files that a process is writing, so that no other process touches them. They end with the process."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

if sys.platform == "win32":
    import ctypes
    import msvcrt
    from ctypes import wintypes

    _BYTE = 2**62  # far behind the end of any file: on Windows, others cannot read the locked bytes
    _EXCLUSIVE, _AT_ONCE = 2, 1  # minwinbase.h
    _TAKEN = (33, 997)  # winerror.h: somebody else has it, or it would have to be waited for

    class _Overlapped(ctypes.Structure):
        _fields_ = (
            ("internal", ctypes.c_void_p),
            ("internal_high", ctypes.c_void_p),
            ("offset", wintypes.DWORD),
            ("offset_high", wintypes.DWORD),
            ("event", wintypes.HANDLE),
        )

    def claim(file: BinaryIO) -> bool:
        """Mark an open file as one's own until it is closed; return False if it is somebody else's."""
        # Not msvcrt.locking: it fails at a place beyond 2 GiB, which looks like a file system without locks.
        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        handle = wintypes.HANDLE(msvcrt.get_osfhandle(file.fileno()))
        place = _Overlapped(offset=_BYTE & 0xFFFFFFFF, offset_high=_BYTE >> 32)
        if kernel32.LockFileEx(handle, _EXCLUSIVE | _AT_ONCE, 0, 1, 0, ctypes.byref(place)):
            return True
        return ctypes.get_last_error() not in _TAKEN  # another failure: a file system without locks, as below
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
