"""Keeps the last 30 s of a drive: as an episode of what the network saw, and as a film."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from agent.contract.controls import AXIS_NAMES, Controls
from agent.contract.durable import sync_folder
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow, timed_path
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.errors import EpisodeError
from agent.contract.observation import Frame, newest_picture
from agent.observers.video import FilmFile, compose
from agent.page.live import Remembered
from agent.page.records import KINDS, STUCK_STATES, Facts

LEAST_ROWS = 2


@dataclass(frozen=True, slots=True)
class Kept:
    """What was written.

    Attributes:
        episode: The episode.
        film: The film of it.
        seconds: Its length.
    """

    episode: Path
    film: Path
    seconds: float


def keep(facts: Facts, seed: int | None, remembered: Sequence[Remembered]) -> Kept:
    """Write what is remembered of a drive.

    The pictures are the network's own input, of the network's size and with its masks: preprocessing does not change
    them again. As in a recording, ticks whose decision was not sent are left out, and those that free a stuck car.

    Args:
        facts: The drive's facts.
        seed: Track of the lap; None for a game in a window.
        remembered: The ticks, the oldest first.

    Raises:
        EpisodeError: If there is nothing to keep, or it cannot be written.
        AgentError: If the film cannot be written.
    """
    ticks = [each for each in remembered if _is_worth_it(facts, each)]
    if len(ticks) < LEAST_ROWS:
        raise EpisodeError("there is nothing to keep yet, expected some ticks whose decision was sent. Wait a moment.")
    path = timed_path(Path(facts.keep), facts.game, seed, "kept")
    film = path.with_suffix(".mp4")
    header = EpisodeHeader(facts.game, facts.driver, facts.rate_hz, seed, axes=facts.axes)
    with EpisodeWriter(path, header) as episode, FilmFile(film, facts.rate_hz) as movie:
        for tick in ticks:
            row = dict(zip(facts.columns, tick.row.tolist(), strict=True))
            pixels = np.asarray(cv2.cvtColor(newest_picture(tick.observation()), cv2.COLOR_RGB2BGR), np.uint8)
            controls = Controls(*(row[f"sent_{name}"] for name in AXIS_NAMES))
            took_s = 0.0 if np.isnan(row["capture_s"]) else row["capture_s"]  # a person's drive has no stages
            captured_ns = round((row["started_s"] + took_s) * 1e9)
            speed = None if np.isnan(row["speed"]) else row["speed"]
            frame = Frame(pixels, captured_ns, int(row["index"]))
            episode.write(EpisodeRow(frame, controls, controls, speed, bool(row["intervention"])))
            movie.write(compose(pixels, controls, 1.0, facts.axes))
    sync_folder(path.parent)
    first, last = (tick.row[facts.columns.index("started_s")] for tick in (ticks[0], ticks[-1]))
    return Kept(path, film, float(last - first))


def _is_worth_it(facts: Facts, tick: Remembered) -> bool:
    kind, by_hand, stuck = (int(tick.row[facts.columns.index(name)]) for name in ("kind", "intervention", "stuck"))
    frees_itself = STUCK_STATES[stuck] in ("recovering", "given_up") and not by_hand
    return KINDS[kind] == "driven" and not frees_itself
