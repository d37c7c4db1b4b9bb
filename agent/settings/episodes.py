"""Settings of the actions of ``episodes``."""

from dataclasses import dataclass, field
from pathlib import Path

from agent.settings.base import Settings, option
from agent.settings.checks import path


@dataclass(frozen=True, kw_only=True)
class EpisodesSettings(Settings):
    """Which recordings."""

    paths: tuple[Path, ...] = field(
        metadata=option(
            "a .parquet, a .recording, or a folder that holds some",
            path,
            metavar="PATH",
            positional=True,
            several="together",
        )
    )
