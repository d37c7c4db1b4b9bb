"""Settings of ``evaluate``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agent.contract.errors import GameError
from agent.settings.base import option
from agent.settings.checks import at_least_one, path, text, track_seed
from agent.settings.shared import (
    CLUSTER,
    DRIVER_HELP,
    DRIVERS,
    EngineSettings,
    GameSettings,
    PageSettings,
    RateSettings,
)


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(GameSettings, EngineSettings, RateSettings, PageSettings):
    """Which driver, on which tracks."""

    tracks: int | None = field(
        default=None,
        metadata=option(
            "number of tracks; named ones take turns (default: 10, or each named track once)",
            at_least_one,
            metavar="N",
        ),
    )
    track: tuple[str, ...] = field(
        default=(),
        metadata=option("which tracks, for a game whose tracks have names", text, metavar="NAME", several="together"),
    )
    seed_start: int = field(default=0, metadata=option("first track; the others follow it", track_seed, metavar="S"))
    driver: Literal["policy", "expert"] = field(default="policy", metadata=option(DRIVER_HELP, choices=DRIVERS))
    real_time: bool = field(
        default=False,
        metadata=option("let the game run on its own clock (default: it waits for every decision)"),
    )
    video: Path | None = field(
        default=None, metadata=option("film every track into this folder (.mp4)", path, metavar="DIR")
    )

    ray: str | None = field(default=None, metadata=CLUSTER)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ray is not None and (self.real_time or self.video is not None or self.driver == "expert"):
            raise GameError(
                "--ray has the network drive tracks on other nodes, in lockstep and without films: expected none of "
                "--real-time, --video and --driver expert beside it. Leave them out."
            )
        if self.driver == "expert" and self.real_time:
            raise GameError(
                "--driver expert reads the game's own state, but with --real-time the game is in another process: "
                "expected one of them. Leave --real-time out."
            )
