"""Settings of ``speed``."""

from dataclasses import dataclass, field

from agent.settings.base import Settings, option
from agent.settings.checks import at_least_one
from training.network.backbones import BACKBONES


@dataclass(frozen=True, kw_only=True)
class SpeedSettings(Settings):
    """Which training step to time, and how often."""

    backbone: str = field(default="xception", metadata=option("network body", choices=BACKBONES))
    width: int = field(default=160, metadata=option("of the pictures", at_least_one, metavar="PX"))
    height: int = field(default=90, metadata=option("of the pictures", at_least_one, metavar="PX"))
    batch: int = field(default=8, metadata=option("samples a batch", at_least_one, metavar="N"))
    rounds: int = field(default=10, metadata=option("timed steps of each", at_least_one, metavar="N"))
