"""``pace``: how evenly the loop keeps its rate here."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from agent.commands.numbers import at_least_one
from agent.commands.options import add_command, add_json_option, control_rate, not_negative, positive
from agent.commands.wiring import EXIT_DONE, progress_bar, say_json
from agent.contract.errors import EngineError

if TYPE_CHECKING:
    from agent.measuring.loop_jitter import Pace

_THINK_MS = 5.0


def add_to(commands: Any) -> None:
    """Add the command to the program's subcommands."""
    parser = add_command(
        commands,
        "pace",
        _run,
        "measure how evenly the loop keeps its rate, with the processor at rest and with every core busy",
        "python -m agent pace --with-others",
    )
    parser.add_argument("--rate", type=control_rate, default=30.0, metavar="HZ", help="control rate (default: 30)")
    parser.add_argument("--seconds", type=positive, default=20.0, metavar="T", help="length of a turn (default: 20)")
    parser.add_argument(
        "--rounds", type=at_least_one, default=3, metavar="N", help="turns a loop, idle and loaded (default: 3)"
    )
    parser.add_argument(
        "--think-ms",
        type=not_negative,
        default=_THINK_MS,
        metavar="MS",
        help=f"processor time that stands for the network, in every tick (default: {_THINK_MS:g})",
    )
    parser.add_argument("--high-priority", action="store_true", help="as `drive --high-priority` has it, for our loop")
    parser.add_argument(
        "--with-others", action="store_true", help="compare with rtgym's loop (`pip install '.[compare]'`)"
    )
    add_json_option(parser)


def _run(arguments: argparse.Namespace) -> int:
    from agent.measuring.loop_jitter import CONDITIONS, OURS, loop_names, run_turns

    loops = loop_names() if arguments.with_others else (OURS,)
    if arguments.with_others and len(loops) == 1:
        raise EngineError("there is no other loop to compare with, expected the training package beside the agent.")
    with progress_bar("turns") as bar:
        task = bar.add_task("", total=arguments.rounds * len(loops) * len(CONDITIONS))
        paces = list(
            run_turns(
                loops,
                arguments.rate,
                arguments.seconds,
                arguments.rounds,
                arguments.think_ms / 1e3,
                arguments.high_priority,
                lambda: bar.advance(task),
            )
        )
    if arguments.json:
        say_json(
            {"period_s": 1.0 / arguments.rate, "think_s": arguments.think_ms / 1e3, "loops": [*map(asdict, paces)]}
        )
    else:
        _print_table(paces)
    return EXIT_DONE


def _print_table(paces: "list[Pace]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("loop", "cores")
    for title in ("ticks", "period ms", "± ms", "p99 off ms", "worst ms", "missed"):
        table.add_column(title, justify="right")
    for pace in paces:
        times_s = (pace.period_mean_s, pace.period_sd_s, pace.error_p99_s, pace.error_max_s)
        milliseconds = (f"{time_s * 1e3:.3f}" for time_s in times_s)
        table.add_row(pace.loop, pace.condition, str(pace.ticks), *milliseconds, f"{pace.missed_share:.2%}")
    console = Console()
    console.width = max(console.width, 90)  # no column is left out in a log file
    console.print(table)
