"""``evaluate``: many tracks, summed up."""

import argparse
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.commands.numbers import at_least_one
from agent.commands.options import (
    add_command,
    add_engine_options,
    add_json_option,
    add_rate_option,
    add_seed_start_option,
)
from agent.commands.wiring import (
    exit_code,
    make_policy,
    nearest_hold_ticks,
    note,
    progress_bar,
    say,
    say_json,
    settle_rate,
)
from agent.contract.errors import GameError
from agent.games.registry import find_expert, find_game
from agent.system.process import peak_memory_mb

if TYPE_CHECKING:
    from agent.games.base import Simulator
    from agent.observers.base import TickObserver
    from agent.policies.base import Policy
    from agent.sessions.evaluation import TrackResult
    from agent.system.pacing import TickStats


def add_to(commands: Any) -> None:
    """Add the command to the program's subcommands."""
    parser = add_command(
        commands,
        "evaluate",
        _run,
        "drive many tracks and sum up: mean, spread, worst",
        "python -m agent evaluate --tracks 100 --seed-start 500000 --json",
    )
    add_engine_options(parser)
    add_rate_option(parser)
    parser.add_argument(
        "--tracks",
        type=at_least_one,
        metavar="N",
        help="number of tracks; named ones take turns (default: 10, or each named track once)",
    )
    parser.add_argument(
        "--track", nargs="+", default=[], metavar="NAME", help="which tracks, for a game whose tracks have names"
    )
    add_seed_start_option(parser)
    parser.add_argument(
        "--driver",
        choices=("policy", "expert"),
        default="policy",
        help="who drives: policy, the network; or expert, a program that reads the track instead of the picture, for "
        "which the engine options are without effect (default: policy)",
    )
    parser.add_argument(
        "--real-time",
        action="store_true",
        help="let the game run on its own clock (default: it waits for every decision)",
    )
    parser.add_argument("--video", type=Path, metavar="DIR", help="film every track into this folder (.mp4)")
    add_json_option(parser)


def _run(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import TextColumn

    from agent.policies.expert import ExpertPolicy
    from agent.sessions.evaluation import EvaluationReport

    if arguments.driver == "expert" and arguments.real_time:
        raise GameError(
            "--driver expert reads the game's own state, which --real-time keeps in another process, expected one of "
            "them. Leave --real-time out."
        )
    game = find_game(arguments.game)
    make_simulator = game.simulator_maker(arguments.track)
    tracks = arguments.tracks or len(arguments.track or game.track_names) or 10
    seeds = range(arguments.seed_start, arguments.seed_start + tracks)
    results: list[TrackResult] = []
    facts: dict[str, Any] = {"real_time": arguments.real_time, "interrupted": False}
    bar = progress_bar("tracks", TextColumn("{task.fields[mean]}"))
    task = bar.add_task("tracks", total=len(seeds), mean="")

    def count(result: "TrackResult") -> None:
        results.append(result)
        mean = sum(track.episode_return for track in results) / len(results)
        bar.update(task, advance=1, mean=f"mean {mean:.1f}, last {result.episode_return:.1f}")
        if not bar.console.is_terminal:
            done = f"{len(results)} of {len(seeds)}, mean {mean:.1f}"
            note(f"track {result.track or result.seed}: return {result.episode_return:.1f} ({done})")

    run = _evaluate_in_real_time if arguments.real_time else _evaluate_in_lockstep
    with ExitStack() as stack:
        policy: Policy
        if arguments.driver == "expert":
            simulator = make_simulator()
            policy = ExpertPolicy(find_expert()(simulator), simulator)
            make_simulator = partial(_the_same, simulator)
        else:
            policy = stack.enter_context(closing(make_policy(arguments, game.name)))
        stack.enter_context(bar)
        try:
            run(arguments, make_simulator, policy, seeds, count, facts)
        except KeyboardInterrupt:
            facts["interrupted"] = True
        if not results:
            raise KeyboardInterrupt
        model, engine_name = policy.spec.name, policy.name
    report = EvaluationReport(model, engine_name, game.name, 1.0 / facts["rate_used_hz"], tuple(results))
    if arguments.json:
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
    arguments: argparse.Namespace,
    make_simulator: "Callable[[], Simulator]",
    policy: "Policy",
    seeds: range,
    count: "Callable[[TrackResult], None]",
    facts: dict[str, Any],
) -> None:
    from agent.sessions.evaluation import evaluate

    simulator = make_simulator()
    hold_ticks = nearest_hold_ticks(arguments.rate if arguments.rate is not None else policy.spec.rate_hz, simulator)
    rate_hz = 1.0 / (hold_ticks * simulator.tick_s)
    facts["rate_used_hz"] = rate_hz

    def observers_for(seed: int) -> "list[TickObserver]":
        return film_observers(arguments, seed, rate_hz)

    evaluate(lambda: simulator, policy, seeds, hold_ticks, count, observers_for)


def _evaluate_in_real_time(
    arguments: argparse.Namespace,
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
        rate_hz, facts["inference_s"] = settle_rate(arguments.rate, policy)
        facts["rate_used_hz"] = rate_hz

        def observers_for(seed: int, stats: "TickStats") -> "list[TickObserver]":
            return film_observers(arguments, seed, rate_hz)

        laps = []
        for lap in drive_laps(running, policy, rate_hz, seeds, observers_for=observers_for):
            if lap.state.outcome == "driving":
                continue  # interrupted: no result, and the next round says so
            laps.append(lap)
            facts["timing"] = overall_timing(laps)
            count(track_result(lap.seed, lap.state, lap.summary, lap.mean_speed))


def film_observers(arguments: argparse.Namespace, seed: int, rate_hz: float) -> "list[TickObserver]":
    if arguments.video is None:
        return []
    from agent.observers.video import VideoWriter

    return [VideoWriter(arguments.video / f"{arguments.game}-{seed}.mp4", rate_hz)]
