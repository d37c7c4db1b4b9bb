"""Two evaluations of the same tracks, paired track by track."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from agent.contract.errors import GameError, ReportError
from agent.contract.profile import ReturnMarks
from agent.contract.untrusted import is_finite, printable
from agent.sessions.evaluation import EvaluationReport, TrackResult
from agent.settings.compare import CompareSettings

CONFIDENCE = 0.95
_RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much better the second of two drivers is on the tracks that both drove.

    Attributes:
        first: Model and engine of the first driver.
        second: Model and engine of the second driver.
        tracks: Number of tracks that both drove.
        first_mean: The first driver's mean return.
        second_mean: The second driver's mean return.
        difference: Mean over tracks of the second's return minus the first's.
        low: Lower end of the difference's 95 % confidence interval (bootstrap over tracks).
        high: Upper end of the interval.
        worst_seed: Track on which the second driver lost most.
        worst_difference: How much it lost there.
    """

    first: str
    second: str
    tracks: int
    first_mean: float
    second_mean: float
    difference: float
    low: float
    high: float
    worst_seed: int
    worst_difference: float

    def same_within(self, share: float) -> bool:
        """Whether the whole confidence interval lies within a share of the first's mean return, such as 0.01."""
        allowed = share * abs(self.first_mean)
        return -allowed <= self.low and self.high <= allowed

    def to_json(self) -> str:
        """Return everything as JSON text."""
        return json.dumps(asdict(self), indent=2, allow_nan=False) + "\n"

    def table(self) -> Table:
        """Return two rows, and the difference below them, for a rich console."""
        table = Table("driver", "mean return", title=f"{self.tracks} tracks driven by both", show_footer=True)
        table.columns[0].footer = "second - first"
        share = f" ({100 * self.difference / abs(self.first_mean):+.2f} %)" if self.first_mean else ""
        table.columns[1].footer = (
            f"{self.difference:+.1f}{share}, 95 % sure between "
            f"{self.low:+.1f} and {self.high:+.1f}; worst {self.worst_difference:+.1f} on {self.worst_seed}"
        )
        table.add_row(Text(printable(self.first)), f"{self.first_mean:.1f}")
        table.add_row(Text(printable(self.second)), f"{self.second_mean:.1f}")
        return table


def compare_reports(first: Sequence[EvaluationReport], second: Sequence[EvaluationReport]) -> Comparison:
    """Pair two drivers' results by track.

    Args:
        first: One driver's reports, over tracks that differ from report to report.
        second: The other driver's reports.

    Raises:
        ReportError: If both drove fewer than two common tracks, if games or rates differ, or if one side's reports are
            of different models or engines.
    """
    first_name, second_name = _name(first), _name(second)
    settings = {(report.game, report.decision_period_s) for report in (*first, *second)}
    if len(settings) > 1:
        described = ", ".join(sorted(f"{game} every {period:g} s" for game, period in settings))
        raise ReportError(f"the evaluations differ in game or rate ({described}), expected one of each. Evaluate anew.")
    first_returns, second_returns = _returns(first), _returns(second)
    seeds = sorted(first_returns.keys() & second_returns.keys())
    if len(seeds) < 2:
        raise ReportError(
            f"{len(seeds)} tracks were driven by both, expected at least two. Evaluate both with the same --seed-start."
        )
    differences = np.array([second_returns[seed] - first_returns[seed] for seed in seeds])
    resampled = np.random.default_rng(0).choice(differences, (_RESAMPLES, len(seeds))).mean(axis=1)
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    worst = int(np.argmin(differences))
    return Comparison(
        first=first_name,
        second=second_name,
        tracks=len(seeds),
        first_mean=float(np.mean([first_returns[seed] for seed in seeds])),
        second_mean=float(np.mean([second_returns[seed] for seed in seeds])),
        difference=float(differences.mean()),
        low=float(low),
        high=float(high),
        worst_seed=seeds[worst],
        worst_difference=float(differences[worst]),
    )


def load_report(path: Path) -> EvaluationReport:
    """Read the output of ``python -m agent evaluate --json``.

    Raises:
        ReportError: If the file is missing, unreadable or not such an output.
    """
    try:
        raw: Any = json.loads(path.read_text(encoding="utf-8"))
        tracks = tuple(TrackResult(**{**track, "problems": tuple(track["problems"])}) for track in raw["tracks"])
        if not all(type(track.seed) is int and is_finite(track.episode_return) for track in tracks):
            raise ValueError("a track without a seed or a finite return")
        marks = raw.get("marks")  # missing in reports from before 2026-11, which used CarRacing's marks for every game
        return EvaluationReport(
            raw["model"],
            raw["engine"],
            raw["game"],
            float(raw["decision_period_s"]),
            tracks,
            None if marks is None else ReturnMarks(float(marks["good"]), float(marks["poor"])),
        )
    except (GameError, OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as exc:
        raise ReportError(
            f"{path} cannot be read as an evaluation ({type(exc).__name__}: {exc}), expected the output of `python -m "
            "agent evaluate --json`. Evaluate again."
        ) from exc


def _name(reports: Sequence[EvaluationReport]) -> str:
    names = {f"{report.model}, {report.engine}" for report in reports}
    if len(names) != 1:
        raise ReportError(
            f"one driver's reports are of {len(names)} drivers ({'; '.join(sorted(names))}), expected one. "
            "Put the others behind --with."
        )
    return names.pop()


def _returns(reports: Sequence[EvaluationReport]) -> dict[int, float]:
    returns: dict[int, float] = {}
    for report in reports:
        for track in report.tracks:
            if track.seed in returns:
                raise ReportError(f"track {track.seed} comes twice in one driver's reports, expected once. Drop one.")
            returns[track.seed] = track.episode_return
    return returns


def compare(settings: CompareSettings) -> Comparison:
    """Compare two drivers, as ``python -m agent compare`` does.

    Raises:
        ReportError: If a report cannot be read, or the two drivers cannot be compared.
    """
    first, second = ([load_report(path) for path in side] for side in (settings.first, settings.second))
    return compare_reports(first, second)
