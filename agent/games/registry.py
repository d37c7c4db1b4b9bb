"""The games that run in process, and who else can drive them, by the names that the command line uses."""

from collections.abc import Callable
from dataclasses import dataclass

from agent.contract.errors import GameError
from agent.games.base import Expert, Simulator

_DRIVERS = "hoodcam.drivers"  # group of entry points: the name of a driver, and what makes it from a simulator


@dataclass(frozen=True, slots=True)
class Game:
    """One embedded game.

    Attributes:
        name: Key on the command line.
        title: What to call it in front of people.
        make_simulator: Builds it. A module-level function, so that it can be handed to another process; imports the
            game's library only when called, so that knowing a game costs nothing.
    """

    name: str
    title: str
    make_simulator: Callable[[], Simulator]


def _make_carracing() -> Simulator:
    from agent.games.carracing import CarRacing

    return CarRacing()


_GAMES = (Game("carracing", "CarRacing-v3 (embedded)", _make_carracing),)


def game_names() -> tuple[str, ...]:
    """Return the names of all embedded games."""
    return tuple(game.name for game in _GAMES)


def find_game(name: str) -> Game:
    """Return the game of that name.

    Raises:
        GameError: If there is none; the message lists those there are.
    """
    for game in _GAMES:
        if game.name == name:
            return game
    raise GameError(f"game {name!r} is unknown, expected one of: {', '.join(game_names())}.")


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
