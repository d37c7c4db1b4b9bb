"""Games that are separate programs: finds and installs them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

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


def install(packages: Sequence[str]) -> None:
    """Install Debian packages by ``apt-get``, with ``sudo`` unless this is root; its output goes to standard error.

    Raises:
        GameError: If that fails.
    """
    root = [] if os.name != "nt" and os.geteuid() == 0 else ["sudo"]
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        try:
            failed = subprocess.run([*root, "apt-get", "--quiet", *command], stdout=sys.stderr, check=False).returncode
        except FileNotFoundError:
            failed = True
        if failed:
            raise GameError(
                f"`apt-get {' '.join(command)}` failed, expected Debian or Ubuntu and the right to install."
            )
