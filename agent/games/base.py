"""What an in-process simulator offers: physics, pictures, and its own account of how the drive goes."""

from dataclasses import dataclass, field
from typing import Literal, Protocol

from agent.contract.controls import Controls
from agent.contract.observation import Pixels
from agent.contract.profile import GameProfile

Outcome = Literal["driving", "lap", "left", "timeout"]
"""``lap``: finished; ``left``: went off the field for good; ``timeout``: the episode's time ran out."""


@dataclass(frozen=True, slots=True)
class DriveState:
    """How a drive stands; for reports and labels, never shown to the network.

    Attributes:
        time_s: Simulated seconds since the start.
        episode_return: Sum of the game's rewards so far.
        progress: Share of the track covered, [0, 1].
        outcome: ``driving`` until the episode is over.
        speed: In the game's own units of length per second.
        telemetry: Further privileged numbers by name (lateral offset, curvature ahead...), for auxiliary losses.
        track: The track's name, for a game whose tracks have names.
        in_control: Whether controls have an effect; false while the game itself carries the car back onto the road.
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
        """How the drive stands now."""

    def reset(self, seed: int) -> None:
        """Start a new episode on the track that ``seed`` generates, the same one every time."""

    def advance(self, controls: Controls, ticks: int = 1) -> None:
        """Run physics with the controls held; does nothing once the episode is over."""

    def render(self) -> Pixels:
        """Draw what a player would see now: a new BGR or BGRA picture."""

    def close(self) -> None:
        """Release the game."""


class Expert(Protocol):
    """Drives a simulator by what it knows of it instead of by what it sees; comes from outside, see ``find_expert``."""

    def plan(self) -> None:
        """Study the track; called after every reset of the simulator."""

    def decide(self) -> Controls:
        """Return the controls for the simulator's present state, clipped, at most one pedal pressed."""
