"""The agent's command line. The commands are in ``agent.commands``."""

import logging
import sys
from collections.abc import Sequence

from agent.commands.options import Entry, Invocation, make_parser
from agent.commands.program import run_program
from agent.contract.untrusted import printable
from agent.contract.wording import as_installed

COMMANDS = tuple(
    Entry(name, summary, f"agent.commands.{name}")
    for name, summary in (
        ("drive", "drive in real time; the game runs beside the agent"),
        ("play", "drive the embedded game yourself, in a window, or let an agent drive it there"),
        ("record", "record yourself driving a game in a window, or the network driving the embedded one"),
        ("inputs", "list your gamepads and wheels, see them move, and teach one that SDL does not know"),
        ("doctor", "look at screen, window, gamepad and network, and say what to do about each"),
        ("games", "list the games, write a profile for another, or start one in its window and drive it"),
        ("weights", "list the weights that there are, and fetch those that do not come with the program"),
        ("evaluate", "drive many tracks and summarise: mean, spread, worst"),
        ("film", "film several models on one track, side by side, such as the stages of a training"),
        ("compare", "compare two drivers on the tracks that both drove, with a confidence interval"),
        ("replay", "run the network over a recording: errors, correlations, stage times"),
        ("occlusion", "show what the network looks at: cover parts of pictures in turn and draw a map"),
        ("page", "show recordings and trainings in the browser: look, mark, delete"),
        ("episodes", "list recorded episodes, check them and repair them"),
        ("bench", "time every stage and every engine in turn, and the best that OpenVINO reaches"),
        ("pace", "measure how evenly the loop keeps its rate, with the processor idle and with every core busy"),
        ("faults", "break a drive in every way we know, and measure how soon the gamepad is neutral"),
    )
)
"""In the order of the help; a command's module is imported when the command is used."""

_EXAMPLES = """\
examples:
  python -m agent drive                                   one lap of CarRacing with the shipped weights
  python -m agent evaluate --tracks 100 --seed-start 0    mean return over 100 tracks; the game waits
  python -m agent record --episodes 5 --out episodes      record the network's driving
  python -m agent replay episodes/carracing-0.parquet     compare the network with a recording
  python -m agent bench --with-keras                      compare every engine's speed here with Keras' own

exit codes: 0 done; 1 an error, reported in one line; 2 bad usage; 3 a fault ended the drive; 130 ended by Ctrl-C or by
a request to terminate. However it ends, the controls are neutral.
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
        "Drives games from what a camera sees: one forward pass of a network, then a virtual gamepad.",
        _EXAMPLES,
        COMMANDS,
    )
    return run_program(parser, argv, explain=_explain, set_up=_set_up_logging)


def _explain(exc: Exception) -> str | None:
    if isinstance(exc, OSError):  # what is printed may go to a full disk, too
        return f"{exc}: it could not be read or written, expected room and permission. Free space, or choose elsewhere."
    return None


class _Printable(logging.Formatter):
    """Removes characters that steer the terminal: lines may quote window titles and file names."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(as_installed(super().format(record)))


def _set_up_logging(invocation: Invocation) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable("%(message)s"))
    logger = logging.getLogger("agent")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.DEBUG if invocation.verbose else logging.WARNING)
