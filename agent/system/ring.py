"""The newest arrays of a stream, in shared memory."""

import math
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

SLOTS = 4
"""Slots of a ring unless told otherwise. At 50 frames a second a reader has 60 ms to copy a picture before its slot is
written again."""
_T = TypeVar("_T", bound=np.generic)


class Ring(Generic[_T]):
    """The newest arrays of a stream, in shared memory: one writer, any number of readers, no locks.

    Every slot carries a sequence number, 0 while it is being written. A reader copies a slot and takes the copy only if
    the number is still the same, so it never sees half of one array and half of the next. The numbers are aligned
    8-byte words, which are written whole, and reach the reader in order with the data on x86-64.

    Args:
        buffer: Zeroed memory of at least :meth:`size` bytes from ``offset`` on.
        offset: Where the ring starts; a multiple of 8.
        shape: Shape of one array.
        dtype: Type of one array.
        slots: How many arrays it holds.
    """

    def __init__(
        self, buffer: memoryview, offset: int, shape: tuple[int, ...], dtype: type[_T], slots: int = SLOTS
    ) -> None:
        words: npt.NDArray[np.int64] = np.ndarray((1 + 2 * slots,), np.int64, buffer, offset)
        self._slots = slots
        self._newest = words[:1]
        self._sequences = words[1 : 1 + slots]
        self._stamps = words[1 + slots :]
        self._arrays: npt.NDArray[_T] = np.ndarray((slots, *shape), dtype, buffer, offset + words.nbytes)

    @staticmethod
    def size(shape: tuple[int, ...], dtype: type[np.generic], slots: int = SLOTS) -> int:
        """Return the size of a ring in bytes, rounded up so that another ring can follow it."""
        data = slots * math.prod(shape) * np.dtype(dtype).itemsize
        return 8 * (1 + 2 * slots) + -(-data // 8) * 8

    @property
    def newest(self) -> int:
        """Sequence number of the newest array; 0 before the first one."""
        return int(self._newest[0])

    def write(self, array: npt.ArrayLike, stamp_ns: int) -> None:
        """Publish an array in the slot of the oldest one."""
        sequence = int(self._newest[0]) + 1
        slot = sequence % self._slots
        self._sequences[slot] = 0
        self._arrays[slot] = array
        self._stamps[slot] = stamp_ns
        self._sequences[slot] = sequence
        self._newest[0] = sequence

    def begin(self) -> npt.NDArray[_T]:
        """Return the slot of the oldest array, to write a part of it; :meth:`publish` then shows it to the readers."""
        slot = (int(self._newest[0]) + 1) % self._slots
        self._sequences[slot] = 0
        array: npt.NDArray[_T] = self._arrays[slot]
        return array

    def publish(self, stamp_ns: int) -> None:
        """Publish what was written into the slot that :meth:`begin` has returned."""
        sequence = int(self._newest[0]) + 1
        slot = sequence % self._slots
        self._stamps[slot] = stamp_ns
        self._sequences[slot] = sequence
        self._newest[0] = sequence

    def fill(self, value: int, numbers: int | None = None) -> None:
        """Set the first numbers of every slot; for a new ring, so that the system hands out its memory now."""
        self._arrays.reshape(self._slots, -1)[:, :numbers] = value

    def read(
        self, part: Callable[[npt.NDArray[_T]], npt.NDArray[_T]] = lambda array: array
    ) -> tuple[int, int, npt.NDArray[_T]] | None:
        """Return sequence number (from 1), stamp and a copy of the newest array; None before the first one.

        Args:
            part: Returns the view of the array that is worth copying. What it looks at may be changing just then.
        """
        while sequence := int(self._newest[0]):
            if (found := self._copy(sequence, part)) is not None:
                return found
        return None

    def read_since(self, sequence: int) -> list[tuple[int, int, npt.NDArray[_T]]]:
        """Return all arrays after that sequence number that are still there, the oldest first; see :meth:`read`.

        A reader that was away for longer than the ring is long misses the oldest ones.
        """
        newest = int(self._newest[0])
        first = max(sequence + 1, newest - self._slots + 2)  # the slot before it is the next to be written
        found = (self._copy(each, lambda array: array) for each in range(first, newest + 1))
        return [each for each in found if each is not None]

    def _copy(
        self, sequence: int, part: Callable[[npt.NDArray[_T]], npt.NDArray[_T]]
    ) -> tuple[int, int, npt.NDArray[_T]] | None:
        slot = sequence % self._slots
        stamp_ns = int(self._stamps[slot])
        array = part(self._arrays[slot]).copy()
        return (sequence, stamp_ns, array) if int(self._sequences[slot]) == sequence else None
