"""The driver's command line: the program itself. The commands are in ``agent.commands``."""

import logging
import sys
from collections.abc import Sequence

from agent.commands.options import Entry, Invocation, make_parser
from agent.commands.program import run_program
from agent.contract.untrusted import printable

COMMANDS = tuple(
    Entry(name, summary, f"agent.commands.{name}")
    for name, summary in (
        ("drive", "drive in real time, the game running beside the agent"),
        ("play", "drive the embedded game yourself, in a window, or let an agent drive it there"),
        ("record", "record yourself driving a game in a window, or the network driving the embedded one"),
        ("doctor", "look at screen, window, gamepad and network, and say what to do about each"),
        ("games", "list the games that there is a profile for, or write a profile for another"),
        ("evaluate", "drive many tracks and sum up: mean, spread, worst"),
        ("film", "film several models on one track, side by side: the stages of a training, say"),
        ("compare", "compare two drivers on the tracks that both drove, with a confidence interval"),
        ("replay", "run the network over a recording: errors, correlations, stage times"),
        ("occlusion", "what the network looks at: parts of pictures covered in turn, drawn as a map"),
        ("episodes", "look through recorded episodes, check them, and put them right"),
        ("bench", "time every stage and every engine here, taking turns, and the best that OpenVINO reaches"),
        ("pace", "measure how evenly the loop keeps its rate, with the processor at rest and with every core busy"),
        ("faults", "harm a drive in every way we know, and measure how soon the gamepad is neutral"),
    )
)
"""In the order of the help; a command's module is imported once it is asked for."""

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


class _Printable(logging.Formatter):
    """Lines that quote window titles and file names, without what would steer the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _set_up_logging(invocation: Invocation) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable("%(message)s"))
    logger = logging.getLogger("agent")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.DEBUG if invocation.verbose else logging.WARNING)
