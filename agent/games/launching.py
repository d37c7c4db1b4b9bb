"""The interface of a launcher: it starts a game in its own window and reads how it went from what the game stores.

``python -m agent games run`` uses it. SuperTuxKart's and TORCS' are in their rooms. A game of another package brings
its own as ``Game.make_launcher``.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from agent.contract.observation import Pixels  # imports NumPy, which every command's --help would then wait for


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """What to start.

    Attributes:
        track: The game's own name for the track.
        laps: The race or session ends after this many laps.
        width_px: Width of the window's content.
        height_px: Height of the window's content.
    """

    track: str
    laps: int
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class GameResults:
    """How it went, by the game's own account.

    Attributes:
        finished: Whether all laps were driven.
        seconds: How long they took on the game's clock; None before the end.
        laps_s: Seconds of each lap, as far as the game tells them.
        figures: Further results by name, such as how far round the track the car is.
    """

    finished: bool = False
    seconds: float | None = None
    laps_s: tuple[float, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)


class LaunchedGame(Protocol):
    """A game that was started."""

    @property
    def is_alive(self) -> bool:
        """Whether the game still runs."""

    @property
    def results(self) -> GameResults:
        """How it went so far. For the report alone: the network sees the window's pictures and nothing else."""

    def see(self, picture: "Pixels", time_s: float) -> None:
        """Look at a picture of the window, for results that can only be read there; called about twice a second.

        Args:
            picture: Shape (height, width, 3 or 4), BGR.
            time_s: Monotonic time in seconds.
        """


class Launcher(Protocol):
    """Starts one game."""

    @property
    def packages(self) -> tuple[str, ...]:
        """The Debian packages that have the game."""

    @property
    def usual(self) -> LaunchOptions:
        """What is started if nothing else is asked for."""

    @property
    def rate_hz(self) -> float | None:
        """Control rate in real time, if it differs from that of the weights."""

    def start(
        self, options: LaunchOptions, environment: Mapping[str, str], folder: Path
    ) -> AbstractContextManager[LaunchedGame]:
        """Start the game; leaving the block ends it. The player's own settings and records stay as they are.

        Args:
            options: What to start.
            environment: Environment of the desktop for its window. This process is one of the desktop's programs.
            folder: An empty folder that the game uses instead of the player's home.

        Raises:
            GameError: If the game is not installed, has no such track or option, or does not start.
        """
