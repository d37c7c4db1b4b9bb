"""Spans of an episode that are marked as bad: a small file beside the recording, which itself stays as it is.

``NAME.edits.json`` beside ``NAME.parquet``::

    {"format": "hoodcam-edits/1", "bad": [[120, 180]]}

A span has its first and its last row. Training leaves these rows out.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agent.contract.durable import replace_file
from agent.contract.errors import EpisodeError
from agent.contract.untrusted import read_plain_file

EDITS_SUFFIX = ".edits.json"
DELETED = ".deleted"
"""Folder beside an episode for what was deleted, and for whole episodes whose bad rows were taken out."""
_FORMAT = "hoodcam-edits/1"
_MOST_BYTES = 1_000_000
_MOST_SPANS = 10_000

Spans = tuple[tuple[int, int], ...]
"""First and last row of each span, in order, without overlaps."""


def edits_path(episode: Path) -> Path:
    """Return where an episode's edits are, if it has some."""
    return episode.with_name(episode.stem + EDITS_SUFFIX)


def read_edits(episode: Path, rows: int) -> Spans:
    """Return the spans of an episode that are marked as bad; none if there is no edit list.

    Args:
        episode: The episode's file.
        rows: How many rows it has.

    Raises:
        EpisodeError: If the edit list is damaged, or is one of another episode.
    """
    path = edits_path(episode)
    try:
        raw = json.loads(read_plain_file(path, _MOST_BYTES))
        if not isinstance(raw, dict) or raw.get("format") != _FORMAT or not isinstance(raw.get("bad"), list):
            raise ValueError(f"it is not of the format {_FORMAT}")
        return merged(raw["bad"], rows)
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, RecursionError) as exc:
        raise EpisodeError(
            f"{path} cannot be used ({exc}), expected spans of rows of {episode.name}. Delete it, and mark the spans "
            "again."
        ) from exc


def write_edits(episode: Path, spans: Iterable[object], rows: int) -> Spans:
    """Replace an episode's edit list; without spans, remove it. Return the spans as they are stored.

    Raises:
        ValueError: If a span is not one of the episode's.
        EpisodeError: If the list cannot be written.
    """
    kept = merged(spans, rows)
    path = edits_path(episode)
    try:
        if kept:
            replace_file(path, json.dumps({"format": _FORMAT, "bad": kept}) + "\n")
        else:
            path.unlink(missing_ok=True)
    except OSError as exc:
        raise EpisodeError(f"{path} cannot be written ({exc.strerror}), expected a writable folder.") from exc
    return kept


def merged(spans: Iterable[object], rows: int) -> Spans:
    """Return spans in order, with those joined that touch.

    Args:
        spans: First and last row of each.
        rows: How many rows the episode has.

    Raises:
        ValueError: If one is no span of an episode with so many rows.
    """
    checked: list[tuple[int, int]] = []
    for span in spans:
        if len(checked) == _MOST_SPANS:
            raise ValueError(f"there are more than {_MOST_SPANS} spans")
        if not isinstance(span, list | tuple) or len(span) != 2 or any(type(each) is not int for each in span):
            raise ValueError(f"{str(span)[:50]!r} is no span, expected its first and its last row")
        first, last = span
        if not 0 <= first <= last < rows:
            raise ValueError(f"rows {first} to {last} are no span of an episode with {rows} rows")
        checked.append((first, last))
    joined: list[tuple[int, int]] = []
    for first, last in sorted(checked):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        else:
            joined.append((first, last))
    return tuple(joined)


def good_rows(episode: Path, rows: int) -> npt.NDArray[np.bool_]:
    """Return which rows of an episode are not marked as bad: bool, shape (rows,).

    Raises:
        EpisodeError: If the edit list is damaged.
    """
    good = np.ones(rows, bool)
    for first, last in read_edits(episode, rows):
        good[first : last + 1] = False
    return good
