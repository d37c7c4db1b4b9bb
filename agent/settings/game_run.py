"""Settings of ``games run``."""

from dataclasses import dataclass, field
from typing import Any

from agent.games.registry import launched_names
from agent.settings.base import Group, option
from agent.settings.checks import at_least_one, positive, text, whole
from agent.settings.shared import EngineSettings, OutputSettings, PageSettings, ProcessorSettings, RateSettings

_GAME = Group("the game")
_MAX_SIDE_PX = 16_384


def _size(value: Any) -> tuple[int, int]:
    """Return a width and a height in pixels, from ``320x180`` or from two numbers."""
    try:
        width, height = value.lower().split("x") if isinstance(value, str) else value
        return whole(width, 1, _MAX_SIDE_PX), whole(height, 1, _MAX_SIDE_PX)
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is not a size, expected WIDTHxHEIGHT in pixels, such as 320x180") from None


@dataclass(frozen=True, kw_only=True)
class GameRunSettings(EngineSettings, RateSettings, OutputSettings, ProcessorSettings, PageSettings):
    """Which game to start, where, and how to drive it."""

    game: str = field(
        metadata=option(
            lambda: f"which game: {', '.join(launched_names())}, or one of another package that has a launcher",
            text,
            metavar="GAME",
            positional=True,
        )
    )
    seconds: float = field(
        default=300.0, metadata=option("end after T seconds of driving, finished or not", positive, metavar="T")
    )
    track: str | None = field(
        default=None,
        metadata=option(
            "the game's own name for the track; for an unknown one, the error lists all (default: the launcher's)",
            text,
            metavar="NAME",
            group=_GAME,
        ),
    )
    laps: int | None = field(
        default=None,
        metadata=option("length of the race (default: the launcher's, 1)", at_least_one, metavar="N", group=_GAME),
    )
    size: tuple[int, int] | None = field(
        default=None,
        metadata=option(
            "size of the window's content in pixels (default: the launcher's, 320x180)",
            _size,
            metavar="WxH",
            group=_GAME,
        ),
    )
    on_screen: bool = field(
        default=False,
        metadata=option(
            "show the game on the present desktop, where F8 takes over (default: on a new one that nobody sees)",
            group=_GAME,
        ),
    )
    install: bool = field(
        default=False,
        metadata=option("first install what is missing by apt-get (Debian, Ubuntu)", group=_GAME),
    )
