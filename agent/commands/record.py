"""``record``: episodes to train from or to replay."""

import argparse
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.arguments import at_least_one
from agent.commands.common import (
    ENDINGS,
    EXIT_DONE,
    add_command,
    add_engine_options,
    add_seed_start_option,
    make_engine,
    nearest_hold_ticks,
    say,
)
from agent.games.registry import find_expert, find_game

if TYPE_CHECKING:
    from agent.engines.base import Engine


def add_to(commands: Any) -> None:
    """Add the command to the program's subcommands."""
    parser = add_command(
        commands,
        "record",
        _run,
        "record episodes of the network or the expert driving, the game waiting",
        "python -m agent record --driver expert --episodes 5 --seed-start 10 --out episodes",
    )
    add_engine_options(parser)
    parser.add_argument(
        "--driver",
        choices=("policy", "expert"),
        default="policy",
        help="who drives: policy, the network; or expert, a program that reads the track instead of the picture, for "
        "which the engine options are without effect (default: policy)",
    )
    parser.add_argument("--episodes", type=at_least_one, default=1, metavar="N", help="number of tracks (default: 1)")
    add_seed_start_option(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for GAME-SEED.parquet")


def _run(arguments: argparse.Namespace) -> int:
    from agent.recording import ExpertEngine, record_episodes

    game = find_game(arguments.game)
    seeds = range(arguments.seed_start, arguments.seed_start + arguments.episodes)
    with closing(game.simulator_maker()()) as simulator, ExitStack() as stack:
        engine: Engine
        if arguments.driver == "expert":
            engine = ExpertEngine(find_expert()(simulator), simulator)
        else:
            engine = stack.enter_context(closing(make_engine(arguments, game.name)))
        hold_ticks = nearest_hold_ticks(engine.spec.rate_hz, simulator)
        for path, state in record_episodes(simulator, engine, seeds, hold_ticks, arguments.out):
            say(f"{path}: return {state.episode_return:.1f}, {ENDINGS[state.outcome]} after {state.time_s:.1f} s")
    return EXIT_DONE
