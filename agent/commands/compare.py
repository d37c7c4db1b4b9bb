"""``compare``: two drivers on the tracks that both drove."""

import argparse
from pathlib import Path
from typing import Any

from agent.commands.options import add_command, add_json_option
from agent.commands.wiring import say


def add_to(commands: Any) -> None:
    """Add the command to the program's subcommands."""
    parser = add_command(
        commands,
        "compare",
        _run,
        "compare two drivers on the tracks that both drove, with a confidence interval",
        "python -m agent compare float.json --with int8.json",
    )
    parser.add_argument("first", type=Path, nargs="+", metavar="FIRST", help="what `evaluate --json` printed")
    parser.add_argument(
        "--with", dest="second", type=Path, nargs="+", required=True, metavar="SECOND", help="the other driver's"
    )
    add_json_option(parser)


def _run(arguments: argparse.Namespace) -> int:
    from agent.sessions.comparison import compare_reports, load_report

    sides = arguments.first, arguments.second
    comparison = compare_reports(*([load_report(path) for path in side] for side in sides))
    if arguments.json:
        say(comparison.to_json().rstrip())
    else:
        from rich.console import Console

        Console().print(comparison.table())
    return 0
