"""Games that are separate programs: finds and starts them, and ends them with all processes that they started."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from agent.contract.errors import GameError

DRAWN_IN_SOFTWARE = {"LIBGL_ALWAYS_SOFTWARE": "1", "LP_NUM_THREADS": "1", "ALSOFT_DRIVERS": "null"}
"""Environment of a game on a machine without graphics card and sound: one thread draws; the other core is for the
network."""


def find_program(name: str, game: str, advice: str) -> str:
    """Return the path of a game's program.

    Args:
        name: Name of the program.
        game: Name of the game, for the message.
        advice: How to install it, as a sentence.

    Raises:
        GameError: If it is not installed.
    """
    # Debian installs games in a folder that is not in root's PATH.
    program = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/games")
    if program is None:
        raise GameError(f"{game} is not installed, expected its program `{name}`. {advice}")
    return program


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a game without output; leaving the block ends it and all processes that it started.

    Args:
        command: Its program and options.
        environment: Its whole environment.
    """
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # the whole process group has ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
