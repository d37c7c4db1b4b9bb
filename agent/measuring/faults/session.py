"""Injects faults and summarises the results: what ``python -m agent faults`` does."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.contract.errors import ControllerError, GameError
from agent.measuring.faults.catalogue import LIMIT_S, Fault, Outcome, available
from agent.measuring.faults.guard_latency import guard_latencies_s
from agent.measuring.faults.injection import inject
from agent.settings.faults import FaultsSettings

SENDS = 300
"""How many controls are sent through the guard, to measure how long they take."""


@dataclass(frozen=True, slots=True)
class FaultReport:
    """The results of injected faults.

    Attributes:
        outcomes: One for each injected fault.
        rows: The figures of each kind of fault, as plain data.
        guard_latency_s: Seconds that controls take through the guard: ``p50``, ``p99``, ``max``; empty if not measured.
        expired: How many of ``SENDS`` controls expired on their way.
        interrupted: Whether Ctrl-C ended it.
        problem: Why it ended early, if a drive to be harmed did not start; None if all faults were injected.
    """

    outcomes: tuple[Outcome, ...]
    rows: tuple[dict[str, Any], ...]
    guard_latency_s: dict[str, float]
    expired: int
    interrupted: bool
    problem: str | None = None

    @property
    def broken(self) -> list[Outcome]:
        """The outcomes in which controls were not neutral in time, or a drive did not go on although it should."""
        return [outcome for outcome in self.outcomes if not outcome.kept]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        latency = {**self.guard_latency_s, "expired": self.expired} if self.guard_latency_s else None
        return {
            "limit_s": LIMIT_S,
            "injected": len(self.outcomes),
            "broken": len(self.broken),
            "interrupted": self.interrupted,
            "problem": self.problem,
            "guard_latency_s": latency,
            "faults": list(self.rows),
        }


def measure_faults(settings: FaultsSettings, progress: Callable[[int], None] = lambda faults: None) -> FaultReport:
    """Inject faults into a drive, and measure how soon the controls are neutral.

    Args:
        settings: Which faults, and how often.
        progress: Called after each fault with the number of all faults.

    Raises:
        AgentError: If a fault is unknown, or the first drive does not start. If a later one does not, as on a machine
            that became busy, what was injected until then is kept.
    """
    faults = chosen_faults(settings.only)
    times = math.ceil(settings.count / len(faults))
    outcomes: list[Outcome] = []
    latencies_s: list[float] = []
    interrupted, problem = False, None
    try:
        for outcome in inject(faults, times):
            outcomes.append(outcome)
            progress(times * len(faults))
        latencies_s = guard_latencies_s(SENDS)
    except KeyboardInterrupt:
        interrupted = True
    except ControllerError as exc:
        if not outcomes:
            raise
        problem = str(exc)
    return FaultReport(
        outcomes=tuple(outcomes),
        rows=tuple(row for fault in faults if (row := _row(fault, outcomes))),
        guard_latency_s=_percentiles(latencies_s) if latencies_s else {},
        expired=SENDS - len(latencies_s),
        interrupted=interrupted,
        problem=problem,
    )


def chosen_faults(names: Sequence[str] | None) -> tuple[Fault, ...]:
    """Return the faults with these names; None for all faults that this system has.

    Raises:
        GameError: If one is unknown.
    """
    faults = available()
    if names is None:
        return faults
    known = {fault.name: fault for fault in faults}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise GameError(f"fault {unknown[0]!r} is unknown, expected one of: {', '.join(known)}.")
    return tuple(known[name] for name in names)


def _row(fault: Fault, outcomes: Sequence[Outcome]) -> dict[str, Any] | None:
    mine = [outcome for outcome in outcomes if outcome.fault == fault.name]
    if not mine:
        return None
    away_s = [outcome.neutral_s for outcome in mine if math.isfinite(outcome.neutral_s)] or [0.0]
    return {
        "name": fault.name,
        "what": fault.what,
        "injected": len(mine),
        "broken": sum(not outcome.kept for outcome in mine),
        "never_neutral": sum(math.isinf(outcome.neutral_s) for outcome in mine),
        "drove_on": sum(outcome.drove_on is True for outcome in mine) if fault.passes else None,
        **{f"neutral_after_{name}_s": seconds for name, seconds in _percentiles(away_s).items()},
    }


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    return {
        "p50": float(np.percentile(seconds, 50)),
        "p99": float(np.percentile(seconds, 99)),
        "max": float(max(seconds)),
    }
