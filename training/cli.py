"""The trainer's command line: collect episodes, fit a network, export it."""

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence

from safetensors import SafetensorError

from agent.contract.errors import AgentError
from training.commands import balance, collect, export, fit, report, speed


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 0 done, 1 an error told in one line, 2 bad usage, 130 interrupted."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    arguments.command_line = sys.argv[1:] if argv is None else list(argv)
    command: Callable[[argparse.Namespace], None] = arguments.command
    try:
        command(arguments)
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept, the same command goes on", file=sys.stderr)  # noqa: T201
        return 130
    except AgentError as exc:
        return _report_error(str(exc), arguments.verbose)
    except (OSError, SafetensorError) as exc:  # a disk may fill up, or a folder be read-only, at any write
        return _report_error(
            f"{exc}: a file could not be read or written, expected readable data and an --out with room. Free space or "
            "choose another folder; what was finished is kept.",
            arguments.verbose,
        )
    return 0


def _report_error(message: str, verbose: bool) -> int:
    if verbose:
        traceback.print_exc()
    print(f"error: {message}", file=sys.stderr)  # noqa: T201
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description="Make the weights that `python -m agent drive` runs.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=(
            "a whole training, from nothing to a driving car:\n"
            "  python -m training collect --out data/expert --episodes 60\n"
            "  python -m training fit --data data/expert --out runs/first --width 240 --height 135 --tracks 3\n"
            "  python -m training collect --out data/dagger --seed-start 2000 --weights runs/first/best\n"
            "  python -m training fit --data data/expert data/dagger --out runs/second --init runs/first/best\n"
            "  python -m agent evaluate --weights runs/second/best --tracks 20"
        ),
    )
    parser.add_argument("--verbose", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (collect, balance, fit, report, speed, export):
        command.add_to(commands)
    return parser
