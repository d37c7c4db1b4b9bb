"""Settings of ``balance``."""

from dataclasses import dataclass, field
from pathlib import Path

from agent.contract.controls import STANDARD_AXES
from agent.settings.base import Settings, option
from agent.settings.checks import output_names, path
from training.data.balancing.registry import RULE_NAMES


@dataclass(frozen=True, kw_only=True)
class BalanceSettings(Settings):
    """Which samples, and by which rule to balance them."""

    data: tuple[Path, ...] = field(
        metadata=option("folders with episodes, or episodes", path, metavar="DATA", positional=True, several="together")
    )
    rule: str = field(default="all", metadata=option("which rule", choices=(*RULE_NAMES, "all")))
    outputs: tuple[str, ...] = field(
        default=STANDARD_AXES,
        metadata=option(
            "of which outputs: see `fit --help` (default: steering,throttle,brake)",
            output_names,
            metavar="NAME,NAME...",
        ),
    )
    out: Path | None = field(
        default=None, metadata=option("also draw the histograms into this file", path, metavar="PNG")
    )
