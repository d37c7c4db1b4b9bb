"""Settings of ``drive``."""

from dataclasses import dataclass, field

from agent.contract.profile import CONTROLLERS
from agent.settings.base import option
from agent.settings.checks import at_least_one, positive, track_seed
from agent.settings.shared import (
    IN_A_WINDOW,
    CaptureSettings,
    EngineSettings,
    GameSettings,
    OutputSettings,
    PageSettings,
    ProcessorSettings,
    RateSettings,
)


@dataclass(frozen=True, kw_only=True)
class DriveSettings(
    GameSettings, EngineSettings, RateSettings, OutputSettings, ProcessorSettings, PageSettings, CaptureSettings
):
    """What to drive, and for how long."""

    seed: int = field(default=0, metadata=option("track of the first lap", track_seed, metavar="S"))
    laps: int | None = field(
        default=None,
        metadata=option(
            "tracks to drive, one after the other (default: 1; see below)", at_least_one, metavar="N", excludes="length"
        ),
    )
    seconds: float | None = field(
        default=None,
        metadata=option("drive for T seconds, lap after lap, instead", positive, metavar="T", excludes="length"),
    )
    dry_run: bool = field(default=False, metadata=option("do everything except send controls: the car stands still"))
    controller: str | None = field(
        default=None,
        metadata=option("what moves the car (default: its profile's)", choices=CONTROLLERS, group=IN_A_WINDOW),
    )
    takeover: bool = field(default=True, metadata=option("ignore a person's gamepad and the takeover key (F8)"))

    @property
    def several_laps(self) -> bool:
        """Whether more than one lap may be driven."""
        return self.seconds is not None or (self.laps or 1) > 1
