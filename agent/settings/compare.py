"""Settings of ``compare``."""

from dataclasses import dataclass, field
from pathlib import Path

from agent.settings.base import Settings, option
from agent.settings.checks import path


@dataclass(frozen=True, kw_only=True)
class CompareSettings(Settings):
    """Two drivers' evaluations."""

    first: tuple[Path, ...] = field(
        metadata=option("output of `evaluate --json`", path, metavar="FIRST", positional=True, several="together")
    )
    second: tuple[Path, ...] = field(
        metadata=option("the other driver's output", path, metavar="SECOND", flag="with", several="together")
    )
