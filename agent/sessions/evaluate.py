"""A driver evaluated over many tracks, from settings to figures: what ``python -m agent evaluate`` does."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.games.base import Simulator
from agent.games.registry import Game, find_game
from agent.sessions.evaluation import EvaluationReport, TrackResult, evaluate_policy, track_result
from agent.sessions.opening import Note, ignore, nearest_hold_ticks, open_driver, open_policy, settle_rate
from agent.sessions.pages import page_of_drive
from agent.settings.evaluate import EvaluateSettings
from agent.system.pacing import TickStats, clock_ns
from agent.system.process import peak_memory_mb

if TYPE_CHECKING:
    from agent.observers.base import TickObserver
    from agent.page.feed import Page
    from agent.policies.base import Policy

Progress = Callable[[TrackResult, int], None]
"""Called with the result of each finished track and the number of all tracks."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A driver's results, and the conditions of the evaluation.

    Attributes:
        report: The figures, by track and over all tracks.
        rate_used_hz: Decisions per second of the game's time.
        real_time: Whether the game ran on its own clock.
        interrupted: Whether Ctrl-C ended it early; the report then has only the finished tracks.
        peak_memory_mb: Peak memory of this process; None if the system does not report it.
        inference_s: In real time: seconds per decision, measured while warming up.
        timing: In real time: the loop's timing figures by name.
    """

    report: EvaluationReport
    rate_used_hz: float
    real_time: bool
    interrupted: bool
    peak_memory_mb: float | None
    inference_s: float | None = None
    timing: dict[str, float] | None = None

    @property
    def problems(self) -> list[str]:
        """Failures other than in driving, such as films that could not be written."""
        return [problem for track in self.report.tracks for problem in track.problems]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        facts: dict[str, Any] = {"real_time": self.real_time, "interrupted": self.interrupted}
        if self.real_time:
            facts["inference_s"] = self.inference_s
        facts["rate_used_hz"] = self.rate_used_hz
        if self.timing is not None:
            facts["timing"] = self.timing
        return {**self.report.to_dict(), **facts, "peak_memory_mb": self.peak_memory_mb}


def evaluate(
    settings: EvaluateSettings, progress: Progress = lambda result, tracks: None, note: Note = ignore
) -> Evaluation:
    """Drive many tracks and summarise the results; nothing is printed.

    ::

        evaluation = evaluate(EvaluateSettings(tracks=3, seed_start=500_000))
        print(evaluation.report.mean, [track.outcome for track in evaluation.report.tracks])

    Args:
        settings: Who drives, and on which tracks.
        progress: Called after each track.
        note: Called with notes for the user, one line at a time.

    Raises:
        AgentError: If there is no such game, network or expert, or one of them fails.
        KeyboardInterrupt: If it was interrupted before the first track was finished.
    """
    game = find_game(settings.game)
    tracks = settings.tracks or len(settings.track or game.track_names) or 10
    seeds = range(settings.seed_start, settings.seed_start + tracks)
    if settings.ray is not None:
        from agent.sessions.evaluate_far import evaluate_far

        return evaluate_far(settings, game, seeds, progress, note)
    run = _RealTimeRun if settings.real_time else _LockstepRun
    return run(settings, game, seeds, progress, note).run()


class _Run:
    """The common part of both ways of evaluating; see :func:`evaluate` for the arguments."""

    def __init__(
        self, settings: EvaluateSettings, game: Game, seeds: Sequence[int], progress: Progress, note: Note
    ) -> None:
        self.settings = settings
        self.game = game
        self.seeds = seeds
        self.note = note
        self.results: list[TrackResult] = []
        self._progress = progress

    def count(self, result: TrackResult) -> None:
        self.results.append(result)
        self._progress(result, len(self.seeds))

    def show(self, policy: "Policy", rate_hz: float) -> "AbstractContextManager[Page | None]":
        """Serve a page while a block runs, if one is wanted."""
        return page_of_drive(self.settings, self.settings, self.game.profile, policy, rate_hz, None, self.note)

    def films(self, seed: int, rate_hz: float) -> "list[TickObserver]":
        if self.settings.video is None:
            return []
        from agent.observers.video import VideoWriter

        path = self.settings.video / f"{self.game.name}-{seed}.mp4"
        return [VideoWriter(path, rate_hz, axes=self.game.profile.axes)]

    def report(self, policy: "Policy", rate_hz: float) -> EvaluationReport:
        """Return a report on the finished tracks; if there are none, raise the interrupt again."""
        if not self.results:
            raise KeyboardInterrupt
        marks = self.game.profile.returns
        return EvaluationReport(
            policy.spec.name, policy.name, self.game.name, 1.0 / rate_hz, tuple(self.results), marks
        )


class _LockstepRun(_Run):
    """The game waits for every decision."""

    def run(self) -> Evaluation:
        make_simulator = self.game.simulator_maker(self.settings.track)
        if self.settings.driver == "expert":
            simulator = make_simulator()
            with closing(open_driver(self.settings, simulator, self.note)) as policy:
                return self._drive(policy, simulator)
        with closing(open_policy(self.settings, self.game.name, self.note, self.game.profile.axes)) as policy:
            return self._drive(policy, make_simulator())

    def _drive(self, policy: "Policy", simulator: Simulator) -> Evaluation:
        asked_hz = self.settings.rate if self.settings.rate is not None else policy.spec.rate_hz
        hold_ticks = nearest_hold_ticks(asked_hz, simulator, self.note)
        rate_hz = 1.0 / (hold_ticks * simulator.tick_s)
        interrupted = False
        with self.show(policy, rate_hz) as page:

            def observers_for(seed: int) -> "list[TickObserver]":
                if page is None:
                    return self.films(seed, rate_hz)
                # The game's time stands still while the network computes: the page shows the time of the clock.
                shown = page.of(TickStats(1.0 / rate_hz), seed, lambda: simulator.state, clock=clock_ns)
                return [*self.films(seed, rate_hz), shown]

            try:
                evaluate_policy(lambda: simulator, policy, self.seeds, hold_ticks, self.count, observers_for)
            except KeyboardInterrupt:
                interrupted = True
        return Evaluation(self.report(policy, rate_hz), rate_hz, False, interrupted, peak_memory_mb())


class _RealTimeRun(_Run):
    """The game runs on its own clock."""

    def run(self) -> Evaluation:
        from agent.games.realtime.game import RealTimeGame
        from agent.sessions.live import Lap, drive_laps, overall_timing

        laps: list[Lap] = []
        interrupted = False
        make_simulator = self.game.simulator_maker(self.settings.track)
        with (
            closing(open_policy(self.settings, self.game.name, self.note, self.game.profile.axes)) as policy,
            RealTimeGame(make_simulator, self.seeds[0]) as running,
            ExitStack() as stack,
        ):
            running.wait_until_ready()
            rate_hz, inference_s = settle_rate(self.settings.rate, policy, self.note)
            page = stack.enter_context(self.show(policy, rate_hz))

            def observers_for(seed: int, stats: TickStats) -> "list[TickObserver]":
                shown = [] if page is None else [page.of(stats, seed, lambda: running.source.state)]
                return [*self.films(seed, rate_hz), *shown]

            try:
                for lap in drive_laps(running, policy, rate_hz, self.seeds, observers_for=observers_for):
                    if lap.state.outcome == "driving":
                        continue  # interrupted: no result, and the next round raises the interrupt
                    laps.append(lap)
                    self.count(track_result(lap.seed, lap.state, lap.summary, lap.mean_speed))
            except KeyboardInterrupt:
                interrupted = True
            return Evaluation(
                self.report(policy, rate_hz),
                rate_hz,
                True,
                interrupted,
                peak_memory_mb(),
                inference_s,
                overall_timing(laps),
            )
