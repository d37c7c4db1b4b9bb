"""The games, and the experts that can drive them, by the names that the command line uses.

A game in a window needs no code, only a profile in ``agent/games/profiles/``.

Another package adds a game by an entry point of the group ``hoodcam.games``. The entry point has the game's name and
refers to a :class:`Game` in a module that does not import the game's library::

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
from agent.games.launching import Launcher
from agent.games.profile_files import load_profile, profile_paths
from agent.games.supertuxkart.races import GRADED_TRACKS
from agent.system.plugins import find_plugins, load_plugin, package_of

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "hoodcam.games"
"""The group of the entry points."""
_DRIVERS = "hoodcam.drivers"  # group of entry points: each has a driver's name and makes the driver from a simulator


@dataclass(frozen=True, slots=True)
class Game:
    """One game that can be driven.

    Attributes:
        profile: Its facts.
        make_simulator: Builds the simulator of a game that runs in this process; None for a game in its own window. It
            is a module-level function, so that it can be passed to another process. It imports the game's library only
            when called. It takes ``tracks`` if the tracks have names.
        track_names: The tracks that seeds take turns with by default; empty if seeds generate the tracks.
        make_launcher: Makes what starts the game in its own window; None if a person has to start it.
    """

    profile: GameProfile
    make_simulator: Callable[..., Simulator] | None = None
    track_names: tuple[str, ...] = ()
    make_launcher: Callable[[], Launcher] | None = None

    @property
    def name(self) -> str:
        """Its name on the command line."""
        return self.profile.name

    def simulator_maker(self, tracks: Sequence[str] = ()) -> Callable[[], Simulator]:
        """Return the function that builds the game.

        Args:
            tracks: Names of the tracks that seeds take turns with, for a game whose tracks have names.

        Raises:
            GameError: If it runs in a window and so cannot wait, or if its tracks have no names.
        """
        if self.make_simulator is None:
            raise GameError(
                f"{self.name} runs in its own window and cannot wait for the agent, expected a game that runs in this "
                f"process: {', '.join(_SIMULATORS)}. Drive it (`python -m agent drive --game {self.name}`)."
            )
        if not tracks:
            return self.make_simulator
        if not self.track_names:
            raise GameError(f"the tracks of {self.name} have no names, expected only seeds. Leave --track out.")
        return partial(self.make_simulator, tracks=tuple(tracks))

    def launcher(self) -> Launcher:
        """Return what starts the game in its own window.

        Raises:
            GameError: If a person has to start it.
        """
        if self.make_launcher is None:
            raise GameError(
                f"{self.name} has no launcher, expected a game that has one: {', '.join(_LAUNCHERS)}. "
                f"Start it yourself, then `python -m agent drive --game {self.name}`."
            )
        return self.make_launcher()


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


def _make_supertuxkart_launcher() -> Launcher:
    from agent.games.supertuxkart.window import SuperTuxKartLauncher

    return SuperTuxKartLauncher()


def _make_torcs_launcher() -> Launcher:
    from agent.games.torcs.window import TorcsLauncher

    return TorcsLauncher()


_LAUNCHERS: dict[str, Callable[[], Launcher]] = {
    "supertuxkart": _make_supertuxkart_launcher,
    "torcs": _make_torcs_launcher,
}


def game_names() -> tuple[str, ...]:
    """Return the names of all games: those with a profile, then those of other packages."""
    profiles = tuple(profile_paths())
    return (*profiles, *(name for name in find_plugins(GROUP) if name not in profiles))


def launched_names() -> tuple[str, ...]:
    """Return the names of our own games that can be started in their windows."""
    return tuple(_LAUNCHERS)


def find_game(name: str) -> Game:
    """Return the game of that name, or of the profile at that path.

    Raises:
        GameError: If the name is unknown (the message lists the known ones), its profile is faulty, or another
            package's game cannot be loaded.
    """
    if name.endswith(".toml"):
        return Game(load_profile(Path(name)))
    paths = profile_paths()
    if name not in paths:
        plugin = find_plugins(GROUP).get(name)
        if plugin is not None:
            return _load_game(plugin)
        raise GameError(
            f"game {name!r} is unknown, expected one of: {', '.join(game_names())}. For another game, write a profile "
            "(`python -m agent games new`)."
        )
    game = Game(load_profile(paths[name]), _SIMULATORS.get(name), _TRACK_NAMES.get(name, ()), _LAUNCHERS.get(name))
    if game.make_simulator is not None or game.make_launcher is not None:
        return game
    plugin = find_plugins(GROUP).get(name)
    if game.profile.capture is not None:
        return game if plugin is None else _with_launcher(game, plugin)
    if plugin is not None:  # the user's own profile for another package's game
        return replace(_load_game(plugin), profile=game.profile)
    raise GameError(
        f"{paths[name]}: embedded is true, expected that only for games that run in this process: "
        f"{', '.join(_SIMULATORS)}. Name the game's window in [capture]."
    )


def _with_launcher(game: Game, plugin: "EntryPoint") -> Game:
    """Return a game in a window with another package's launcher; without one if that package is broken."""
    try:
        return replace(game, make_launcher=_load_game(plugin).make_launcher)
    except GameError:
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
    """Return the function that makes an expert for a simulator: the entry point ``expert`` in ``hoodcam.drivers``.

    An expert reads the game's own state. It belongs to training, which the agent does not need and never imports.

    Raises:
        GameError: If no expert is installed, or it cannot be imported.
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
