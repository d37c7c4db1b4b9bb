"""How well somebody drove, from the game's log and from when a person had to help."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .driver import Row

_LONGEST_GAP_S = 0.5  # rows farther apart than this belong to different drives


@dataclass(frozen=True)
class Spell:
    """A while that a person drove in another's stead.

    Attributes:
        from_s: Of the clock of the log.
        until_s: Likewise.
        cause: Why.
    """

    from_s: float
    until_s: float
    cause: str


def figures(rows: Sequence[Row], spells: Sequence[Spell]) -> dict[str, Any]:
    """Return what the measurement of the five steps asks.

    Args:
        rows: Of the log, in order; more than one race is fine.
        spells: When a person helped.

    Returns:
        ``seconds`` of driving, the person's and the menu's not among them; ``interventions`` and ``per_minute`` of
        those; ``on_road``, the share of them; ``longest_m`` between a start or a person's help and the next;
        ``distance_m``, ``mean_speed``, the game's ``pictures_per_s``, ``laps``, ``contacts``; ``starts``, standing
        ones, and ``started``, without help; ``causes`` of the help.
    """
    seconds = on_road_s = distance_m = alone_m = longest_m = 0.0
    laps = contacts = starts = started = pictures = 0
    at_start = False
    for before, row in pairwise(rows):
        begun = row["state"] == "driving" and (before["state"] == "menu" or row["race_s"] < before["race_s"])
        if begun:
            starts, at_start, alone_m = starts + 1, True, 0.0
        helped = any(spell.from_s <= row["clock_s"] <= spell.until_s for spell in spells)
        if helped:
            alone_m, at_start = 0.0, False
        elapsed_s = row["clock_s"] - before["clock_s"]
        if begun or helped or not before["state"] == row["state"] == "driving" or elapsed_s > _LONGEST_GAP_S:
            continue
        gone_m = row["distance_m"] - before["distance_m"]
        seconds += elapsed_s
        pictures += 1
        on_road_s += elapsed_s * (not row["off_road"])
        distance_m, alone_m = distance_m + gone_m, alone_m + gone_m
        longest_m = max(longest_m, alone_m)
        laps += row["laps"] - before["laps"]
        contacts += row["contacts"] - before["contacts"]
        if at_start and row["distance_m"] > 15.0:
            started, at_start = started + 1, False
    causes = [spell.cause for spell in spells]
    return {
        "seconds": round(seconds, 1),
        "interventions": len(spells),
        "per_minute": round(len(spells) / seconds * 60, 2) if seconds else None,
        "on_road": round(on_road_s / seconds, 4) if seconds else None,
        "longest_m": round(longest_m),
        "distance_m": round(distance_m),
        "mean_speed": round(distance_m / seconds, 2) if seconds else None,
        "pictures_per_s": round(pictures / seconds, 1) if seconds else None,
        "laps": laps,
        "contacts": contacts,
        "starts": starts,
        "started": started,
        "causes": {cause: causes.count(cause) for cause in sorted(set(causes))},
    }
