"""The trainer stands back while the drive is late, but never so much that nothing is learnt."""

from dataclasses import dataclass, field
from typing import Literal

MISSES = 2
"""Deadlines that a drive may miss in a second before the trainer pauses."""
PAUSE_S = 5.0
RUNS_S = 10.0
"""The trainer runs for at least so long between two pauses: whatever makes the drive late may be another program."""
_EVERY_S = 1.0


@dataclass(slots=True)
class Missed:
    """Deadlines of a drive.

    Attributes:
        missed: How many were missed.
        deadlines: How many there were.
    """

    missed: int = 0
    deadlines: int = 0


@dataclass(slots=True)
class Courtesy:
    """Decides when the trainer pauses, from the drive's timing; and counts what the trainer costs the drive.

    Attributes:
        paused_s: Seconds of pauses.
        while_training: Deadlines while the trainer trained.
        otherwise: Deadlines while it paused, or waited for samples.
    """

    paused_s: float = 0.0
    while_training: Missed = field(default_factory=Missed)
    otherwise: Missed = field(default_factory=Missed)
    _seen: Missed = field(default_factory=Missed)
    _looked_s: float | None = None
    _paused_until_s: float | None = None
    _runs_until_s: float = 0.0

    @property
    def is_paused(self) -> bool:
        """Whether the trainer pauses now."""
        return self._paused_until_s is not None

    def look(self, now_s: float, missed: int, deadlines: int, trains: bool) -> Literal["pause", "go"] | None:
        """Return what the trainer is to be told now; None: nothing.

        Args:
            now_s: The time in seconds.
            missed: Deadlines that the drive has missed so far.
            deadlines: Deadlines that it has had so far.
            trains: Whether the trainer says that it trains.
        """
        if self._looked_s is None:
            self._looked_s = now_s
        passed_s = now_s - self._looked_s
        if passed_s < _EVERY_S:
            return None
        self._looked_s = now_s
        new = Missed(missed - self._seen.missed, deadlines - self._seen.deadlines)
        self._seen = Missed(missed, deadlines)
        counted = self.while_training if trains and not self.is_paused else self.otherwise
        counted.missed += new.missed
        counted.deadlines += new.deadlines
        if self._paused_until_s is not None:
            self.paused_s += passed_s
            if now_s < self._paused_until_s:
                return None
            self._paused_until_s, self._runs_until_s = None, now_s + RUNS_S
            return "go"
        if trains and new.missed >= MISSES and now_s >= self._runs_until_s:
            self._paused_until_s = now_s + PAUSE_S
            return "pause"
        return None
