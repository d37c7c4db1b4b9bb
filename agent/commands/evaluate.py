"""``evaluate``: many tracks, summed up."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Any

from agent.commands.options import JSON, Command, Invocation
from agent.commands.wiring import exit_code, note, progress_bar, say, say_json
from agent.games.registry import find_expert, find_game
from agent.sessions.opening import nearest_hold_ticks, open_policy, settle_rate
from agent.settings.evaluate import EvaluateSettings
from agent.system.process import peak_memory_mb

if TYPE_CHECKING:
    from agent.games.base import Simulator
    from agent.observers.base import TickObserver
    from agent.policies.base import Policy
    from agent.sessions.evaluation import TrackResult
    from agent.system.pacing import TickStats


def _run(settings: EvaluateSettings, invocation: Invocation) -> int:
    from rich.console import Console
    from rich.progress import TextColumn

    from agent.policies.expert import ExpertPolicy
    from agent.sessions.evaluation import EvaluationReport

    game = find_game(settings.game)
    make_simulator = game.simulator_maker(settings.track)
    tracks = settings.tracks or len(settings.track or game.track_names) or 10
    seeds = range(settings.seed_start, settings.seed_start + tracks)
    results: list[TrackResult] = []
    facts: dict[str, Any] = {"real_time": settings.real_time, "interrupted": False}
    bar = progress_bar("tracks", TextColumn("{task.fields[mean]}"))
    task = bar.add_task("tracks", total=len(seeds), mean="")

    def count(result: "TrackResult") -> None:
        results.append(result)
        mean = sum(track.episode_return for track in results) / len(results)
        bar.update(task, advance=1, mean=f"mean {mean:.1f}, last {result.episode_return:.1f}")
        if not bar.console.is_terminal:
            done = f"{len(results)} of {len(seeds)}, mean {mean:.1f}"
            note(f"track {result.track or result.seed}: return {result.episode_return:.1f} ({done})")

    run = _evaluate_in_real_time if settings.real_time else _evaluate_in_lockstep
    with ExitStack() as stack:
        policy: Policy
        if settings.driver == "expert":
            simulator = make_simulator()
            policy = ExpertPolicy(find_expert()(simulator), simulator)
            make_simulator = partial(_the_same, simulator)
        else:
            policy = stack.enter_context(closing(open_policy(settings, game.name, note)))
        stack.enter_context(bar)
        try:
            run(settings, make_simulator, policy, seeds, count, facts)
        except KeyboardInterrupt:
            facts["interrupted"] = True
        if not results:
            raise KeyboardInterrupt
        model, engine_name = policy.spec.name, policy.name
    report = EvaluationReport(
        model, engine_name, game.name, 1.0 / facts["rate_used_hz"], tuple(results), game.profile.returns
    )
    if invocation.json:
        say_json({**report.to_dict(), **facts, "peak_memory_mb": peak_memory_mb()})
    else:
        Console().print(report.table())
        for track in results:
            for problem in track.problems:
                say(f"track {track.seed}: {problem}")
    return exit_code(facts["interrupted"], [problem for track in results for problem in track.problems])


def _the_same(simulator: "Simulator") -> "Simulator":
    return simulator


def _evaluate_in_lockstep(
    settings: EvaluateSettings,
    make_simulator: "Callable[[], Simulator]",
    policy: "Policy",
    seeds: range,
    count: "Callable[[TrackResult], None]",
    facts: dict[str, Any],
) -> None:
    from agent.sessions.evaluation import evaluate

    simulator = make_simulator()
    hold_ticks = nearest_hold_ticks(
        settings.rate if settings.rate is not None else policy.spec.rate_hz, simulator, note
    )
    rate_hz = 1.0 / (hold_ticks * simulator.tick_s)
    facts["rate_used_hz"] = rate_hz

    def observers_for(seed: int) -> "list[TickObserver]":
        return film_observers(settings, seed, rate_hz)

    evaluate(lambda: simulator, policy, seeds, hold_ticks, count, observers_for)


def _evaluate_in_real_time(
    settings: EvaluateSettings,
    make_simulator: "Callable[[], Simulator]",
    policy: "Policy",
    seeds: range,
    count: "Callable[[TrackResult], None]",
    facts: dict[str, Any],
) -> None:
    from agent.games.realtime.game import RealTimeGame
    from agent.sessions.evaluation import track_result
    from agent.sessions.live import drive_laps, overall_timing

    with RealTimeGame(make_simulator, seeds[0]) as running:
        running.wait_until_ready()
        rate_hz, facts["inference_s"] = settle_rate(settings.rate, policy, note)
        facts["rate_used_hz"] = rate_hz

        def observers_for(seed: int, stats: "TickStats") -> "list[TickObserver]":
            return film_observers(settings, seed, rate_hz)

        laps = []
        for lap in drive_laps(running, policy, rate_hz, seeds, observers_for=observers_for):
            if lap.state.outcome == "driving":
                continue  # interrupted: no result, and the next round says so
            laps.append(lap)
            facts["timing"] = overall_timing(laps)
            count(track_result(lap.seed, lap.state, lap.summary, lap.mean_speed))


def film_observers(settings: EvaluateSettings, seed: int, rate_hz: float) -> "list[TickObserver]":
    if settings.video is None:
        return []
    from agent.observers.video import VideoWriter

    return [VideoWriter(settings.video / f"{settings.game}-{seed}.mp4", rate_hz)]


COMMAND = Command(
    name="evaluate",
    summary="drive many tracks and sum up: mean, spread, worst",
    settings=EvaluateSettings,
    run=_run,
    example="python -m agent evaluate --tracks 100 --seed-start 500000 --json",
    json=JSON,
)
