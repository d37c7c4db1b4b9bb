"""Settings of ``replay``."""

from dataclasses import dataclass, field
from pathlib import Path

from agent.settings.base import option
from agent.settings.checks import not_negative, path
from agent.settings.shared import EngineSettings, PageSettings


@dataclass(frozen=True, kw_only=True)
class ReplaySettings(EngineSettings, PageSettings):
    """Which recording, and what to compare the predictions with."""

    episode: Path = field(
        metadata=option("a .parquet, or a .recording left by a kill", path, metavar="EPISODE", positional=True)
    )
    reference: Path | None = field(
        default=None,
        metadata=option(
            "compare with these predictions; exit 1 if they differ", path, metavar="FILE", excludes="reference"
        ),
    )
    write_reference: Path | None = field(
        default=None,
        metadata=option("store the predictions for later comparisons", path, metavar="FILE", excludes="reference"),
    )
    tolerance: float | None = field(
        default=None,
        metadata=option(
            "largest accepted difference of any output, in the outputs' own units (default: 0.001 for engines that "
            "compute in float32, 0.02 for bfloat16, 0.1 for int8)",
            not_negative,
            metavar="X",
        ),
    )
