"""Chooses the rows of an episode for training, and those that are held out for validation.

Imports no Keras, because ``balance`` uses it too.
"""

import zlib

import numpy as np
import numpy.typing as npt

from agent.contract.episodes.edits import good_rows
from agent.contract.episodes.reading import Episode

Rows = npt.NDArray[np.int64]
"""int64, shape (n,): row numbers in rising order."""

START_S = 5.0
"""The first seconds of an episode are never held out: each episode has only one start, and it must be learnt."""
SPAN_S = 4.0
"""Length of a held-out span."""
GAP_S = 1.0
"""Time left unused on both sides of a span: the pictures there are nearly those of the span."""
SEGMENT_S = 40.0
"""Mean time from one span to the next: a tenth is held out, a twentieth is left unused."""

_NETWORKS = ("policy:", "replayed:")
_LEAST_ROWS = 8  # with fewer, all are trained on


def labelled_rows(episode: Episode, own_driving: bool = False, edited: bool = True) -> Rows:
    """Return the rows whose controls are what a driver should do, without those that are marked as bad.

    In an episode of a network's drive (``drive --record``), these are the rows of a person who had taken over. The rows
    before show the mistake that made the person take over; the rows after are the network's again. In every other
    episode, DAgger's included, all rows have the labels of an expert or a person.

    Args:
        episode: Any episode.
        own_driving: Also return the network's own rows.
        edited: Leave out the spans of the edit list beside the episode.

    Raises:
        EpisodeError: If the edit list is damaged.
    """
    rows = np.ones(len(episode), bool)
    if not own_driving and episode.header.driver.startswith(_NETWORKS):
        rows = np.array(episode.intervention)
    return np.flatnonzero(rows & good_rows(episode.path, len(episode)) if edited else rows)


def hold_out(rows: int, rate_hz: float, name: str) -> tuple[Rows, Rows]:
    """Split an episode's labelled rows, in spans of time: for training, and for validation.

    The spans are spread over the episode after its start. The episode's name decides the place of each span in its
    segment. So an episode is always split in the same way, whatever other episodes there are. In a short episode, all
    times are shorter in proportion.

    Args:
        rows: Number of labelled rows.
        rate_hz: Rows per second.
        name: File name of the episode.

    Returns:
        Row numbers among the labelled rows: for training, and for validation. Rows beside a span are in neither. Of
        fewer than 8 rows, none are held out.
    """
    everything = np.arange(rows)
    if rows < _LEAST_ROWS:
        return everything, everything[:0]
    start = min(START_S * rate_hz, rows / 4)
    count = max(1, round((rows - start) / rate_hz / SEGMENT_S))
    segment = (rows - start) / count
    span = max(1, round(min(SPAN_S * rate_hz, segment * 0.15)))
    gap = max(1, round(min(GAP_S * rate_hz, segment * 0.05)))
    places = np.random.default_rng(zlib.crc32(name.encode())).random(count)
    trained, held_out = np.ones(rows, bool), np.zeros(rows, bool)
    for index, place in enumerate(places):
        first = int(start + index * segment + gap + place * max(0.0, segment - span - 2 * gap))
        held_out[first : first + span] = True
        trained[first - gap : first + span + gap] = False
    return everything[trained], everything[held_out]
