"""How often a person has to help: the number that is to fall."""

from collections import deque
from typing import Self

from agent.observers.base import TickRecord

WINDOW_S = 120.0
"""Over so much of the network's own driving the present figure is taken."""


class Interventions:
    """Counts takeovers against the time that the network drove; an observer of the drive.

    Nothing counts before there are weights.

    Attributes:
        count: Takeovers.
        alone_s: Seconds that the network drove.
        minutes: By minute of the network's own driving, takeovers in it.
    """

    def __init__(self) -> None:
        self.count = 0
        self.alone_s = 0.0
        self.minutes: list[int] = []
        self._by_hand = True
        self._last_ns: int | None = None
        self._recent: deque[float] = deque()  # when each was, in seconds of the network's own driving
        self.is_counting = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    @property
    def per_minute(self) -> float | None:
        """Over the newest two minutes of the network's own driving; None in its first ten seconds."""
        span_s = min(self.alone_s, WINDOW_S)
        if span_s < 10.0:
            return None
        return 60.0 * sum(self.alone_s - each <= WINDOW_S for each in self._recent) / span_s

    def on_tick(self, record: TickRecord) -> None:
        """Count."""
        passed_s = 0.0 if self._last_ns is None else (record.started_ns - self._last_ns) / 1e9
        self._last_ns = record.started_ns
        before, self._by_hand = self._by_hand, record.intervention
        if not self.is_counting:
            return
        if not self._by_hand:
            self.alone_s += min(passed_s, 1.0)
            while len(self.minutes) <= self.alone_s // 60:
                self.minutes.append(0)
        elif not before:
            self.count += 1
            self._recent.append(self.alone_s)
            while self._recent and self.alone_s - self._recent[0] > WINDOW_S:
                self._recent.popleft()
            if self.minutes:
                self.minutes[-1] += 1
