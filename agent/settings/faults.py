"""Settings of ``faults``."""

from dataclasses import dataclass, field

from agent.settings.base import Settings, option
from agent.settings.checks import at_least_one, text


@dataclass(frozen=True, kw_only=True)
class FaultsSettings(Settings):
    """Which faults to inject, and how often."""

    count: int = field(
        default=44, metadata=option("least number of faults to inject in all", at_least_one, metavar="N")
    )
    only: tuple[str, ...] | None = field(
        default=None, metadata=option("only these; see --list", text, metavar="NAME", several="together")
    )
    list: bool = field(default=False, metadata=option("list the faults and inject none"))
