"""Shared by the commands: output to the user, and exit codes."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agent.contract.untrusted import printable
from agent.contract.wording import as_installed

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
    """Write a result to standard output, without characters that steer the terminal."""
    _write_out(as_installed(text))


def _write_out(text: str) -> None:
    sys.stdout.write(printable(text.rstrip("\n")) + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Write progress or a problem to standard error, without characters that steer the terminal."""
    sys.stderr.write(printable(as_installed(text)) + "\n")
    sys.stderr.flush()


def say_json(report: dict[str, Any]) -> None:
    _write_out(json.dumps(report, indent=2, allow_nan=False))


def progress_bar(name: str, *columns: "ProgressColumn") -> "Progress":
    """Return a progress bar on standard error, further columns last; it shows nothing without a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    terminal = Console(stderr=True)
    parts = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), *columns)
    return Progress(name, *parts, console=terminal, disable=not terminal.is_terminal)


def exit_code(interrupted: bool, problems: Sequence[str], fault: str | None = None) -> int:
    """Return the exit code of a drive that began; it is an error if a requested output is missing.

    Args:
        interrupted: Whether Ctrl-C ended it.
        problems: Failures other than in driving.
        fault: The failure that ended the driving.
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
