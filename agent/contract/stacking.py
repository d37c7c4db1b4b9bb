"""Which pictures a network sees that looks at several at once: one rule, for driving and for training alike.

How many, and how far apart, is ``Stack`` in ``agent.contract.spec``. The policy that keeps the pictures of a drive is
``agent.policies.stacked``.
"""

from bisect import bisect_left
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from agent.contract.spec import ModelSpec, Stack

Picture = TypeVar("Picture")

Stacked = npt.NDArray[np.int64]
"""int64, shape (rows, pictures): which rows' pictures make up the observation of each row, the oldest first."""


class SeenPictures(Generic[Picture]):
    """Remembers the last pictures of an episode, and chooses those that are seen together with the newest.

    Pictures are chosen by their age: the newest, then those nearest to one, two, three... times ``every_ticks`` ticks
    before it, in ticks of the weights' own rate. So the network sees the same stretch of time in a drive at another
    rate, or one that missed ticks. If no picture is old enough, as at an episode's start, the oldest one is repeated.
    After a gap as long as the whole stack, the oldest one is the newest.

    A picture may be anything that stands for one: a driver's are pixels, training's are row numbers.

    Args:
        stack: How many pictures, and how far apart.
        rate_hz: The weights' own control rate.
    """

    def __init__(self, stack: Stack, rate_hz: float) -> None:
        tick_ns = 1e9 / rate_hz
        self._ages_ns = [round(age * stack.every_ticks * tick_ns) for age in range(stack.pictures - 1, -1, -1)]
        self._kept_ns = self._ages_ns[0] + round(tick_ns / 2)
        self._times_ns: list[int] = []  # the oldest first, each later than the one before
        self._pictures: list[Picture] = []

    def forget(self) -> None:
        """Forget all pictures: a new episode begins."""
        self._times_ns.clear()
        self._pictures.clear()

    def see(self, captured_ns: int, picture: Picture) -> list[Picture]:
        """Return the pictures that are seen when a new one comes, the oldest first.

        Args:
            captured_ns: When it was captured, in nanoseconds; not later than one before: the same picture again, which
                takes the place of those from then on.
            picture: The new one, which is the last of those returned.
        """
        times = self._times_ns
        while times and times[-1] >= captured_ns:
            times.pop()
            self._pictures.pop()
        times.append(captured_ns)
        self._pictures.append(picture)
        too_old = bisect_left(times, captured_ns - self._kept_ns)
        del times[:too_old], self._pictures[:too_old]
        return [self._nearest(captured_ns - age_ns) for age_ns in self._ages_ns]

    def _nearest(self, wanted_ns: int) -> Picture:
        times = self._times_ns
        later = bisect_left(times, wanted_ns)  # there always is one: nothing is wanted that is newer than the newest
        is_earlier_nearer = later > 0 and wanted_ns - times[later - 1] <= times[later] - wanted_ns
        return self._pictures[later - 1 if is_earlier_nearer else later]


def stacked_rows(captured_ns: npt.NDArray[np.int64], spec: ModelSpec) -> Stacked:
    """Return which rows of an episode a network sees at each row, as it would in a drive with these pictures.

    Args:
        captured_ns: int64, shape (rows,): when each row's picture was captured, in nanoseconds.
        spec: Of the network; one that sees a single picture sees each row's own.

    Returns:
        int64, shape (rows, pictures), the oldest first; the last column is the row itself.
    """
    if spec.stack is None:
        return np.arange(len(captured_ns), dtype=np.int64)[:, np.newaxis]
    seen: SeenPictures[int] = SeenPictures(spec.stack, spec.rate_hz)
    rows = [seen.see(time_ns, row) for row, time_ns in enumerate(captured_ns.tolist())]
    return np.array(rows, np.int64).reshape(-1, spec.stack.pictures)
