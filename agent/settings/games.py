"""Settings of ``games``: there are none."""

from dataclasses import dataclass

from agent.settings.base import Settings


@dataclass(frozen=True, kw_only=True)
class GamesSettings(Settings):
    """No options."""
