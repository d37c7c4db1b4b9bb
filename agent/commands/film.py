"""``film``: several models on one track, side by side."""

import argparse
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from agent.commands.numbers import at_least_one
from agent.commands.options import add_command, positive, track_seed, video_path
from agent.commands.wiring import EXIT_DONE, make_policy, nearest_hold_ticks, say
from agent.contract.errors import AgentError, SpecError
from agent.contract.spec import ModelSpec
from agent.engines.registry import EngineChoices
from agent.games.registry import find_game


def add_to(commands: Any) -> None:
    """Add the command to the program's subcommands."""
    parser = add_command(
        commands,
        "film",
        _run,
        "film several models on one track, side by side: the stages of a training, say",
        "python -m agent film runs/mine/stages/* --seed 7 --out stages.webp",
    )
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="model folders, in the film's order")
    parser.add_argument("--game", default="carracing", help="what to drive (default: carracing)")
    parser.add_argument(
        "--out",
        type=video_path,
        required=True,
        metavar="FILE",
        help="the film: .mp4, or .webp or .gif (625 pictures at most)",
    )
    parser.add_argument("--seed", type=track_seed, default=0, metavar="S", help="the track (default: 0)")
    parser.add_argument("--seconds", type=positive, default=20.0, metavar="N", help="game time at most (default: 20)")
    parser.add_argument("--scale", type=positive, default=0.25, metavar="X", help="of each picture (default: 0.25)")
    parser.add_argument(
        "--every", type=at_least_one, default=1, metavar="N", help="keep every N-th picture (default: 1)"
    )
    parser.add_argument(
        "--engine",
        choices=EngineChoices(),
        metavar="NAME",
        default="auto",
        help="what runs the networks: %(choices)s (default: auto)",
    )
    parser.add_argument("--threads", type=at_least_one, metavar="N", help="processor threads for each")


def _run(arguments: argparse.Namespace) -> int:
    from agent.observers.video import ANIMATION_FRAMES, FilmFile
    from agent.sessions.film import drive_for_film, side_by_side

    game = find_game(arguments.game)
    folders = [folder.resolve() for folder in arguments.models]
    same_names = len({folder.name for folder in folders}) < len(folders)
    films = []
    with closing(game.simulator_maker()()) as simulator, ExitStack() as stack:
        rates_hz = {ModelSpec.load(folder).rate_hz for folder in folders}
        if len(rates_hz) > 1:
            listed = ", ".join(f"{rate:g}" for rate in sorted(rates_hz))
            raise SpecError(f"the models decide at {listed} Hz, expected one rate for one film. Film them apart.")
        hold_ticks = nearest_hold_ticks(rates_hz.pop(), simulator)
        rate_hz = 1.0 / (hold_ticks * simulator.tick_s)
        pictures = arguments.seconds * rate_hz / arguments.every
        if arguments.out.suffix.lower() != ".mp4" and pictures > ANIMATION_FRAMES:
            raise AgentError(
                f"up to {pictures:.0f} pictures, an animated one holds {ANIMATION_FRAMES}. Film fewer --seconds, keep "
                "only --every 2nd, or write an .mp4."
            )
        film = stack.enter_context(FilmFile(arguments.out, rate_hz / arguments.every))
        for folder in folders:
            arguments.weights = folder
            caption = f"{folder.parent.name}/{folder.name}" if same_names else folder.name
            with closing(make_policy(arguments, game.name)) as policy:
                films.append(
                    drive_for_film(
                        simulator, policy, arguments.seed, hold_ticks, caption, arguments.scale, arguments.seconds
                    )
                )
            state = simulator.state
            say(f"{folder}: {state.outcome} after {state.time_s:.1f} s, return {state.episode_return:.1f}")
        for picture in side_by_side(films, arguments.every):
            film.write(picture)
    return EXIT_DONE
