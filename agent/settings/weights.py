"""Settings of ``weights``."""

from dataclasses import dataclass, field
from pathlib import Path

from agent.settings.base import Settings, option
from agent.settings.checks import path, text


@dataclass(frozen=True, kw_only=True)
class WeightsListSettings(Settings):
    """No options."""


@dataclass(frozen=True, kw_only=True)
class WeightsSettings(Settings):
    """Which weights to fetch, from where and to where."""

    name: str = field(metadata=option("which; see `weights list`", text, metavar="NAME", positional=True))
    address: str | None = field(
        default=None,
        metadata=option(
            "where they are published, such as a mirror (default: the variable HOODCAM_WEIGHTS_ADDRESS, or where the "
            "project is published)",
            text,
            metavar="URL",
        ),
    )
    out: Path | None = field(
        default=None,
        metadata=option(
            "folder to put the model's folder in (default: the user's own, where it is found)", path, metavar="DIR"
        ),
    )
