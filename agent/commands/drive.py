"""``drive``: in real time, the game running beside the agent."""

import functools
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from agent.commands.options import JSON, Command, Invocation
from agent.commands.wiring import ENDINGS, exit_code, note, say, say_json
from agent.contract.errors import AgentError
from agent.contract.profile import GameProfile
from agent.games.registry import Game, find_game
from agent.sessions.opening import claim_cores, claim_priority, open_policy, settle_rate
from agent.settings.drive import DriveSettings
from agent.system.pacing import clock_ns
from agent.system.process import peak_memory_mb

if TYPE_CHECKING:
    from agent.controllers.base import Controller
    from agent.games.base import DriveState
    from agent.games.realtime.game import RealTimeGame
    from agent.observers.base import TickObserver, TickRecord
    from agent.observers.health import HealthLog
    from agent.policies.base import Policy
    from agent.sessions.live import Lap
    from agent.system.pacing import TickStats

_log = logging.getLogger(__name__)


def _run(settings: DriveSettings, invocation: Invocation) -> int:
    game = find_game(settings.game)
    claim_priority(settings, note)  # guard and game inherit it
    if game.profile.capture is not None:
        return _drive_window(settings, invocation, game.profile)
    return _drive_embedded(settings, invocation, game)


def _drive_embedded(settings: DriveSettings, invocation: Invocation, game: Game) -> int:
    from agent.games.realtime.game import RealTimeGame
    from agent.sessions.live import drive_laps

    seeds: Iterable[int] = itertools.count(settings.seed)
    if settings.seconds is None:
        seeds = itertools.islice(seeds, settings.laps or 1)
    controller = None
    if settings.dry_run:
        from agent.controllers.memory import MemoryController

        controller = MemoryController()
    health = _health_log(settings)
    laps: list[Lap] = []
    files: dict[int, list[Path]] = {}  # by seed
    interrupted, fault = False, None
    with ExitStack() as stack:
        # The game starts up while the network is being loaded, and has all cores to itself.
        running = stack.enter_context(RealTimeGame(game.simulator_maker(), settings.seed))
        claim_cores(settings, note)
        policy = stack.enter_context(closing(open_policy(settings, game.name, note)))
        running.wait_until_ready()
        rate_hz, inference_s = settle_rate(settings.rate, policy, note)

        def observers_for(seed: int, stats: "TickStats") -> "list[TickObserver]":
            files[seed] = []
            watchers = _drive_observers(
                settings, policy, rate_hz, seed, stats, files[seed], lambda: running.source.state
            )
            return watchers if health is None else [*watchers, health.of(stats)]

        try:
            stuck = None if settings.dry_run else game.profile.stuck
            for lap in drive_laps(running, policy, rate_hz, seeds, controller, observers_for, settings.seconds, stuck):
                laps.append(lap)
                if not invocation.json:
                    say(_describe_lap(lap, files[lap.seed]))
        except KeyboardInterrupt:
            interrupted = True
        except AgentError as exc:
            fault = laps[-1].summary.fault if laps else None
            if fault is None:
                raise
            _log.debug("the fault", exc_info=exc)
        if invocation.json:
            report = _drive_report(settings, invocation, running, policy, rate_hz, inference_s, laps, files)
            say_json({**report, "interrupted": interrupted, "fault": fault})
    _say_health(settings, invocation, health)
    returns = _returns(laps)
    if not invocation.json and len(returns) > 1:
        say(f"{len(returns)} laps: mean return {sum(returns) / len(returns):.1f}, minimum {min(returns):.1f}")
    return exit_code(interrupted, [problem for lap in laps for problem in lap.summary.problems], fault)


def _returns(laps: "list[Lap]") -> list[float]:
    """Return the returns of the laps that came to their end, or else of the one that was cut short."""
    ended = [lap for lap in laps if lap.state.outcome != "driving"]
    return [lap.state.episode_return for lap in ended or laps]


def _left_behind(lap: "Lap", files: list[Path]) -> list[Path]:
    """Return which of a lap's files are its own and not an earlier drive's, left alone by a failure."""
    problems = lap.summary.problems
    return [path for path in files if path.exists() and not any(path.name in problem for problem in problems)]


def _drive_window(settings: DriveSettings, invocation: Invocation, profile: GameProfile) -> int:
    from agent.capture.screen import ScreenSource
    from agent.controllers.base import expiry_for
    from agent.controllers.guard.client import GuardedController
    from agent.driving.loop import drive
    from agent.driving.stuck import StuckWatch
    from agent.driving.summary import DriveSummary
    from agent.system.pacing import Pacer

    health = _health_log(settings)
    files: list[Path] = []
    interrupted = False
    with ExitStack() as stack:
        # Before the network is loaded: a fault in window or pad is told at once, and the game sees the pad early.
        source = stack.enter_context(ScreenSource(settings.where_to_look(profile)))
        controller = stack.enter_context(_make_controller(settings, profile))
        claim_cores(settings, note)
        policy = stack.enter_context(closing(open_policy(settings, profile.model_name, note)))
        rate_hz, inference_s = settle_rate(settings.rate, policy, note)
        pacer = Pacer(1.0 / rate_hz)
        if isinstance(controller, GuardedController):
            controller.expiry_s = expiry_for(pacer.period_s)
            takeover = controller.by_hand
            stuck = None if profile.stuck is None else StuckWatch(profile.stuck, controller.tap)
        else:
            takeover, stuck = _nobody, None
        summary = DriveSummary(pacer.stats)
        first = _FirstDecision()
        watchers = [first, *_drive_observers(settings, policy, rate_hz, None, pacer.stats, files)]
        if health is not None:
            watchers.append(health.of(pacer.stats))
        stop_ns = math.inf if settings.seconds is None else clock_ns() + settings.seconds * 1e9
        note(f"driving {profile.title} at {rate_hz:g} Hz; Ctrl-C ends it, controls neutral")
        try:
            drive(
                source,
                controller,
                policy,
                pacer,
                watchers,
                until=lambda: clock_ns() >= stop_ns,
                summary=summary,
                takeover=takeover,
                stuck=stuck,
            )
        except KeyboardInterrupt:
            interrupted = True
        except AgentError as exc:
            if summary.fault is None:  # it never began
                raise
            _log.debug("the fault", exc_info=exc)
    left_behind = [path for path in files if path.exists()]
    expired = controller.expired if isinstance(controller, GuardedController) else 0
    if invocation.json:
        say_json(
            {
                "game": profile.name,
                "model": policy.spec.name,
                "engine": policy.name,
                "rate_used_hz": rate_hz,
                "inference_s": inference_s,
                "interrupted": interrupted,
                "peak_memory_mb": peak_memory_mb(),
                "process_start_to_first_decision_s": _startup_s(invocation, first.sent_ns),
                "captured": asdict(source.counts),
                "controls_expired": expired,
                **summary.to_dict(),
                "files": [str(path) for path in left_behind],
            }
        )
    else:
        say(_describe_timing(summary.stats))
        counts = source.counts
        say(f"  pictures {counts.grabbed}, repeated {counts.repeated}, black {counts.black}")
        if trouble := summary.describe_trouble(expired):
            say(f"  {trouble}")
        for path in left_behind:
            say(f"  wrote {path}")
    _say_health(settings, invocation, health)
    return exit_code(interrupted, summary.problems, summary.fault)


def _health_log(settings: DriveSettings) -> "HealthLog | None":
    if settings.health is None:
        return None
    from agent.observers.health import HealthLog

    return HealthLog(settings.health)


def _say_health(settings: DriveSettings, invocation: Invocation, health: "HealthLog | None") -> None:
    if health is not None and not invocation.json:
        say(f"wrote {settings.health}; {health.describe() or 'too short a drive to tell how anything grows'}")


def _nobody() -> None:
    """Take over."""


def _make_controller(settings: DriveSettings, profile: GameProfile) -> "Controller":
    """Return what moves the car, held by a guard process that lets go when it hears nothing from this one."""
    if settings.dry_run:
        from agent.controllers.memory import MemoryController

        return MemoryController()
    from agent.controllers.guard.client import GuardedController
    from agent.driving.takeover import open_takeover

    make_hands = functools.partial(open_takeover, profile.keys) if settings.takeover else None
    if (settings.controller or profile.controller) == "keyboard":
        from agent.controllers.keyboard import Keyboard, release_keys

        pressed = () if profile.stuck is None or not profile.stuck.press else (profile.stuck.press,)
        let_go = functools.partial(release_keys, profile.keys, pressed)
        return GuardedController(functools.partial(Keyboard, profile.keys, further=pressed), make_hands, let_go)

    from agent.controllers.gamepad import Gamepad

    return GuardedController(functools.partial(Gamepad, profile.pad), make_hands)


class _FirstDecision:
    """Notes when the first controls were sent."""

    sent_ns: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def on_tick(self, record: "TickRecord") -> None:
        if self.sent_ns is None and record.kind == "driven":
            self.sent_ns = record.frame.captured_ns + round(record.latency_s * 1e9)


def _drive_observers(
    settings: DriveSettings,
    policy: "Policy",
    rate_hz: float,
    seed: int | None,
    stats: "TickStats",
    files: list[Path],
    state: "Callable[[], DriveState] | None" = None,
) -> "list[TickObserver]":
    """Return the side jobs of a lap; the files that they will have left behind are appended to ``files``."""
    from agent.observers.status import StatusLine

    observers: list[TickObserver] = [StatusLine(stats)]
    if settings.record is not None:
        from agent.contract.episodes.columns import EpisodeHeader
        from agent.observers.episode_writer import EpisodeRecorder

        def telemetry() -> tuple[float | None, dict[str, float]]:
            if state is None:
                return None, {}
            now = state()
            return now.speed, now.telemetry

        # With the time of day, because two drives on one track are two recordings.
        track = "" if seed is None else f"-{seed}"
        path = settings.record / f"{settings.game}{track}-{time.strftime('%Y%m%d-%H%M%S')}.parquet"
        header = EpisodeHeader(settings.game, policy.driver, rate_hz, seed)
        observers.append(EpisodeRecorder(path, header, telemetry))
        files.append(path)
    if settings.video is not None:
        from agent.observers.video import VideoWriter

        film: Path = settings.video
        if settings.several_laps and seed is not None:
            film = film.with_stem(f"{film.stem}-{seed}")
        observers.append(VideoWriter(film, rate_hz))
        files.append(film)
    if settings.show_input is not None:
        from agent.observers.show_input import ShowInput

        observers.append(ShowInput(settings.show_input))
        files.append(settings.show_input)
    return observers


def _describe_lap(lap: "Lap", files: list[Path]) -> str:
    state = lap.state
    lines = [
        f"track {lap.seed}: return {state.episode_return:.1f}, {ENDINGS[state.outcome]} after {state.time_s:.1f} s, "
        f"{state.progress:.0%} of the track",
        f"  {_describe_timing(lap.summary.stats)}",
    ]
    if trouble := lap.summary.describe_trouble(lap.controls_expired):
        lines.append(f"  {trouble}")
    lines += [f"  wrote {path}" for path in _left_behind(lap, files)]
    return "\n".join(lines + [f"  {problem}" for problem in lap.summary.problems])


def _describe_timing(stats: "TickStats") -> str:
    timing = stats.summarise()
    return (
        f"{timing.rate_hz:.2f} Hz of {1 / timing.period_s:g} Hz | period {timing.interval_mean_s * 1e3:.2f} ± "
        f"{timing.interval_sd_s * 1e3:.2f} ms | latency p50 {timing.latency_p50_s * 1e3:.0f} ms, "
        f"p99 {timing.latency_p99_s * 1e3:.0f} ms | missed {stats.missed}/{stats.deadlines}"
    )


def _drive_report(
    settings: DriveSettings,
    invocation: Invocation,
    running: "RealTimeGame",
    policy: "Policy",
    rate_hz: float,
    inference_s: float,
    laps: "list[Lap]",
    files: dict[int, list[Path]],
) -> dict[str, Any]:
    from agent.sessions.live import overall_timing

    report: dict[str, Any] = {
        "game": settings.game,
        "model": policy.spec.name,
        "engine": policy.name,
        "rate_asked_hz": settings.rate if settings.rate is not None else policy.spec.rate_hz,
        "rate_used_hz": rate_hz,
        "inference_s": inference_s,
        "peak_memory_mb": peak_memory_mb(),
        "game_peak_memory_mb": running.peak_memory_mb,
    }
    if laps:
        report |= {
            "process_start_to_first_decision_s": _startup_s(invocation, laps[0].first_decision_ns),
            "return": sum(_returns(laps)) / len(_returns(laps)),
            "outcome": laps[-1].state.outcome,
            "timing": overall_timing(laps),
        }
    rows = [lap.to_dict() | {"files": [str(path) for path in _left_behind(lap, files[lap.seed])]} for lap in laps]
    return {**report, "laps": rows}


def _startup_s(invocation: Invocation, first_decision_ns: int | None) -> float | None:
    if first_decision_ns is None or invocation.started_ns is None:
        return None
    return (first_decision_ns - invocation.started_ns) / 1e9


COMMAND = Command(
    name="drive",
    summary="drive in real time, the game running beside the agent",
    settings=DriveSettings,
    run=_run,
    example="python -m agent drive --laps 3 --video lap.mp4",
    notes=(
        "A lap ends when it is finished, the car has left the field or the game's time is up. A game in a window is\n"
        "driven until Ctrl-C, or for --seconds; F8 hands it to you and your keys, and back.\n"
        "exit codes: 0 done, 1 an error, 3 a fault ended the drive, 130 Ctrl-C; controls are neutral in the end."
    ),
    json=JSON,
)
