"""A named block of memory that two processes share, freed even if both are killed."""

import secrets
import sys
import time
from contextlib import suppress
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import BinaryIO

from agent.contract.locks import claim, claimed

_FOLDER = Path("/dev/shm")  # where Linux shows such blocks as files
_PREFIX = "hoodcam-"
_YOUNG_S = 60.0  # one that has just been made may not have been claimed yet


class SharedBlock:
    """A block of zeroed memory.

    Whoever creates one frees those first that nobody was left to free: both processes and Python's own resource
    tracker were killed at once. They are told by a claim on the block's file, which ends with the process.

    Args:
        size: Bytes.
        name: The block to attach to; None creates it.
    """

    def __init__(self, size: int, name: str | None = None) -> None:
        self._claim: BinaryIO | None = None
        if name is None:
            if sys.platform == "linux":
                _free_what_was_left()
            self._memory = SharedMemory(_PREFIX + secrets.token_hex(8), create=True, size=size)
            if sys.platform == "linux":
                self._claim = open(_FOLDER / self._memory.name, "rb")  # noqa: SIM115  (closed with the block)
                claim(self._claim)
        else:
            self._memory = SharedMemory(name, size=size)

    @property
    def name(self) -> str:
        """The name by which the other process attaches."""
        return self._memory.name

    @property
    def buffer(self) -> memoryview:
        """The memory; no array may use it any more when the block is closed."""
        buffer = self._memory.buf
        assert buffer is not None, "None only once it is closed"
        return buffer

    def close(self, unlink: bool) -> None:
        """Close the block; ``unlink`` frees it for both processes."""
        self._memory.close()
        if self._claim is not None:
            self._claim.close()
        if unlink:
            self._memory.unlink()


def _free_what_was_left() -> None:
    for path in _FOLDER.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, or freed meanwhile
            if time.time() - path.stat().st_mtime < _YOUNG_S:
                continue
            with claimed(path) as is_nobodys:
                if is_nobodys:
                    path.unlink()
