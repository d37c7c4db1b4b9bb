"""The driver's command line: the program itself, and errors to exit codes. The commands are in ``agent.commands``."""

import argparse
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence

from agent.commands import (
    bench,
    compare,
    doctor,
    drive,
    episodes,
    evaluate,
    faults,
    film,
    games,
    occlusion,
    pace,
    play,
    record,
    replay,
)
from agent.commands.wiring import EXIT_ERROR, EXIT_INTERRUPTED, note
from agent.contract.errors import AgentError
from agent.system.pacing import clock_ns
from agent.system.process import age_s

_EXAMPLES = """\
examples:
  python -m agent drive                                   one lap of CarRacing with the shipped weights
  python -m agent evaluate --tracks 100 --seed-start 0    mean return over 100 tracks, the game waiting
  python -m agent record --episodes 5 --out episodes      record the network's driving
  python -m agent replay episodes/carracing-0.parquet     the network over a recording, against what was recorded
  python -m agent bench --with-keras                      every engine's speed here, against Keras' own

exit codes: 0 done; 1 an error, told in one line; 2 bad usage; 3 a fault ended the drive on the way; 130 ended by Ctrl-C
or by a request to terminate. However it ends, the controls are neutral.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; the process's own if None.

    Returns:
        0 done, 1 an error, 3 a fault ended the drive, 130 interrupted. For bad usage argparse raises ``SystemExit(2)``.
    """
    started_ns = _started_ns(argv)
    if argv is None:
        _end_like_ctrl_c()
    arguments = _parser().parse_args(argv)
    arguments.started_ns = started_ns
    _set_up_logging(arguments.verbose)
    try:
        command: Callable[[argparse.Namespace], int] = arguments.command
        return command(arguments)
    except AgentError as exc:
        if arguments.verbose:
            traceback.print_exc()
        note(f"error: {exc}")
        return EXIT_ERROR
    except KeyboardInterrupt:
        note("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain again on its way out
        return EXIT_ERROR


def _started_ns(argv: Sequence[str] | None) -> int | None:
    """Return when the program was started, Python and its imports included; None where the system does not tell.

    With arguments of its own, ``main`` is called inside another program, and the call is the start.
    """
    if argv is not None:
        return clock_ns()
    age = age_s()
    return None if age is None else clock_ns() - round(age * 1e9)


def _end_like_ctrl_c() -> None:
    """Let requests to end (a closed terminal, the end of a service) finish what Ctrl-C finishes: recordings, films."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_DFL:
            signal.signal(getattr(signal, name), signal.default_int_handler)


def _set_up_logging(verbose: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("agent")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m agent",
        description="Drives games from what a camera sees: one forward pass of a network, a virtual gamepad.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EXAMPLES,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (
        drive,
        play,
        record,
        doctor,
        games,
        evaluate,
        film,
        compare,
        replay,
        occlusion,
        episodes,
        bench,
        pace,
        faults,
    ):
        command.add_to(commands)
    return parser
