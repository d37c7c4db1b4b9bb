"""``collect``: record an expert, or label a network's driving."""

import argparse
import sys
from pathlib import Path
from typing import Any

from agent.commands.numbers import at_least_one, number, whole
from training.collecting.courses import GAMES
from training.commands.common import progress_bar
from training.data.held_out import HELD_OUT_SEED


def add_to(commands: Any) -> None:
    """Add the command to the program's subcommands."""
    parser = commands.add_parser("collect", help="record the expert's driving, or label the network's (DAgger)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the episodes go")
    parser.add_argument("--game", choices=GAMES, default="carracing", help="what to drive (default: carracing)")
    parser.add_argument(
        "--track",
        nargs="+",
        default=[],
        metavar="NAME",
        help="tracks of a game whose tracks have names; seeds take turns with them (default: all that are trained on)",
    )
    parser.add_argument("--episodes", type=at_least_one, default=20, metavar="N", help="tracks (default: 20)")
    parser.add_argument("--seed-start", type=_track, default=0, metavar="S", help="first track's seed (default: 0)")
    parser.add_argument(
        "--noise",
        type=_noise,
        default=1.0,
        metavar="X",
        help="disturbances: 0 none, 1 about one a second (default: 1)",
    )
    parser.add_argument("--weights", type=Path, metavar="DIR", help="DAgger: this model drives, the expert labels")
    parser.add_argument(
        "--expert-share",
        type=_share,
        default=0.0,
        metavar="X",
        help="DAgger: share the expert drives (default: 0)",
    )
    parser.add_argument(
        "--expert",
        default="",
        metavar="NAME",
        help="who labels, and drives without --weights; of supertuxkart: road, who keeps to the middle of the road "
        "(the default), or built-in, the game's own driver; other games have but one",
    )
    parser.add_argument(
        "--disguise",
        action="store_true",
        help="repaint supertuxkart's textures for every three episodes (a worker's share at a time), for roads that no "
        "track shows; the installed game stays as it is; 90 MB a worker beside the episodes",
    )
    parser.add_argument("--workers", type=at_least_one, default=2, metavar="N", help="processes (default: 2)")
    parser.set_defaults(command=_run)


def _track(text: str) -> int:
    return whole(text, 0, HELD_OUT_SEED - 1)  # those above are for judging


def _noise(text: str) -> float:
    return number(text, 0, 100)


def _share(text: str) -> float:
    return number(text, 0, 1)


def _run(arguments: argparse.Namespace) -> None:
    from training.collecting.collect import CollectConfig, collect

    config = CollectConfig(
        folder=arguments.out,
        seed_start=arguments.seed_start,
        episodes=arguments.episodes,
        noise=arguments.noise,
        weights=arguments.weights,
        expert_share=arguments.expert_share,
        workers=arguments.workers,
        game=arguments.game,
        tracks=tuple(arguments.track),
        expert=arguments.expert,
        disguise=arguments.disguise,
    )
    returns: list[float] = []
    with progress_bar() as progress:
        task = progress.add_task("episodes", total=arguments.episodes)

        def done(seed: int, episode_return: float) -> None:
            returns.append(episode_return)
            progress.advance(task)
            if not progress.console.is_terminal:
                print(f"track {seed}: return {episode_return:.1f}", file=sys.stderr)  # noqa: T201

        paths = collect(config, done)
    progress_text = f"{len(paths)} episodes in {config.folder}, {len(returns)} of them new"
    mean = f", mean return of the new ones {sum(returns) / len(returns):.1f}" if returns else ""
    print(progress_text + mean)  # noqa: T201
