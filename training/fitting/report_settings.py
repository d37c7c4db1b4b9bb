"""What ``report`` can be told."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.settings.base import Settings, option
from agent.settings.checks import path

AXES = ("step", "samples", "seconds")
"""What curves can be drawn over: steps, samples drawn, seconds of training (without validation and drives)."""


def _picture_or_page(value: Any) -> Path:
    found = path(value)
    if found.suffix.lower() not in (".png", ".html"):
        raise ValueError(f"{str(value)!r} should end in .png or .html")
    return found


@dataclass(frozen=True, kw_only=True)
class ReportSettings(Settings):
    """Which runs, and what to draw their curves over."""

    runs: tuple[Path, ...] = field(
        metadata=option(
            "folders made by fit, finished or not", path, metavar="RUN", positional=True, several="together"
        )
    )
    out: Path | None = field(
        default=None,
        metadata=option("also draw the curves into this .png or one-file .html", _picture_or_page, metavar="FILE"),
    )
    by: str = field(
        default="step",
        metadata=option("what the curves are drawn over; seconds are those of training alone", choices=AXES),
    )
