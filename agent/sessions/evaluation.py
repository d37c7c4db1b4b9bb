"""Closed-loop evaluation over many tracks: the same loop, on a virtual clock, in lockstep with a simulator."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from rich import box
from rich.table import Table
from rich.text import Text

from agent.contract.profile import ReturnMarks
from agent.contract.untrusted import printable
from agent.driving.summary import DriveSummary
from agent.games.base import DriveState, Outcome, Simulator
from agent.observers.base import TickObserver, TickRecord
from agent.policies.base import Policy
from agent.sessions.lockstep_drive import drive_in_lockstep


@dataclass(frozen=True, slots=True)
class TrackResult:
    """A driver's result on one track.

    Attributes:
        seed: Seed that generated the track.
        episode_return: Sum of the game's rewards.
        progress: Share of the track covered, [0, 1].
        outcome: ``lap``, ``left`` or ``timeout``.
        seconds: Simulated seconds driven.
        mean_speed: Mean over decisions, in the game's own units of length per second.
        co_pressed_share: Share of raw predictions that pressed throttle and brake at once.
        problems: Failures other than in driving, such as a film that could not be written; one line each.
        track: The track's name, for a game whose tracks have names.
        figures: Further results of this game by name: rescues, share of the time off the track...
    """

    seed: int
    episode_return: float
    progress: float
    outcome: Outcome
    seconds: float
    mean_speed: float
    co_pressed_share: float
    problems: tuple[str, ...] = ()
    track: str = ""
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """How an engine drives a set of tracks; in lockstep with a deterministic engine, a repetition gives equal bits.

    Attributes:
        model: Name of the weights.
        engine: The engine that ran them.
        game: The game's name.
        decision_period_s: Simulated seconds between decisions.
        tracks: One row each, in the order driven.
        marks: The limits for good and poor returns; None for a game without such limits.
    """

    model: str
    engine: str
    game: str
    decision_period_s: float
    tracks: tuple[TrackResult, ...]
    marks: ReturnMarks | None = None

    @property
    def returns(self) -> npt.NDArray[np.float64]:
        """float64, shape (tracks,)."""
        return np.array([track.episode_return for track in self.tracks], np.float64)

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    @property
    def sd(self) -> float | None:
        """Sample standard deviation of the return; None for a single track."""
        return float(self.returns.std(ddof=1)) if len(self.tracks) > 1 else None

    @property
    def minimum(self) -> float:
        """Worst return."""
        return float(self.returns.min())

    @property
    def percentile_10(self) -> float:
        """10th percentile of the return, linearly interpolated."""
        return float(np.percentile(self.returns, 10))

    @property
    def share_unfinished(self) -> float:
        """Share of tracks on which the car left the field or did not finish in time."""
        return sum(track.outcome != "lap" for track in self.tracks) / len(self.tracks)

    def summary(self) -> dict[str, float | int | None]:
        """Return the figures over all tracks by name; some names contain the game's limits for returns."""
        marks: dict[str, float | int] = {}
        if self.marks is not None:
            good, poor = self.marks.good, self.marks.poor
            marks = {
                f"share_above_{good:g}": float((self.returns > good).mean()),
                f"count_below_{poor:g}": int((self.returns < poor).sum()),
            }
        return {
            "mean": self.mean,
            "sd": self.sd,
            "minimum": self.minimum,
            "percentile_10": self.percentile_10,
            **marks,
            "share_unfinished": self.share_unfinished,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        raw = asdict(self)
        tracks = raw.pop("tracks")
        return {**raw, "summary": self.summary(), "tracks": list(tracks)}

    def to_json(self) -> str:
        """Return the report as JSON text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"

    def table(self) -> Table:
        """Return the rows and, below them, the figures over all tracks, for a rich console.

        For a game whose tracks have names, a row shows the name, the decisions and the game's own figures, and leaves
        out seconds and speed. So a row fits into a terminal 80 characters wide.
        """
        named = any(track.track for track in self.tracks)
        table = Table(
            title=Text(printable(f"{self.model} ({self.engine}) on {self.game}")),
            caption=self._caption(named),
            box=box.SIMPLE_HEAD,
            padding=0,
            collapse_padding=True,
        )
        for heading in self._cells(self.tracks[0], named):
            justify: Literal["left", "right"] = "left" if heading in ("outcome", "track") else "right"
            table.add_column(heading.replace(" ", "\n") if named else heading, justify=justify)
        for track in self.tracks:
            table.add_row(*(Text(printable(cell)) for cell in self._cells(track, named).values()))
        return table

    def _cells(self, track: TrackResult, named: bool) -> dict[str, str]:
        """Return a track's figures for the table, by column heading."""
        driven = {
            "return": f"{track.episode_return:.1f}",
            "progress": f"{track.progress:.1%}",
            "outcome": track.outcome,
        }
        pedals = {"both pedals": f"{track.co_pressed_share:.1%}"}
        if not named:
            times = {"seconds": f"{track.seconds:.2f}", "mean speed": f"{track.mean_speed:.1f}"}
            return {"seed": str(track.seed), **driven, **times, **pedals}
        steps = {"steps": str(round(track.seconds / self.decision_period_s))}
        figures = {
            name.replace("_", " "): f"{value:.1%}" if name.endswith("_share") else f"{value:g}"
            for name, value in track.figures.items()
        }
        return {"seed": str(track.seed), "track": track.track, **driven, **steps, **pedals, **figures}

    def _caption(self, named: bool) -> str:
        tracks = "1 track" if len(self.tracks) == 1 else f"{len(self.tracks)} tracks"
        spread = "" if self.sd is None else f" ± {self.sd:.1f}"
        rate = f"{tracks} at {1 / self.decision_period_s:.4g} Hz: "
        if named:
            finished = sum(track.outcome == "lap" for track in self.tracks)
            return f"{rate}{finished} of {len(self.tracks)} finished, return {self.mean:.1f}{spread}"
        marks = ""
        if self.marks is not None:
            above, below = (self.returns > self.marks.good).mean(), (self.returns < self.marks.poor).sum()
            marks = f"above {self.marks.good:g}: {above:.0%}, below {self.marks.poor:g}: {below}, "
        return (
            f"{rate}mean {self.mean:.1f}{spread}, minimum {self.minimum:.1f}, "
            f"10th percentile {self.percentile_10:.1f}, {marks}left or not finished: {self.share_unfinished:.0%}"
        )


def evaluate_policy(
    make_simulator: Callable[[], Simulator],
    policy: Policy,
    seeds: Sequence[int],
    hold_ticks: int = 2,
    progress: Callable[[TrackResult], None] = lambda result: None,
    observers_for: Callable[[int], Sequence[TickObserver]] = lambda seed: (),
) -> EvaluationReport:
    """Drive one episode per seed; the simulator waits for every decision.

    Args:
        make_simulator: Builds the game; called once, and the game is closed at the end.
        policy: What decides; stays open.
        seeds: One track each.
        hold_ticks: Physics ticks for which each decision is held.
        progress: Called after every track.
        observers_for: Makes the observers for the track of a seed, such as a video.

    Returns:
        The report. Nothing in it depends on how fast the machine is.

    Raises:
        ValueError: If there are no seeds.
        AgentError: If the game or the policy fails.
    """
    if not seeds:
        raise ValueError("no tracks to evaluate on, expected at least one seed")
    simulator = make_simulator()
    try:
        results = []
        for seed in seeds:
            results.append(_drive_track(simulator, policy, seed, hold_ticks, observers_for(seed)))
            progress(results[-1])
        return EvaluationReport(
            model=policy.spec.name,
            engine=policy.name,
            game=simulator.profile.name,
            decision_period_s=hold_ticks * simulator.tick_s,
            tracks=tuple(results),
            marks=simulator.profile.returns,
        )
    finally:
        simulator.close()


def _drive_track(
    simulator: Simulator, policy: Policy, seed: int, hold_ticks: int, observers: Sequence[TickObserver]
) -> TrackResult:
    speed = _SpeedMeter(simulator)
    summary = drive_in_lockstep(simulator, policy, seed, hold_ticks, lambda lockstep: (speed, *observers))
    return track_result(seed, simulator.state, summary, speed.mean)


def track_result(seed: int, state: DriveState, summary: DriveSummary, mean_speed: float) -> TrackResult:
    """Return the row of a finished drive, in lockstep or in real time."""
    return TrackResult(
        seed=seed,
        episode_return=state.episode_return,
        progress=state.progress,
        outcome=state.outcome,
        seconds=state.time_s,
        mean_speed=mean_speed,
        co_pressed_share=summary.co_pressed_share,
        problems=tuple(summary.problems),
        track=state.track,
        figures=dict(state.figures),
    )


class _SpeedMeter:
    """Averages the simulator's speed over decisions."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._sum = 0.0
        self._count = 0

    @property
    def mean(self) -> float:
        return self._sum / self._count if self._count else 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def on_tick(self, record: TickRecord) -> None:
        if record.kind != "driven":
            return
        self._sum += self._simulator.state.speed
        self._count += 1
