"""Settings of ``inputs``."""

from dataclasses import dataclass, field

from agent.settings.base import Settings, option
from agent.settings.checks import at_least_one, positive


@dataclass(frozen=True, kw_only=True)
class InputsSettings(Settings):
    """Which devices are plugged in.

    Attributes:
        seconds: How long the devices are watched, so that one can see them move.
    """

    seconds: float | None = field(
        default=None,
        metadata=option("show the devices move for T seconds (default: list them once)", positive, metavar="T"),
    )


@dataclass(frozen=True, kw_only=True)
class LearnInputSettings(Settings):
    """Which device is taught.

    Attributes:
        device: Its number in the list, from 1.
    """

    device: int = field(
        default=1, metadata=option("number of the device in the list of `inputs`", at_least_one, metavar="N")
    )
