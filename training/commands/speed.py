"""``speed``: time a training step here."""

import argparse
import json
import os
from typing import Any

from agent.commands.numbers import at_least_one


def add_to(commands: Any) -> None:
    """Add the command to the program's subcommands."""
    parser = commands.add_parser(
        "speed",
        help="time a training step here: plain, ours, and the helper step, taking turns",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m training speed --width 240 --height 135",
    )
    parser.add_argument("--backbone", default="xception", metavar="NAME", help="network body (default: xception)")
    parser.add_argument("--width", type=at_least_one, default=160, metavar="PX", help="of the pictures (default: 160)")
    parser.add_argument("--height", type=at_least_one, default=90, metavar="PX", help="of the pictures (default: 90)")
    parser.add_argument("--batch", type=at_least_one, default=8, metavar="N", help="samples a batch (default: 8)")
    parser.add_argument(
        "--rounds", type=at_least_one, default=10, metavar="N", help="timed steps of each (default: 10)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    from rich.console import Console

    from training.measuring.speed import measure_steps, speed_table, speeds_to_dict

    speeds = measure_steps(arguments.backbone, arguments.height, arguments.width, arguments.batch, arguments.rounds)
    if arguments.json:
        print(json.dumps(speeds_to_dict(speeds), indent=2))  # noqa: T201
    else:
        title = f"{arguments.backbone}, {arguments.width} x {arguments.height}, batches of {arguments.batch}"
        Console().print(speed_table(speeds, title))
