"""Starts the pond in a window: here a program that only waits."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.contract.observation import Pixels
from agent.games.launching import GameResults, LaunchOptions
from agent.system.supervised import supervised


@dataclass
class OpenPond:
    """A pond in its window; the boat is across once the game has written so."""

    process: "subprocess.Popen[bytes]"
    folder: Path

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    @property
    def results(self) -> GameResults:
        across = self.folder / "across"
        return GameResults(True, float(across.read_text())) if across.exists() else GameResults()

    def see(self, picture: Pixels, time_s: float) -> None:
        pass


class PondLauncher:
    """Starts it."""

    packages = ()
    usual = LaunchOptions("north-bank", 1, 64, 32)
    rate_hz = None

    @contextmanager
    def start(self, options: LaunchOptions, environment: Mapping[str, str], folder: Path) -> Iterator[OpenPond]:
        program = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text('12.5'); time.sleep(300)"
        with supervised([sys.executable, "-c", program, str(folder / "across")], environment) as process:
            yield OpenPond(process, folder)
