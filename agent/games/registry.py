"""The games, and who else can drive them, by the names that the command line uses.

A game of another package joins by an entry point of the group ``hoodcam.games``: its name is the game's, and what it
names is a :class:`Game` in a module that does not import the game's library::

    [project.entry-points."hoodcam.games"]
    pond = "pond_game.entry:POND"
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from agent.contract.errors import GameError
from agent.contract.profile import GameProfile
from agent.games.base import Expert, Simulator
from agent.games.profile_files import load_profile, profile_paths
from agent.games.supertuxkart.races import GRADED_TRACKS
from agent.system.plugins import find_plugins, load_plugin, package_of

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "hoodcam.games"
"""Of the entry points."""
_DRIVERS = "hoodcam.drivers"  # group of entry points: the name of a driver, and what makes it from a simulator


@dataclass(frozen=True, slots=True)
class Game:
    """One game that can be driven.

    Attributes:
        profile: Its facts.
        make_simulator: Builds it, for a game that runs in process; None for one in a window of its own. A module-level
            function, so that it can be handed to another process; imports the game's library only when called, so
            that knowing a game costs nothing. Takes ``tracks`` where they have names.
        track_names: The tracks that seeds take turns with unless others are named; empty where seeds generate them.
    """

    profile: GameProfile
    make_simulator: Callable[..., Simulator] | None = None
    track_names: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Key on the command line."""
        return self.profile.name

    def simulator_maker(self, tracks: Sequence[str] = ()) -> Callable[[], Simulator]:
        """Return what builds the game.

        Args:
            tracks: Names of the tracks that seeds take turns with, for a game whose tracks have names.

        Raises:
            GameError: If it runs in a window, where nothing can make it wait, or its tracks have no names.
        """
        if self.make_simulator is None:
            raise GameError(
                f"{self.name} runs in a window of its own and waits for nobody, expected a game that runs in this "
                f"process: {', '.join(_SIMULATORS)}. Drive it (`python -m agent drive --game {self.name}`)."
            )
        if not tracks:
            return self.make_simulator
        if not self.track_names:
            raise GameError(f"the tracks of {self.name} have no names, expected seeds alone. Leave --track out.")
        return partial(self.make_simulator, tracks=tuple(tracks))


def _make_carracing() -> Simulator:
    from agent.games.carracing import CarRacing

    return CarRacing()


def _make_supertuxkart(tracks: Sequence[str] = GRADED_TRACKS) -> Simulator:
    try:
        from agent.games.supertuxkart.simulator import SuperTuxKart
    except ImportError as exc:
        raise GameError(
            f"SuperTuxKart's binding cannot be imported ({exc}), expected pysupertuxkart2. "
            "`pip install '.[supertuxkart]'`."
        ) from exc
    return SuperTuxKart(tracks)


_SIMULATORS: dict[str, Callable[..., Simulator]] = {"carracing": _make_carracing, "supertuxkart": _make_supertuxkart}
_TRACK_NAMES = {"supertuxkart": GRADED_TRACKS}


def game_names() -> tuple[str, ...]:
    """Return the names of all games: those that there is a profile for, then those of other packages."""
    profiles = tuple(profile_paths())
    return (*profiles, *(name for name in find_plugins(GROUP) if name not in profiles))


def find_game(name: str) -> Game:
    """Return the game of that name, or of the profile at that path.

    Raises:
        GameError: If there is none (the message lists those there are), its profile is faulty, or another package's
            cannot be loaded.
    """
    if name.endswith(".toml"):
        return Game(load_profile(Path(name)))
    paths = profile_paths()
    if name not in paths:
        plugin = find_plugins(GROUP).get(name)
        if plugin is not None:
            return _load_game(plugin)
        raise GameError(
            f"game {name!r} is unknown, expected one of: {', '.join(game_names())}. For another game write a profile "
            "(`python -m agent games new`)."
        )
    game = Game(load_profile(paths[name]), _SIMULATORS.get(name), _TRACK_NAMES.get(name, ()))
    if game.profile.capture is None and game.make_simulator is None:
        plugin = find_plugins(GROUP).get(name)
        if plugin is not None:  # the user's own profile of another package's game
            return replace(_load_game(plugin), profile=game.profile)
        raise GameError(
            f"{paths[name]}: embedded is true, expected that of a game that runs in this process alone: "
            f"{', '.join(_SIMULATORS)}. Say in [capture] which window the game is in."
        )
    return game


def _load_game(plugin: "EntryPoint") -> Game:
    game = load_plugin(plugin, Game, GameError)
    if game.name != plugin.name:
        raise GameError(
            f"{package_of(plugin)} offers the game {plugin.name!r}, but its profile is called {game.name!r}, expected "
            "the same name. Update that package, or uninstall it."
        )
    return game


def find_expert() -> Callable[[Simulator], Expert]:
    """Return what makes an expert for a simulator: the entry point ``expert`` of the group ``hoodcam.drivers``.

    An expert reads the game's own state and belongs to training, which the agent works without and never imports.

    Raises:
        GameError: If none is installed, or it cannot be imported.
    """
    from importlib.metadata import entry_points

    found = tuple(entry_points(group=_DRIVERS, name="expert"))
    if not found:
        raise GameError(
            f"no expert is installed, expected a package with the entry point `expert` in `{_DRIVERS}`. "
            "Install the checkout again (`python -m pip install .`), or let the network drive (--driver policy)."
        )
    try:
        make_expert: Callable[[Simulator], Expert] = found[0].load()
    except (ImportError, AttributeError) as exc:
        raise GameError(
            f"the expert {found[0].value} cannot be imported ({exc}), expected the training package beside the agent. "
            "Install the checkout again (`python -m pip install .`), or let the network drive (--driver policy)."
        ) from exc
    return make_expert
