"""Options that several commands share, and the checks of their values."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.commands.numbers import at_least_one, number, whole
from agent.contract.errors import GameError
from agent.contract.profile import Capture, GameProfile, Region
from agent.engines.registry import EngineChoices
from agent.games.registry import game_names

_MAX_SEED = 2**32 - 1
_MAX_RATE_HZ = 1000.0
_VIDEO_SUFFIXES = (".mp4", ".webp", ".gif")


def add_command(
    commands: Any, name: str, command: Callable[[argparse.Namespace], int], summary: str, example: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=command)
    parser.add_argument("--verbose", action="store_true", help="show details, and the traceback of an error")
    return parser


def add_engine_options(parser: argparse.ArgumentParser, game: bool = True) -> None:
    if game:
        names = ", ".join(game_names())
        parser.add_argument("--game", default="carracing", help=f"what to drive: {names} (default: carracing)")
    parser.add_argument(
        "--weights", type=Path, metavar="DIR", help="model folder (default: the shipped model_weights/GAME)"
    )
    parser.add_argument(
        "--engine",
        choices=EngineChoices(),
        metavar="NAME",
        default="auto",
        help="what runs the network, one of %(choices)s: auto is the fastest that runs here, measured once and "
        "remembered, int8 only where driving has shown it to be as good; constant runs none and rolls slowly straight "
        "on (default: auto)",
    )
    parser.add_argument(
        "--threads",
        type=at_least_one,
        metavar="N",
        help="processor threads for the network (default: the engine's choice)",
    )


def add_rate_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rate",
        type=control_rate,
        metavar="HZ",
        help="control rate in Hz (default: the weights' own, in real time lowered to what this machine can hold)",
    )


def add_processor_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("beside other programs")
    group.add_argument(
        "--high-priority",
        action="store_true",
        help="have the system prefer this program; on Linux it needs the right to",
    )
    group.add_argument(
        "--cores",
        type=cores,
        metavar="A,B",
        help="keep it on these processor cores, from 0 (Linux, Windows); give the game the others",
    )


def add_seed_start_option(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--seed-start", type=track_seed, default=0, metavar="S", help="first track; the others follow it (default: 0)"
    )


def add_json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text; units are in names")


def positive(text: str) -> float:
    value = number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def not_negative(text: str) -> float:
    value = number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def control_rate(text: str) -> float:
    value = positive(text)
    if value > _MAX_RATE_HZ:
        raise argparse.ArgumentTypeError(f"{text} Hz is more than the {_MAX_RATE_HZ:g} Hz any loop here can pace")
    return value


def cores(text: str) -> tuple[int, ...]:
    """Parse ``0,1``."""
    return tuple(dict.fromkeys(whole(part, 0, 4095) for part in text.split(",")))


def track_seed(text: str) -> int:
    return whole(text, 0, _MAX_SEED)


def video_path(text: str) -> Path:
    return _with_suffix(text, _VIDEO_SUFFIXES)


def png_path(text: str) -> Path:
    return _with_suffix(text, (".png",))


def _with_suffix(text: str, suffixes: tuple[str, ...]) -> Path:
    path = Path(text)
    if path.suffix.lower() not in suffixes:
        raise argparse.ArgumentTypeError(f"{text!r} should end in {' or '.join(suffixes)}")
    return path


def region(text: str) -> Region:
    """Parse ``left,top,width,height`` in pixels."""
    parts = text.split(",")
    try:
        return Region(*map(int, parts))
    except (TypeError, ValueError, GameError):
        raise argparse.ArgumentTypeError(f"{text!r} is no region, expected left,top,width,height in pixels") from None


def add_capture_options(parser: argparse.ArgumentParser) -> None:
    """Add where to look, for a game in a window, instead of what its profile says."""
    group = parser.add_argument_group("games in a window", "what the game's profile says, unless given here")
    where = group.add_mutually_exclusive_group()
    where.add_argument("--window", metavar="TITLE", help="part of the window's title")
    where.add_argument("--monitor", type=at_least_one, metavar="N", help="a whole monitor instead, from 1")
    group.add_argument(
        "--region", type=region, metavar="L,T,W,H", help="left, top, width, height in pixels, inside of that"
    )


def where_to_look(arguments: argparse.Namespace, profile: GameProfile) -> Capture:
    """Return what to capture: the profile's, with what was given on the command line in its place."""
    capture = profile.capture or Capture()
    if arguments.window is not None:
        capture = replace(capture, window=arguments.window)
    elif arguments.monitor is not None:
        capture = Capture(None, arguments.monitor, capture.region)
    return capture if arguments.region is None else replace(capture, region=arguments.region)
