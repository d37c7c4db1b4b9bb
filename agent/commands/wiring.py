"""What the commands share: talking to the user, and exit codes."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agent.contract.untrusted import printable

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

EXIT_DONE, EXIT_ERROR, EXIT_FAULT, EXIT_INTERRUPTED = 0, 1, 3, 130

ENDINGS = {
    "lap": "lap finished",
    "left": "left the field",
    "timeout": "not finished in time",
    "driving": "stopped on the way",
}


def say(text: str) -> None:
    """Write a result to standard output, without what would steer the terminal."""
    sys.stdout.write(printable(text.rstrip("\n")) + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Write progress or a problem to standard error, without what would steer the terminal."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


def say_json(report: dict[str, Any]) -> None:
    say(json.dumps(report, indent=2, allow_nan=False))


def progress_bar(name: str, *columns: "ProgressColumn") -> "Progress":
    """Return a bar on standard error, further columns last; it shows nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    terminal = Console(stderr=True)
    parts = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), *columns)
    return Progress(name, *parts, console=terminal, disable=not terminal.is_terminal)


def exit_code(interrupted: bool, problems: Sequence[str], fault: str | None = None) -> int:
    """Return how a drive that began has ended; an output that was asked for and is not there makes it an error.

    Args:
        interrupted: Whether by Ctrl-C.
        problems: What failed beside the driving.
        fault: What the driving failed by.
    """
    if problems:
        more = f" ({len(problems) - 1} more above)" if len(problems) > 1 else ""
        note(f"error: an output of the drive failed: {problems[0]}{more}")
    if fault is not None:
        note(f"fault, controls neutral: {fault}")
        return EXIT_FAULT
    if interrupted:
        return EXIT_INTERRUPTED
    return EXIT_ERROR if problems else EXIT_DONE
