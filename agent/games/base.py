"""The interface of an in-process simulator: physics, pictures, and the state of the drive."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from agent.contract.controls import Controls
from agent.contract.profile import GameProfile

if TYPE_CHECKING:
    from agent.contract.observation import Pixels  # imports NumPy, which every command's --help would then wait for

Outcome = Literal["driving", "lap", "left", "timeout"]
"""``lap``: finished; ``left``: the car left the field; ``timeout``: the episode's time ran out."""


@dataclass(frozen=True, slots=True)
class DriveState:
    """The state of a drive; for reports and labels, never shown to the network.

    Attributes:
        time_s: Simulated seconds since the start.
        episode_return: Sum of the game's rewards so far.
        progress: Share of the track covered, [0, 1].
        outcome: ``driving`` until the episode is over.
        speed: In the game's own units of length per second.
        telemetry: Further privileged numbers by name (lateral offset, curvature ahead...), for auxiliary losses.
        track: The track's name, for a game whose tracks have names.
        in_control: Whether controls have an effect; false while the game itself puts the car back on the road.
        figures: Further results by name, for reports (rescues, share of the time off the track...).
    """

    time_s: float
    episode_return: float
    progress: float
    outcome: Outcome
    speed: float
    telemetry: dict[str, float] = field(default_factory=dict)
    track: str = ""
    in_control: bool = True
    figures: dict[str, float] = field(default_factory=dict)


class Simulator(Protocol):
    """A game that runs in this process and waits between ticks."""

    @property
    def profile(self) -> GameProfile:
        """The game's facts."""

    @property
    def tick_s(self) -> float:
        """Length of one physics tick in simulated seconds."""

    @property
    def state(self) -> DriveState:
        """The present state of the drive."""

    def reset(self, seed: int) -> None:
        """Start a new episode on the track of ``seed``; a seed always gives the same track."""

    def advance(self, controls: Controls, ticks: int = 1) -> None:
        """Run the physics with these controls; does nothing once the episode is over."""

    def render(self) -> "Pixels":
        """Draw a player's present view: a new BGR or BGRA picture."""

    def close(self) -> None:
        """Release the game."""


class Expert(Protocol):
    """Drives a simulator by its internal state instead of its pictures; ``find_expert`` finds the installed one."""

    def plan(self) -> None:
        """Study the track; called after every reset of the simulator."""

    def decide(self) -> Controls:
        """Return the controls for the simulator's present state, clipped, at most one pedal pressed."""
