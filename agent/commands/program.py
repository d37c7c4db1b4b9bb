"""A program of several commands: reads the command line, runs one command, turns errors into exit codes."""

import argparse
import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from agent.commands.options import Command, Invocation, read_settings
from agent.commands.wiring import EXIT_ERROR, EXIT_INTERRUPTED, note
from agent.contract.errors import AgentError
from agent.settings.base import SettingsError
from agent.system.interrupts import end_like_ctrl_c


def run_program(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None = None,
    interrupted: str = "interrupted",
    explain: Callable[[Exception], str | None] = lambda exc: None,
    set_up: Callable[[Invocation], None] = lambda invocation: None,
) -> int:
    """Run one command.

    Args:
        parser: Made by :func:`agent.commands.options.make_parser`.
        argv: Arguments without the program's name; the process's own if None.
        interrupted: The message after Ctrl-C.
        explain: Describes an error that is not an ``AgentError`` in one line; None leaves it to Python.
        set_up: Called before the command.

    Returns:
        The command's exit code; 1 after an error, which is printed in one line; 130 when interrupted. For bad usage,
        argparse raises ``SystemExit(2)``.
    """
    if argv is None:
        end_like_ctrl_c()
        _print_whatever_comes()
    verbose = False
    try:
        arguments = parser.parse_args(argv)
        command: Command[Any] = arguments.command
        verbose = getattr(arguments, "verbose", False)
        invocation = Invocation(
            json=getattr(arguments, "json", False),
            verbose=verbose,
            started_ns=_started_ns(argv),
            arguments=tuple(sys.argv[1:] if argv is None else argv),
        )
        set_up(invocation)
        try:
            settings = read_settings(arguments, command.settings)
        except SettingsError as exc:
            arguments.parser.error(str(exc))
        assert command.run is not None
        return command.run(settings, invocation)
    except KeyboardInterrupt:
        note(interrupted)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output is gone, as after `| head`
        _print_no_more()
        return EXIT_ERROR
    except Exception as exc:
        message = str(exc) if isinstance(exc, AgentError) else explain(exc)
        if message is None:
            raise
        if verbose:
            traceback.print_exc()
        note(f"error: {message}")
        if isinstance(exc, OSError):
            _print_no_more()
        return EXIT_ERROR


def _print_no_more() -> None:
    """Drop what is still to be printed if nobody can take it: otherwise Python complains again on exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _started_ns(argv: Sequence[str] | None) -> int | None:
    """Return when the program started, before Python and its imports; None if the system does not say.

    If arguments are passed in, another program makes the call, and the call is the start.
    """
    from agent.system.pacing import clock_ns  # here, because --help does not need it
    from agent.system.process import age_s

    if argv is not None:
        return clock_ns()
    age = age_s()
    return None if age is None else clock_ns() - round(age * 1e9)


def _print_whatever_comes() -> None:
    """Escape characters that an output without UTF-8 lacks (a Latin-1 terminal, a file on Windows)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
