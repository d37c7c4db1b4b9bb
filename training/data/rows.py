"""Which rows of an episode a network learns from, and which are held out to judge it by.

Imports no Keras: ``balance`` uses it, too.
"""

import zlib

import numpy as np
import numpy.typing as npt

from agent.contract.episodes.edits import good_rows
from agent.contract.episodes.reading import Episode

Rows = npt.NDArray[np.int64]
"""int64, shape (n,): numbers of rows, rising."""

START_S = 5.0
"""The first seconds of an episode are never held out: a standing start comes once an episode, and has to be learnt."""
SPAN_S = 4.0
"""How long a held-out span is."""
GAP_S = 1.0
"""What is left unused on either side of a span: the picture beside it would be nearly one of its own."""
SEGMENT_S = 40.0
"""There is a span about this often: a tenth is held out, a twentieth is left unused."""

_NETWORKS = ("policy:", "replayed:")
_LEAST_ROWS = 8  # fewer are trained on whole


def labelled_rows(episode: Episode, own_driving: bool = False, edited: bool = True) -> Rows:
    """Return the rows whose controls are what a driver should do, without those that are marked as bad.

    While a network drove (``drive --record``), these are the rows of a person who had taken over: from the first row
    after taking over to the last before giving back. The rows before are the mistake that made the person take over,
    those after are the network's again. Of any other episode, DAgger's included, every row is labelled by who knows.

    Args:
        episode: Any episode.
        own_driving: Take the network's own rows as well.
        edited: Leave out the spans of the edit list beside the episode.

    Raises:
        EpisodeError: If the edit list is damaged.
    """
    rows = np.ones(len(episode), bool)
    if not own_driving and episode.header.driver.startswith(_NETWORKS):
        rows = np.array(episode.intervention)
    return np.flatnonzero(rows & good_rows(episode.path, len(episode)) if edited else rows)


def hold_out(rows: int, rate_hz: float, name: str) -> tuple[Rows, Rows]:
    """Split an episode's labelled rows into those to train on and those to judge by, in spans of time.

    The spans are spread over the episode after its start, each at a place of its segment that the name decides: the
    same for the same episode, whatever other episodes there are. Of a short episode all times shrink with it.

    Args:
        rows: How many rows are labelled.
        rate_hz: Rows a second.
        name: The episode's file name.

    Returns:
        Numbers of rows among the labelled ones: for training, and for validation. Those of the gaps are in neither.
        Nothing is held out of fewer than 8 rows.
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
