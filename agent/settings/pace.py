"""Settings of ``pace``."""

from dataclasses import dataclass, field

from agent.settings.base import Settings, option
from agent.settings.checks import at_least_one, control_rate, not_negative, positive


@dataclass(frozen=True, kw_only=True)
class PaceSettings(Settings):
    """How to measure the loop's rate."""

    rate: float = field(default=30.0, metadata=option("control rate", control_rate, metavar="HZ"))
    seconds: float = field(default=20.0, metadata=option("length of a turn", positive, metavar="T"))
    rounds: int = field(default=3, metadata=option("turns for each loop, idle and loaded", at_least_one, metavar="N"))
    think_ms: float = field(
        default=5.0,
        metadata=option("processor time of every tick, in place of the network", not_negative, metavar="MS"),
    )
    high_priority: bool = field(default=False, metadata=option("run our loop as `drive --high-priority` does"))
    with_others: bool = field(default=False, metadata=option("compare with rtgym's loop (`pip install '.[compare]'`)"))
