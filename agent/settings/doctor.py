"""Settings of ``doctor``."""

from dataclasses import dataclass, field
from pathlib import Path

from agent.settings.base import option
from agent.settings.checks import path, png_path, text
from agent.settings.shared import CaptureSettings


@dataclass(frozen=True, kw_only=True)
class DoctorSettings(CaptureSettings):
    """What to look at."""

    game: str | None = field(
        default=None,
        metadata=option("look for this game too, and at its weights (see `agent games`)", text, metavar="NAME"),
    )
    weights: Path | None = field(
        default=None, metadata=option("model folder (default: model_weights/GAME)", path, metavar="DIR")
    )
    picture: Path | None = field(
        default=None, metadata=option("write the captured picture (.png)", png_path, metavar="FILE")
    )
    pad: bool = field(default=True, metadata=option("do not plug the virtual gamepad in"))
