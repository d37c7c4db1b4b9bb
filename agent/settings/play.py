"""Settings of ``play``."""

from dataclasses import dataclass, field
from pathlib import Path

from agent.settings.base import option
from agent.settings.checks import at_least_one, path, positive, track_seed
from agent.settings.shared import PageSettings


@dataclass(frozen=True, kw_only=True)
class PlaySettings(PageSettings):
    """Which tracks, in what window."""

    game: str = field(default="carracing", metadata=option("what to play", choices=("carracing",), positional=True))
    seed: int = field(default=0, metadata=option("track of the first lap", track_seed, metavar="S"))
    laps: int | None = field(
        default=None,
        metadata=option("tracks to drive (default: until the window is closed)", at_least_one, metavar="N"),
    )
    scale: float = field(default=1.0, metadata=option("of 1000 x 800 px", positive, metavar="X"))
    limit: bool = field(default=True, metadata=option("do not end a lap after the game's 20 s"))
    report: Path | None = field(default=None, metadata=option("append one line of JSON per lap", path, metavar="FILE"))
