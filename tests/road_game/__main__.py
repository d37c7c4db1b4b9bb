"""``python -m tests.road_game``: play it."""

import argparse
import re
from pathlib import Path

KEYS = """\
Enter begins, the arrow keys drive (down brakes, and drives back once the car stands), R puts the car back onto the
road, P pauses, Escape goes back to the menu, F fills the screen and back. With --gamepad the left stick steers, the
triggers are throttle and brake, Start begins.
"""


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size, expected WIDTHxHEIGHT in pixels, such as 640x360")
    return int(match[1]), int(match[2])


def main() -> None:
    """Read the command line and play."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.road_game",
        description="A road game in a window.",
        epilog=KEYS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=0, help="of the track (default: 0)")
    parser.add_argument("--title", default="Road Game", help="of the window (default: Road Game)")
    parser.add_argument("--size", type=_size, default=(640, 360), help="WIDTHxHEIGHT in pixels (default: 640x360)")
    parser.add_argument("--seconds", type=float, metavar="T", help="close after T seconds (default: never)")
    parser.add_argument("--log", type=Path, metavar="FILE", help="write what happens, a line of JSON a picture")
    parser.add_argument("--no-walls", action="store_true", help="no fence: one can drive away over the fields")
    parser.add_argument("--gamepad", action="store_true", help="listen to a gamepad, too")
    arguments = parser.parse_args()

    from .game import Game, Log
    from .window import Window

    with Log(arguments.log) as log:
        game = Game(arguments.seed, not arguments.no_walls, log)
        Window(game, arguments.title, arguments.size, arguments.gamepad).run(arguments.seconds)


if __name__ == "__main__":
    main()
