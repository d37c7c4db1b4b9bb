"""Settings of ``record``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agent.settings.base import Group, option
from agent.settings.checks import at_least_one, path, positive, track_seed
from agent.settings.shared import DRIVER_HELP, DRIVERS, CaptureSettings, EngineSettings, GameSettings, PageSettings

_PERSON = Group("you drive (games in a window)")
_SIMULATOR = Group("a policy drives (the embedded game, which waits)")


@dataclass(frozen=True, kw_only=True)
class RecordSettings(GameSettings, EngineSettings, PageSettings, CaptureSettings):
    """Whose driving to record, and where."""

    out: Path = field(metadata=option("folder for the episodes", path, metavar="DIR"))
    input: Literal["gamepad", "keyboard"] | None = field(
        default=None,
        metadata=option(
            "what you drive with (default: a pad if one is plugged in)", choices=("gamepad", "keyboard"), group=_PERSON
        ),
    )
    seconds: float | None = field(
        default=None, metadata=option("end after T seconds (default: Ctrl-C)", positive, metavar="T", group=_PERSON)
    )
    wait: bool = field(
        default=False, metadata=option("record nothing until F9 (or the profile's own key) is pressed", group=_PERSON)
    )
    driver: Literal["policy", "expert"] | None = field(
        default=None,
        metadata=option(
            f"{DRIVER_HELP} (default: policy; a person if the game is in a window)",
            choices=DRIVERS,
            group=_SIMULATOR,
        ),
    )
    episodes: int = field(default=1, metadata=option("number of tracks", at_least_one, metavar="N", group=_SIMULATOR))
    seed_start: int = field(
        default=0,
        metadata=option("first track; the others follow it", track_seed, metavar="S", group=_SIMULATOR),
    )
