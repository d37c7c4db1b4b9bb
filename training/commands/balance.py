"""``balance``: what each balancing rule would feed the network."""

import argparse
import json
from pathlib import Path
from typing import Any

from training.commands.common import progress_bar, tell
from training.data.balancing.registry import RULE_NAMES


def add_to(commands: Any) -> None:
    """Add the command to the program's subcommands."""
    parser = commands.add_parser(
        "balance",
        help="show what each balancing rule would feed, before training on it",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m training balance data/expert --out parser.png",
    )
    parser.add_argument("data", type=Path, nargs="+", metavar="DATA", help="folders with episodes, or episodes")
    parser.add_argument("--rule", choices=(*RULE_NAMES, "all"), default="all", help="which rule (default: all)")
    parser.add_argument("--out", type=Path, metavar="PNG", help="also draw the histograms into this file")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from agent.contract.spec import STEERING_THROTTLE_BRAKE
    from training.data.balance_report import draw_report, print_report, read_labels, report_balance
    from training.data.samples import find_episodes

    paths = [
        path for entry in arguments.data for path in ([entry] if entry.suffix == ".parquet" else find_episodes([entry]))
    ]
    with progress_bar() as progress:
        task = progress.add_task("episodes", total=len(paths))
        labels = read_labels(paths, lambda: progress.advance(task))
    rule_names = RULE_NAMES if arguments.rule == "all" else (arguments.rule,)
    report = report_balance(labels, STEERING_THROTTLE_BRAKE, rule_names, len(paths))
    if arguments.json:
        print(json.dumps(report.to_dict(), indent=2))  # noqa: T201
    else:
        print_report(report, Console(highlight=False))
    if arguments.out is not None:
        draw_report(report, arguments.out)
        tell(f"wrote {arguments.out}")
