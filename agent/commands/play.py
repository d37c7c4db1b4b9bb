"""``play``: the embedded game in a window, for people and for agents that see only pixels."""

import argparse
import itertools
from contextlib import closing
from pathlib import Path
from typing import Any

from agent.commands.numbers import at_least_one
from agent.commands.options import add_command, positive, track_seed
from agent.commands.wiring import ENDINGS, EXIT_DONE, say

_KEYS = """\
Left stick steers, right trigger is the throttle, left trigger the brake; or the arrow keys, or WASD. R starts the lap
again, Escape ends it. A lap's clock starts with the first control.
"""


def add_to(commands: Any) -> None:
    """Add the command to the program's subcommands."""
    parser = add_command(
        commands,
        "play",
        _run,
        "drive the embedded game yourself, in a window, or let an agent drive it there",
        "python -m agent play carracing --seed 7",
    )
    parser.add_argument("game", nargs="?", choices=("carracing",), default="carracing", help="what to play")
    parser.add_argument("--seed", type=track_seed, default=0, metavar="S", help="track of the first lap (default: 0)")
    parser.add_argument("--laps", type=at_least_one, metavar="N", help="tracks to drive (default: until it is closed)")
    parser.add_argument("--scale", type=positive, default=1.0, metavar="X", help="of 1000 x 800 px (default: 1)")
    parser.add_argument("--no-limit", action="store_true", help="no end after the game's 20 s")
    parser.add_argument("--report", type=Path, metavar="FILE", help="append a line of JSON a lap")
    parser.epilog = _KEYS + str(parser.epilog)


def _run(arguments: argparse.Namespace) -> int:
    from agent.sessions.play import GameWindow, play  # opens the display before the game asks for none

    width_px, height_px = round(1000 * arguments.scale), round(800 * arguments.scale)
    with GameWindow(width_px, height_px) as window:
        from agent.games.carracing import EPISODE_TICKS, CarRacing

        with closing(CarRacing(None if arguments.no_limit else EPISODE_TICKS)) as simulator:
            seeds = itertools.count(arguments.seed)
            for seed, state in play(simulator, window, itertools.islice(seeds, arguments.laps), arguments.report):
                say(
                    f"track {seed}: return {state.episode_return:.1f}, {ENDINGS[state.outcome]} after "
                    f"{state.time_s:.1f} s, {state.progress:.0%} of the track"
                )
    return EXIT_DONE
