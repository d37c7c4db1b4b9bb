"""One buffer for each feed: what batches are drawn from, at random and without replacement."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from training.balancing.base import Feed

CAPACITY = 25_000
"""Samples a buffer holds (the source's figure); a smaller data set fills a smaller one."""
REFILL_BELOW = 0.9
"""A buffer is topped up as soon as it holds less than this share of its capacity (the source's figure)."""


class Buffer:
    """Draws the samples of a feed in random order, each once in an epoch of the feed.

    A full buffer is drawn from at random; a drawn sample is removed; below 90 % the buffer is topped up with what comes
    next. A recorded data set is finite: when an epoch has no samples left to top up with, the buffer is drawn empty,
    and the next epoch fills it anew. So no draw of an epoch is repeated while that epoch still has fresh ones.

    Only indices wait here (8 bytes each, at most two epochs' worth); the encoded pictures are held once, in
    ``training.samples.Samples``. What is drawn at a position depends on the seed alone: a resumed run needs no copy of
    the buffers, and their pictures come back from the caches beside the episodes.

    Args:
        feed: What fills it.
        seed: Of the order.
        capacity: Samples it holds, at least 1.
    """

    def __init__(self, feed: Feed, seed: tuple[int, ...], capacity: int = CAPACITY) -> None:
        self._feed = feed
        self._seed = seed
        self._capacity = capacity
        self._epoch = lru_cache(maxsize=2)(self._draw_epoch)
        self._length = len(self._epoch(0))

    def draw(self, first: int, count: int) -> npt.NDArray[np.int64]:
        """Return the samples drawn at positions ``first`` to ``first + count - 1`` of the run."""
        drawn: list[npt.NDArray[np.int64]] = []
        while count > 0:
            number, offset = divmod(first, self._length)
            part = self._epoch(number)[offset : offset + count]
            drawn.append(part)
            first += len(part)
            count -= len(part)
        return np.concatenate(drawn)

    def _draw_epoch(self, number: int) -> npt.NDArray[np.int64]:
        rng = np.random.default_rng([*self._seed, number])
        fresh = self._feed.epoch(rng)
        if number and len(fresh) != self._length:
            raise ValueError(f"epoch {number} of feed {self._feed.name} has another length than the first")
        chances = rng.random(len(fresh))
        held: list[int] = []
        next_ = 0
        drawn = np.empty(len(fresh), np.int64)
        for position, chance in enumerate(chances):
            if len(held) < REFILL_BELOW * self._capacity and next_ < len(fresh):
                filled = min(len(fresh), next_ + self._capacity - len(held))
                held += fresh[next_:filled].tolist()
                next_ = filled
            chosen = int(chance * len(held))
            drawn[position] = held[chosen]
            held[chosen] = held[-1]
            held.pop()
        return drawn
