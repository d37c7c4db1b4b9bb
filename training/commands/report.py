"""``report``: several runs' curves."""

import argparse
import json
from pathlib import Path
from typing import Any

from training.commands.common import tell


def add_to(commands: Any) -> None:
    """Add the command to the program's subcommands."""
    parser = commands.add_parser(
        "report",
        help="lay the curves of several runs over each other, and list their last and best rounds",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m training report runs/*/ --out parser.html --by seconds",
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders made by fit, finished or not")
    parser.add_argument(
        "--out",
        type=_picture_or_page,
        metavar="FILE",
        help="also draw the curves into this .png or one-file .html",
    )
    parser.add_argument(
        "--by",
        choices=("step", "samples", "seconds"),  # training.fitting.report.AXES
        default="step",
        help="what the curves are drawn over; seconds are those of training alone (default: step)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(command=_run)


def _picture_or_page(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in (".png", ".html"):
        raise argparse.ArgumentTypeError(f"{text!r} should end in .png or .html")
    return path


def _run(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from training.fitting.report import load_runs, print_report, to_dict, write_report

    runs = load_runs(arguments.runs)
    if arguments.out is not None:
        write_report(runs, arguments.out, arguments.by)
    if arguments.json:
        print(json.dumps(to_dict(runs), indent=2, allow_nan=False))  # noqa: T201
    else:
        print_report(runs, Console(highlight=False))
    if arguments.out is not None:
        tell(f"wrote {arguments.out}")
