"""The facts about a game for collecting: how to build it, which expert labels, how long an episode lasts."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.contract.errors import TrainingError
from agent.contract.profile import GameProfile
from agent.games.base import Expert, Simulator
from agent.games.registry import Game, find_game
from training.data.held_out import HELD_OUT_TRACK, VALIDATION_TRACKS

GAMES = ("carracing", "supertuxkart", "roads")
"""The games that episodes can be collected from."""


TRACKS = {
    "supertuxkart": (
        "lighthouse", "hacienda", "snowtuxpeak", "zengarden", "cornfield_crossing", "scotland", "abyss",
        "black_forest", "candela_city", "minigolf", "olivermath", "ravenbridge_mansion", "volcano_island",
        "xr591",
    ),
}  # fmt: skip
"""The tracks that may be trained on, of the games whose tracks have names.

Left out beside those for judging and validation: mines, which ends the binding (0.7.4 with Debian's data of 1.4: a
segmentation fault in the first picture).
"""


class Labeller(Expert, Protocol):
    """An expert that also describes the scene."""

    def telemetry(self) -> dict[str, float]:
        """Return privileged numbers by name, for auxiliary losses in training."""


@dataclass(frozen=True, slots=True)
class Course:
    """How episodes of one game are collected.

    Attributes:
        profile: The game's facts; its rate is that of the decisions.
        tracks: Names of the tracks to collect on, for a game whose tracks have names; seeds take turns with them.
        make_simulator: Builds the game, with the tracks and the seconds after which an episode ends.
        experts: Makers of those who can label, by name; the first is the game's usual one.
        hold_ticks: Physics ticks for which each decision is held.
        decisions: Decisions after which an episode ends unless told otherwise.
        disguise: Repaints the game in an empty folder, with the tracks to repaint and a seed, before the process starts
            it; None where that cannot be done.
    """

    profile: GameProfile
    tracks: tuple[str, ...]
    make_simulator: Callable[[Sequence[str], float], Simulator]
    experts: Mapping[str, Callable[[Simulator], Labeller]]
    hold_ticks: int
    decisions: int
    disguise: Callable[[Path, Sequence[str], int], None] | None = None

    def find_expert(self, name: str = "") -> Callable[[Simulator], Labeller]:
        """Return the maker of that name; of the usual expert without one.

        Raises:
            TrainingError: If there is none of that name.
        """
        if name and name not in self.experts:
            raise TrainingError(
                f"{self.profile.name} has no expert {name!r}, expected one of: {', '.join(self.experts)}. Correct "
                "--expert."
            )
        return self.experts[name or next(iter(self.experts))]


def find_course(game: str) -> Course:
    """Return how episodes of a game are collected; imports the game's library.

    Raises:
        TrainingError: If nothing can be collected from it, or its library is missing.
    """
    makers = dict(zip(GAMES, (_carracing, _supertuxkart, _roads), strict=True))
    return makers[check_game(game)]()


def check_game(game: str) -> str:
    """Return the name of a game that episodes can be collected from.

    Raises:
        TrainingError: If nothing can be collected from it.
    """
    if game not in GAMES:
        raise TrainingError(
            f"no episodes can be collected from {game!r}, expected a game that waits: {', '.join(GAMES)}. Record a "
            "person's driving instead (`python -m agent record`)."
        )
    return game


def find_trained_game(name: str) -> Game:
    """Return the game of that name or of the profile at that path, the trainer's own among them.

    Raises:
        GameError: If there is none, or its profile is faulty.
    """
    if name != "roads":
        return find_game(name)
    from training.collecting.roads.simulator import PROFILE, Roads

    return Game(PROFILE, Roads)


def make_expert(simulator: Simulator) -> Labeller:
    """Make the expert for a simulator; what the entry point ``expert`` names, see ``agent.games.registry``."""
    return find_course(simulator.profile.name).find_expert()(simulator)


def check_tracks(game: str, tracks: Sequence[str]) -> None:
    """Refuse tracks that are kept for judging or validation, and names for a game whose tracks have none.

    Raises:
        TrainingError: If a track cannot be collected on.
    """
    if tracks and game not in TRACKS:
        raise TrainingError(f"the tracks of {game} have no names, expected seeds alone. Leave --track out.")
    for track in tracks:
        if track == HELD_OUT_TRACK:
            raise TrainingError(f"{track} is kept for judging and never trained on. Choose another --track.")
        if track in VALIDATION_TRACKS:
            raise TrainingError(f"{track} is kept for validation and never trained on. Choose another --track.")


def _carracing() -> Course:
    from agent.games.carracing import HOLD_TICKS, PROFILE, TICK_S, CarRacing
    from training.collecting.experts.carracing import CarRacingExpert

    def make_simulator(tracks: Sequence[str], limit_s: float) -> Simulator:
        return CarRacing(episode_ticks=round(limit_s / TICK_S))

    def make_expert(simulator: Simulator) -> Labeller:
        assert isinstance(simulator, CarRacing)
        return CarRacingExpert(simulator)

    return Course(PROFILE, (), make_simulator, {"racing-line": make_expert}, HOLD_TICKS, decisions=500)


def _supertuxkart() -> Course:
    try:
        from agent.games.supertuxkart.simulator import PROFILE, TICK_S, SuperTuxKart
    except ImportError as exc:
        raise TrainingError(
            f"SuperTuxKart's binding cannot be imported ({exc}), expected pysupertuxkart2. "
            "`pip install '.[supertuxkart]'`."
        ) from exc
    from pystk2 import __version__ as data_version

    from agent.games.supertuxkart.data import DATA_VARIABLE, find_data
    from agent.games.supertuxkart.races import KARTS
    from training.collecting.experts.supertuxkart import SuperTuxKartExpert, SuperTuxKartRoadFollower
    from training.collecting.repaint_supertuxkart import disguise_data

    def make_simulator(tracks: Sequence[str], limit_s: float) -> Simulator:
        return SuperTuxKart(tracks, KARTS, both_directions=True, limit_s=limit_s)

    def make_built_in(simulator: Simulator) -> Labeller:
        assert isinstance(simulator, SuperTuxKart)
        return SuperTuxKartExpert(simulator)

    def make_road_follower(simulator: Simulator) -> Labeller:
        assert isinstance(simulator, SuperTuxKart)
        return SuperTuxKartRoadFollower(simulator)

    hold_ticks = round(1.0 / (PROFILE.rate_hz * TICK_S))

    def disguise(folder: Path, tracks: Sequence[str], seed: int) -> None:
        source = find_data(data_version) / "data"
        os.environ[DATA_VARIABLE] = str(disguise_data(source, folder, data_version, tracks, seed))

    experts = {"road": make_road_follower, "built-in": make_built_in}
    return Course(PROFILE, TRACKS[PROFILE.name], make_simulator, experts, hold_ticks, 1500, disguise)


def _roads() -> Course:
    from training.collecting.roads.expert import RoadsExpert
    from training.collecting.roads.simulator import HOLD_TICKS, PROFILE, Roads

    def make_simulator(tracks: Sequence[str], limit_s: float) -> Simulator:
        return Roads("anywhere", length_m=500.0, limit_s=limit_s)

    def make_expert(simulator: Simulator) -> Labeller:
        assert isinstance(simulator, Roads)
        return RoadsExpert(simulator)

    # Short: a seed is a road, a landscape and a light, and those are what there cannot be too many of.
    return Course(PROFILE, (), make_simulator, {"middle": make_expert}, HOLD_TICKS, decisions=120)
