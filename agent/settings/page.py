"""Settings of ``page``."""

from dataclasses import dataclass, field
from pathlib import Path

from agent.settings.base import option
from agent.settings.checks import path
from agent.settings.shared import EngineSettings, PageSettings


@dataclass(frozen=True, kw_only=True)
class PageFolderSettings(EngineSettings, PageSettings):
    """Which folder, and which network is asked for its opinion."""

    folder: Path = field(
        metadata=option("folder with recordings, trainings, or both", path, metavar="FOLDER", positional=True)
    )
