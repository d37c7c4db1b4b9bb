"""Laps of a real-time game, each with a report."""

import functools
import itertools
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from agent.contract.errors import AgentError
from agent.contract.profile import Stuck
from agent.controllers.base import Controller, expiry_for
from agent.controllers.memory import MemoryController
from agent.driving.loop import drive
from agent.driving.stuck import StuckWatch
from agent.driving.summary import DriveSummary
from agent.games.base import DriveState
from agent.games.realtime.game import RealTimeGame
from agent.games.registry import find_game
from agent.observers.base import TickObserver, TickRecord
from agent.policies.base import Policy
from agent.sessions.drive_outputs import Watch, describe_health, health_log, no_watch, output_observers, startup_s
from agent.sessions.endings import FirstDecision, end_of
from agent.sessions.opening import Note, claim_cores, claim_priority, ignore, open_policy, settle_rate
from agent.sessions.pages import page_of_drive
from agent.settings.drive import DriveSettings
from agent.system.pacing import Pacer, TickStats, clock_ns
from agent.system.process import peak_memory_mb

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lap:
    """One lap: how the drive went, how the loop kept its rate, and the game's own figures.

    Attributes:
        seed: Seed of the track.
        state: State of the drive at its end; ``driving`` if it ended early.
        summary: The loop's summary.
        mean_speed: Mean over decisions, in the game's own units of length per second.
        first_decision_ns: When the first controls were sent, on ``agent.system.pacing.clock_ns``; None if none were.
        physics_ticks_late: Ticks of the game that ran more than one tick too late.
        game_processor_share: Share of one processor core that the game used.
        controls_expired: How often the game released the controls because no new ones came.
        files: The files written during the lap.
    """

    seed: int
    state: DriveState
    summary: DriveSummary
    mean_speed: float
    first_decision_ns: int | None
    physics_ticks_late: int
    game_processor_share: float
    controls_expired: int
    files: tuple[Path, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "seed": self.seed,
            "return": self.state.episode_return,
            "outcome": self.state.outcome,
            "progress": self.state.progress,
            "seconds": self.state.time_s,
            "mean_speed": self.mean_speed,
            "physics_ticks_late": self.physics_ticks_late,
            "game_processor_share": self.game_processor_share,
            "controls_expired": self.controls_expired,
            **self.summary.to_dict(),
            "files": [str(path) for path in self.files],
        }


@dataclass(frozen=True, slots=True)
class LiveDrive:
    """How a drive of a real-time game went.

    Attributes:
        game: The game's name.
        model: Name of the weights.
        engine: The engine that ran them.
        rate_asked_hz: Control rate that the settings or the weights ask for.
        rate_used_hz: Control rate of the drive.
        inference_s: Seconds per decision, measured while warming up.
        peak_memory_mb: Peak memory of this process; None if the system does not report it.
        game_peak_memory_mb: Peak memory of the game's process.
        laps: The laps driven, including one that ended early.
        interrupted: Whether Ctrl-C ended the drive.
        fault: The failure that ended the drive, if there was one.
        health: How the process's health developed, if it was logged.
    """

    game: str
    model: str
    engine: str
    rate_asked_hz: float
    rate_used_hz: float
    inference_s: float
    peak_memory_mb: float | None
    game_peak_memory_mb: float | None
    laps: tuple[Lap, ...]
    interrupted: bool
    fault: str | None
    health: str = ""

    @property
    def returns(self) -> list[float]:
        """Returns of the finished laps; if there are none, of the lap that ended early."""
        ended = [lap for lap in self.laps if lap.state.outcome != "driving"]
        return [lap.state.episode_return for lap in ended or self.laps]

    @property
    def problems(self) -> list[str]:
        """Failures other than in driving."""
        return [problem for lap in self.laps for problem in lap.summary.problems]

    def to_dict(self, started_ns: int | None = None) -> dict[str, Any]:
        """Return plain data for JSON; ``started_ns`` is when the program was started, on the game's clock."""
        report: dict[str, Any] = {
            "game": self.game,
            "model": self.model,
            "engine": self.engine,
            "rate_asked_hz": self.rate_asked_hz,
            "rate_used_hz": self.rate_used_hz,
            "inference_s": self.inference_s,
            "peak_memory_mb": self.peak_memory_mb,
            "game_peak_memory_mb": self.game_peak_memory_mb,
        }
        if self.laps:
            report |= {
                "process_start_to_first_decision_s": startup_s(started_ns, self.laps[0].first_decision_ns),
                "return": sum(self.returns) / len(self.returns),
                "outcome": self.laps[-1].state.outcome,
                "timing": overall_timing(self.laps),
            }
        laps = [lap.to_dict() for lap in self.laps]
        return {**report, "laps": laps, "interrupted": self.interrupted, "fault": self.fault}


def drive_live(
    settings: DriveSettings,
    on_lap: Callable[[Lap], None] = lambda lap: None,
    note: Note = ignore,
    watch: Watch = no_watch,
) -> LiveDrive:
    """Drive a game that runs in its own process beside the agent and does not wait for it.

    Args:
        settings: What to drive, and which files to write.
        on_lap: Called after each lap.
        note: Called with progress and notes for the user, one line at a time.
        watch: Makes further observers of every lap.

    Returns:
        How the drive went, also if Ctrl-C or a fault ended it.

    Raises:
        AgentError: If the drive could not begin: no such game, no weights, an output that cannot be written.
    """
    game = find_game(settings.game)
    claim_priority(settings, note)  # the game inherits it
    seeds = itertools.islice(itertools.count(settings.seed), None if settings.seconds else settings.laps or 1)
    health = health_log(settings)
    files: dict[int, list[Path]] = {}  # by seed
    with ExitStack() as stack:
        # The game starts while the network is being loaded, and may use all cores.
        running = stack.enter_context(RealTimeGame(game.simulator_maker(), settings.seed))
        claim_cores(settings, note)
        policy = stack.enter_context(closing(open_policy(settings, game.name, note, game.profile.axes)))
        running.wait_until_ready()
        rate_hz, inference_s = settle_rate(settings.rate, policy, note)
        page = stack.enter_context(
            page_of_drive(settings, settings, game.profile, policy, rate_hz, settings.record, note, by_key=True)
        )

        def observers_for(seed: int, stats: TickStats) -> list[TickObserver]:
            files[seed] = []
            axes, state = game.profile.axes, lambda: running.source.state
            outputs = output_observers(settings, game.name, axes, policy, rate_hz, seed, files[seed], state)
            pages = [] if page is None else [page.of(stats, seed, state)]
            return [*watch(stats), *outputs, *pages, *([] if health is None else [health.of(stats)])]

        controller, stuck = (MemoryController(), None) if settings.dry_run else (None, game.profile.stuck)
        driven = drive_laps(running, policy, rate_hz, seeds, controller, observers_for, settings.seconds, stuck)
        laps, interrupted, fault = _take_laps(driven, files, on_lap)
        return LiveDrive(
            game=game.name,
            model=policy.spec.name,
            engine=policy.name,
            rate_asked_hz=settings.rate if settings.rate is not None else policy.spec.rate_hz,
            rate_used_hz=rate_hz,
            inference_s=inference_s,
            peak_memory_mb=peak_memory_mb(),
            game_peak_memory_mb=running.peak_memory_mb,
            laps=tuple(laps),
            interrupted=interrupted,
            fault=fault,
            health=describe_health(health),
        )


def _take_laps(
    driven: Iterator[Lap], files: dict[int, list[Path]], on_lap: Callable[[Lap], None]
) -> tuple[list[Lap], bool, str | None]:
    """Return the laps with their files, whether Ctrl-C ended them, and the fault that ended them."""
    laps: list[Lap] = []
    try:
        for lap in driven:
            laps.append(replace(lap, files=tuple(_left_behind(lap, files[lap.seed]))))
            on_lap(laps[-1])
    except KeyboardInterrupt:
        return laps, True, None
    except AgentError as exc:
        fault = laps[-1].summary.fault if laps else None
        if fault is None:
            raise
        _log.debug("the fault", exc_info=exc)
        return laps, False, fault
    return laps, False, None


def _left_behind(lap: Lap, files: Sequence[Path]) -> list[Path]:
    """Return the files that this lap wrote; a file left from an earlier drive does not count."""
    problems = lap.summary.problems
    return [path for path in files if path.exists() and not any(path.name in problem for problem in problems)]


def drive_laps(
    game: RealTimeGame,
    policy: Policy,
    rate_hz: float,
    seeds: Iterable[int],
    controller: Controller | None = None,
    observers_for: Callable[[int, TickStats], Sequence[TickObserver]] = lambda seed, stats: (),
    seconds: float | None = None,
    stuck: Stuck | None = None,
) -> Iterator[Lap]:
    """Drive one lap per seed in real time, and yield each lap as it ends.

    A lap that Ctrl-C or a fault ended early is yielded too, with neutral controls. The next step of the generator then
    raises the interrupt or the fault.

    Args:
        game: Open, with its clock stopped.
        policy: What decides, warmed up; stays open.
        rate_hz: Control rate.
        seeds: Seeds of the tracks; may be endless if ``seconds`` is given.
        controller: Where controls go; the game's own controller if None.
        observers_for: Makes the observers for the track of a seed, given the timing of that lap.
        stuck: When the car counts as stuck, and what to do then. ``reset`` puts it back on the start line; its lap and
            the game's clock start again. None does nothing about it.
        seconds: When to stop at the latest, even in the middle of a lap; counted from the first lap's start.

    Raises:
        AgentError: If the game, the policy or the controller fails.
    """
    stop_ns = math.inf

    def begin() -> None:
        nonlocal stop_ns
        game.start()
        if seconds is not None and math.isinf(stop_ns):
            stop_ns = clock_ns() + seconds * 1e9

    def is_over() -> bool:
        return game.state.outcome != "driving" or clock_ns() >= stop_ns

    for seed in seeds:
        if clock_ns() >= stop_ns:
            return
        game.restart(seed)
        pacer = Pacer(1.0 / rate_hz)
        game.controller.expiry_s = expiry_for(pacer.period_s)
        summary = DriveSummary(pacer.stats)
        meter = _Meter(game, begin)
        first = FirstDecision()
        observers = (*observers_for(seed, pacer.stats), first, meter)  # the last one opened is the first one closed
        watch = None if stuck is None else StuckWatch(stuck, reset=functools.partial(_start_again, game, seed))
        sink = controller or game.controller
        lap = functools.partial(drive, game.source, sink, policy, pacer, observers, is_over, summary, stuck=watch)
        end = end_of(lap, summary)
        yield meter.lap(seed, summary, first.sent_ns)
        if end is not None:
            raise end


def _start_again(game: RealTimeGame, seed: int) -> None:
    game.restart(seed)
    game.start()


def overall_timing(laps: Sequence[Lap]) -> dict[str, float]:
    """Return the timing figures over all laps; for a single lap, they are the lap's own figures.

    Counts, means, the standard deviation and the percentile of the intervals are over all ticks together; latencies are
    those of the worst lap.
    """
    timings = [lap.summary.stats.summarise() for lap in laps]
    intervals = [max(0, timing.ticks - 1) for timing in timings]
    total = max(1, sum(intervals))
    mean_s = sum(n * timing.interval_mean_s for n, timing in zip(intervals, timings, strict=True)) / total
    variance = (
        sum(
            n * (timing.interval_sd_s**2 + (timing.interval_mean_s - mean_s) ** 2)
            for n, timing in zip(intervals, timings, strict=True)
        )
        / total
    )
    errors_s = np.concatenate([lap.summary.stats.interval_errors_s for lap in laps])
    missed = sum(timing.missed_deadlines for timing in timings)
    deadlines = sum(lap.summary.stats.deadlines for lap in laps)
    return {
        "ticks": sum(timing.ticks for timing in timings),
        "missed_deadlines": missed,
        "missed_share": missed / deadlines if deadlines else 0.0,
        "rate_hz": 1.0 / mean_s if mean_s else 0.0,
        "period_s": timings[0].period_s,
        "interval_mean_s": mean_s,
        "interval_sd_s": math.sqrt(variance),
        "interval_p99_error_s": float(np.percentile(errors_s, 99)) if errors_s.size else 0.0,
        "latency_p50_s": max(timing.latency_p50_s for timing in timings),
        "latency_p99_s": max(timing.latency_p99_s for timing in timings),
        "latency_max_s": max(timing.latency_max_s for timing in timings),
    }


class _Meter:
    """Notes the mean speed, and the game's state when driving ended.

    It is opened after every recorder, which may take seconds, and then starts the game's clock. If a lap ends early,
    the game runs on while recordings and films are being finished. That time does not count.
    """

    def __init__(self, game: RealTimeGame, begin: Callable[[], None]) -> None:
        self._game = game
        self._begin = begin
        self._take()
        self._speeds = 0.0
        self._ticks = 0

    @property
    def mean_speed(self) -> float:
        return self._speeds / self._ticks if self._ticks else 0.0

    def lap(self, seed: int, summary: DriveSummary, first_decision_ns: int | None) -> Lap:
        """Return the lap that has ended."""
        return Lap(
            seed=seed,
            state=self.state,
            summary=summary,
            mean_speed=self.mean_speed,
            first_decision_ns=first_decision_ns,
            physics_ticks_late=self.ticks_late,
            game_processor_share=self.processor_s / self.state.time_s if self.state.time_s else 0.0,
            controls_expired=self.expired,
        )

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._take()

    def _take(self) -> None:
        self.state = self._game.state
        self.ticks_late = self._game.ticks_late
        self.processor_s = self._game.processor_s
        self.expired = self._game.controls_expired

    def on_tick(self, record: TickRecord) -> None:
        if record.kind != "driven":
            return
        self._speeds += self._game.state.speed
        self._ticks += 1
