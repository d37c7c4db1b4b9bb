"""Settings of ``occlusion``."""

from dataclasses import dataclass, field
from pathlib import Path

from agent.settings.base import option
from agent.settings.checks import at_least_one, path, png_path, text
from agent.settings.shared import EngineSettings


@dataclass(frozen=True, kw_only=True)
class OcclusionSettings(EngineSettings):
    """Which pictures to use, and which map to draw."""

    episodes: tuple[Path, ...] = field(
        metadata=option("recordings, all of one game", path, metavar="EPISODE", positional=True, several="together")
    )
    out: Path | None = field(
        default=None,
        metadata=option("draw the map of one output over a picture (.png)", png_path, metavar="FILE"),
    )
    output: str = field(default="steering", metadata=option("whose map", text, metavar="NAME"))
    pictures: int = field(
        default=40, metadata=option("number of pictures; each takes 145 passes", at_least_one, metavar="N")
    )
