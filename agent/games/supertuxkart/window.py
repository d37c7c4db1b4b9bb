"""The unmodified SuperTuxKart in its window: starts a race and reads the result that the game stores."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from agent.contract.errors import GameError
from agent.contract.observation import Pixels
from agent.games.launching import GameResults, LaunchOptions
from agent.games.program import DRAWN_IN_SOFTWARE, find_program
from agent.games.supertuxkart.data import DEBIAN_DATA
from agent.system.supervised import supervised

WIDTH_PX, HEIGHT_PX = 320, 180
"""Twice the network's width and height. In software, one core draws 44 such pictures a second, and 27 of 480 x 270."""
DIFFICULTY = 2
"""Expert in the menu, as in lockstep (``agent.games.supertuxkart.simulator``); karts are slower in easier races."""

_EFFECTS = (
    *("dynamic-lights", "glow", "bloom", "light-shaft", "dof", "particles", "animated-characters"),
    *("motion-blur", "mlaa", "ssao", "ibl", "hd-textures"),
)


@dataclass(frozen=True, slots=True)
class Race:
    """A running race.

    Attributes:
        process: The game's process.
        folder: The folder to which the game writes, for this race only.
    """

    process: "subprocess.Popen[bytes]"
    folder: Path

    @property
    def is_alive(self) -> bool:
        """Whether the game still runs."""
        return self.process.poll() is None

    @property
    def results(self) -> GameResults:
        """The game stores the time of the whole race alone, at its end."""
        seconds = self.seconds
        return GameResults(seconds is not None, seconds)

    def see(self, picture: Pixels, time_s: float) -> None:
        """Nothing is read from the pictures."""

    @property
    def seconds(self) -> float | None:
        """How many seconds the race took, from the game's own list of highscores; None before its end."""
        for path in self.folder.rglob("highscore.xml"):
            try:
                times = [float(entry.get("time", "nan")) for entry in ElementTree.parse(path).iter("entry")]
            except (OSError, ElementTree.ParseError, ValueError):
                continue  # it is being written
            if times := [each for each in times if each > 0]:
                return min(times)
        return None


class SuperTuxKartLauncher:
    """Starts a race of SuperTuxKart."""

    packages = ("supertuxkart",)
    usual = LaunchOptions("lighthouse", 1, WIDTH_PX, HEIGHT_PX)
    rate_hz = 30.0
    """The shipped weights decide ten times a second in lockstep, where the game waits."""

    def start(
        self, options: LaunchOptions, environment: Mapping[str, str], folder: Path
    ) -> AbstractContextManager[Race]:
        """See :func:`race_in_window`."""
        return race_in_window(options.track, environment, folder, options.width_px, options.height_px, options.laps)


@contextmanager
def race_in_window(
    track: str,
    environment: Mapping[str, str],
    folder: Path,
    width_px: int = WIDTH_PX,
    height_px: int = HEIGHT_PX,
    laps: int = 1,
) -> Iterator[Race]:
    """Start a race for a single kart; the player's settings and records are neither read nor changed.

    Args:
        track: The game's name for the track.
        environment: Environment of the desktop for its window.
        folder: An empty folder that the game uses instead of the player's home.
        width_px: Width of the window's content.
        height_px: Height of the window's content.
        laps: Length of the race.

    Raises:
        GameError: If the game is not installed, or has no such track.
    """
    program = find_program(
        "supertuxkart",
        "SuperTuxKart",
        "Install it: `sudo apt install supertuxkart` (Debian, Ubuntu; 700 MB).",
    )
    found = (DEBIAN_DATA / "tracks").glob("*/track.xml")
    tracks = sorted(path.parent.name for path in found if _is_for_races(path))
    if tracks and track not in tracks:  # the game itself would end without a message
        raise GameError(f"there is no track {track!r}, expected one of: {', '.join(tracks)}.")
    own = {
        "HOME": str(folder),
        **{f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("CONFIG", "DATA", "CACHE")},
    }
    options = ["--windowed", f"--screensize={width_px}x{height_px}", "--no-sound", "--anisotropic=0"]
    options += [f"--difficulty={DIFFICULTY}"]
    options += [f"--disable-{effect}" for effect in _EFFECTS]
    command = [program, *options, f"--track={track}", "--numkarts=1", "--race-now", f"--laps={laps}"]
    with supervised(command, {**environment, **DRAWN_IN_SOFTWARE, **own}) as process:
        yield Race(process, folder)


def _is_for_races(track: Path) -> bool:
    about = ElementTree.parse(track).getroot()
    return not any(
        about.get(name, "n").lower() in ("y", "true") for name in ("arena", "soccer", "internal", "cutscene")
    )
