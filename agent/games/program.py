"""Games that are programs of their own: found, started and ended with everything that they started."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from agent.contract.errors import GameError

DRAWN_IN_SOFTWARE = {"LIBGL_ALWAYS_SOFTWARE": "1", "LP_NUM_THREADS": "1", "ALSOFT_DRIVERS": "null"}
"""Environment of a game on a machine without graphics card and sound: drawn by one thread, the other core is the
network's."""


def find_program(name: str, game: str, advice: str) -> str:
    """Return the path of a game's program.

    Args:
        name: Of the program.
        game: What people call it.
        advice: How to install it, a sentence.

    Raises:
        GameError: If it is not installed.
    """
    # Debian keeps games in a folder that root's PATH lacks.
    program = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/games")
    if program is None:
        raise GameError(f"{game} is not installed, expected its program `{name}`. {advice}")
    return program


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a game, silently; leaving the block ends it and whatever it has started.

    Args:
        command: Its program and options.
        environment: All of it.
    """
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # it and all it started have ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
