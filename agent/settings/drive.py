"""Settings of ``drive``."""

from dataclasses import dataclass, field
from pathlib import Path

from agent.contract.profile import CONTROLLERS
from agent.settings.base import option
from agent.settings.checks import at_least_one, path, png_path, positive, track_seed, video_path
from agent.settings.shared import (
    IN_A_WINDOW,
    CaptureSettings,
    EngineSettings,
    GameSettings,
    PageSettings,
    ProcessorSettings,
    RateSettings,
)


@dataclass(frozen=True, kw_only=True)
class DriveSettings(GameSettings, EngineSettings, RateSettings, ProcessorSettings, PageSettings, CaptureSettings):
    """What to drive, for how long, and which files to write."""

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
    record: Path | None = field(
        default=None, metadata=option("record one episode per lap into this folder", path, metavar="DIR")
    )
    video: Path | None = field(
        default=None,
        metadata=option(
            "film the drive: .mp4, or animated .webp or .gif (625 ticks at most); several laps become FILE-SEED",
            video_path,
            metavar="FILE",
        ),
    )
    show_input: Path | None = field(
        default=None,
        metadata=option("write the network's exact input (.png) once a second", png_path, metavar="FILE"),
    )
    health: Path | None = field(
        default=None,
        metadata=option(
            "write memory, handles, threads and missed deadlines every 10 s, and their growth (JSON)",
            path,
            metavar="FILE",
        ),
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
