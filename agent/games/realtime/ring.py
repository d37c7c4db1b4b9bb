"""The newest array of a stream, in shared memory."""

import math
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

_SLOTS = 4  # at 50 frames a second a reader has 60 ms to copy a picture before its slot is written again
_T = TypeVar("_T", bound=np.generic)


class Ring(Generic[_T]):
    """The newest array of a stream, in shared memory: one writer, any number of readers, no locks.

    Every slot carries a sequence number, 0 while it is being written. A reader copies the newest slot and takes the
    copy only if the number is still the same, so it never sees half of one array and half of the next. The numbers
    are aligned 8-byte words, which are written whole, and reach the reader in order with the data on x86-64.

    Args:
        buffer: Zeroed memory of at least :meth:`size` bytes from ``offset`` on.
        offset: Where the ring starts; a multiple of 8.
        shape: Shape of one array.
        dtype: Type of one array.
    """

    def __init__(self, buffer: memoryview, offset: int, shape: tuple[int, ...], dtype: type[_T]) -> None:
        words: npt.NDArray[np.int64] = np.ndarray((1 + 2 * _SLOTS,), np.int64, buffer, offset)
        self._newest = words[:1]
        self._sequences = words[1 : 1 + _SLOTS]
        self._stamps = words[1 + _SLOTS :]
        self._arrays: npt.NDArray[_T] = np.ndarray((_SLOTS, *shape), dtype, buffer, offset + words.nbytes)

    @staticmethod
    def size(shape: tuple[int, ...], dtype: type[np.generic]) -> int:
        """Return the size of a ring in bytes, rounded up so that another ring can follow it."""
        data = _SLOTS * math.prod(shape) * np.dtype(dtype).itemsize
        return 8 * (1 + 2 * _SLOTS) + -(-data // 8) * 8

    def write(self, array: npt.ArrayLike, stamp_ns: int) -> None:
        """Publish an array in the slot of the oldest one."""
        sequence = int(self._newest[0]) + 1
        slot = sequence % _SLOTS
        self._sequences[slot] = 0
        self._arrays[slot] = array
        self._stamps[slot] = stamp_ns
        self._sequences[slot] = sequence
        self._newest[0] = sequence

    def read(self) -> tuple[int, int, npt.NDArray[_T]] | None:
        """Return sequence number (from 1), stamp and a copy of the newest array; None before the first one."""
        while sequence := int(self._newest[0]):
            slot = sequence % _SLOTS
            stamp_ns = int(self._stamps[slot])
            array = self._arrays[slot].copy()
            if int(self._sequences[slot]) == sequence:
                return sequence, stamp_ns, array
        return None
