"""The games that run in process, by the name that the command line calls them."""

from collections.abc import Callable
from dataclasses import dataclass

from agent.contract.errors import GameError
from agent.games.base import Simulator


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
