"""The driver's command line: the program itself. The commands are in ``agent.commands``."""

import logging
import sys
from collections.abc import Sequence

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
from agent.commands.options import Invocation, make_parser
from agent.commands.program import run_program

COMMANDS = tuple(
    module.COMMAND
    for module in (
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
    )
)

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
    parser = make_parser(
        "python -m agent",
        "Drives games from what a camera sees: one forward pass of a network, a virtual gamepad.",
        _EXAMPLES,
        COMMANDS,
    )
    return run_program(parser, argv, set_up=_set_up_logging)


def _set_up_logging(invocation: Invocation) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("agent")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.DEBUG if invocation.verbose else logging.WARNING)
