"""The recordings of a folder for the page: what they hold, their pictures, the network's opinion, and marks."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from agent.contract.controls import Controls
from agent.contract.durable import sync_folder
from agent.contract.episodes.columns import is_sealed
from agent.contract.episodes.edits import DELETED, edits_path, read_edits, write_edits
from agent.contract.episodes.reading import Episode
from agent.contract.errors import AgentError, EpisodeError
from agent.page.live import encode
from agent.policies.base import Policy, untimed

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_EPISODES = 5000
_DEPTH = 3  # folders below the one that is shown
_BINS = 21
_QUALITY = 85

OpenPolicy = Callable[[str], Policy]
"""Opens the network that drives a game."""


class Shelf:
    """All episodes of a folder. Not safe for use from several threads at once.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[str, Path] = {}
        self._known: dict[tuple[str, int, int], dict[str, Any]] = {}
        self._open: tuple[str, Episode] | None = None

    def scan(self) -> list[dict[str, Any]]:
        """Return what each episode holds, those that were deleted included, sorted by name."""
        self._paths = dict(sorted(self._found()))
        return [self._described(key, path) for key, path in self._paths.items()]

    def path(self, key: str) -> Path:
        """Return an episode's file; only those that :meth:`scan` has found are ever opened.

        Raises:
            EpisodeError: If there is no such episode.
        """
        if key not in self._paths:
            raise EpisodeError("there is no such episode on the shelf. Load the page again.")
        return self._paths[key]

    def numbers(self, key: str) -> dict[str, Any]:
        """Return the numbers of every row of an episode.

        Raises:
            EpisodeError: If there is no such episode, or it is damaged.
        """
        episode = self._episode(key)
        axes = episode.header.axes
        return {
            "axes": axes,
            "time_s": _rounded((episode.captured_ns - episode.captured_ns[0]) / 1e9),
            "label": {name: _rounded(episode.controls[:, column]) for column, name in enumerate(axes)},
            "executed": {name: _rounded(episode.executed[:, column]) for column, name in enumerate(axes)},
            "intervention": episode.intervention.astype(int).tolist(),
            "bad": read_edits(episode.path, len(episode)),
        }

    def picture(self, key: str, row: int, width: int | None = None) -> bytes:
        """Return a row's picture as JPEG; a thumbnail of that width, if one is given.

        Raises:
            EpisodeError: If there is no such episode or row, or it is damaged.
        """
        episode = self._episode(key)
        if not 0 <= row < len(episode):
            raise EpisodeError(f"{episode.path.name} has no row {row}, expected 0 to {len(episode) - 1}.")
        pixels = episode.frame(row).pixels
        if width is not None and width < pixels.shape[1]:
            height = max(1, round(pixels.shape[0] * width / pixels.shape[1]))
            pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        return encode(pixels, _QUALITY)

    def mark(self, key: str, spans: list[object]) -> tuple[tuple[int, int], ...]:
        """Replace the spans that are marked as bad; return them.

        Raises:
            EpisodeError: If there is no such episode, or the list cannot be written.
            ValueError: If one is no span of it.
        """
        episode = self._episode(key)
        return write_edits(episode.path, spans, len(episode))

    def delete(self, key: str) -> None:
        """Move an episode, with its edit list, into a folder beside it; :meth:`restore` brings it back.

        Raises:
            EpisodeError: If there is no such episode, or it cannot be moved.
        """
        path = self.path(key)
        if path.parent.name != DELETED:
            self._move(path, path.parent / DELETED)

    def restore(self, key: str) -> None:
        """Bring a deleted episode back.

        Raises:
            EpisodeError: If there is no such episode, or it cannot be moved.
        """
        path = self.path(key)
        if path.parent.name == DELETED:
            self._move(path, path.parent.parent)

    def _move(self, path: Path, folder: Path) -> None:
        self._open = None
        try:
            folder.mkdir(exist_ok=True)
            for each in (path, edits_path(path)):
                if (folder / each.name).exists() and each.exists():
                    raise EpisodeError(f"{folder / each.name} exists already. Move one of the two away.")
            for each in (edits_path(path), path):  # the episode last: without it, the list is nobody's
                if each.exists():
                    os.rename(each, folder / each.name)
            sync_folder(folder)
            sync_folder(path.parent)
        except OSError as exc:
            raise EpisodeError(f"{path} cannot be moved ({exc.strerror}), expected a writable folder.") from exc
        self.scan()

    def _found(self) -> "Iterator[tuple[str, Path]]":
        count = 0
        for place, folders, names in os.walk(self._folder):
            depth = len(Path(place).relative_to(self._folder).parts)
            folders[:] = sorted(each for each in folders if each == DELETED or (depth < _DEPTH and each[0] != "."))
            for name in sorted(names):
                if is_sealed(Path(name)) and not name.startswith("."):
                    path = Path(place) / name
                    yield path.relative_to(self._folder).as_posix(), path
                    count += 1
                    if count == _MOST_EPISODES:
                        return

    def _described(self, key: str, path: Path) -> dict[str, Any]:
        try:
            stat = path.stat()
            known = self._known.get((key, stat.st_size, stat.st_mtime_ns))
            if known is None:
                known = self._known[key, stat.st_size, stat.st_mtime_ns] = _describe(Episode.open(path))
            bad = read_edits(path, known["rows"])
            return {"key": key, "deleted": path.parent.name == DELETED, **known, "bad": bad}
        except (AgentError, OSError) as exc:
            return {"key": key, "deleted": path.parent.name == DELETED, "problem": str(exc)}

    def _episode(self, key: str) -> Episode:
        if self._open is None or self._open[0] != key:
            self._open = key, Episode.open(self.path(key))
        return self._open[1]


def _describe(episode: Episode) -> dict[str, Any]:
    header = episode.header
    counts, _ = np.histogram(episode.controls[:, 0], _BINS, (-1.05, 1.05))
    return {
        "rows": len(episode),
        "seconds": round(episode.duration_s, 2),
        "rate_hz": header.rate_hz,
        "game": header.game,
        "driver": header.driver,
        "track": header.track or ("" if header.seed is None else f"track {header.seed}"),
        "created": episode.created,
        "by_hand": round(float(episode.intervention.mean()), 4),
        "steering": counts.tolist(),
    }


@dataclass(slots=True)
class Opinion:
    """What the network says to every row of an episode; filled while it is being computed.

    Attributes:
        outputs: Names of the outputs.
        rows: How many rows there are.
        values: A row of clipped predictions for each row that is done.
        problem: Why there is no more; empty if nothing is wrong.
    """

    outputs: tuple[str, ...] = ()
    rows: int = 0
    values: list[list[float]] = field(default_factory=list)
    problem: str = ""

    def to_dict(self, since: int) -> dict[str, Any]:
        """Return plain data for JSON, without the rows before ``since``."""
        done = len(self.values)
        return {
            "outputs": self.outputs,
            "rows": self.rows,
            "since": since,
            "values": self.values[since:done],
            "done": done == self.rows and bool(self.rows),
            "problem": self.problem,
        }


def form_opinion(path: Path, open_policy: OpenPolicy, opinion: Opinion, wanted: Callable[[], bool]) -> None:
    """Run the network over an episode; called in a thread.

    Args:
        path: The episode.
        open_policy: Opens the network.
        opinion: Receives the predictions.
        wanted: Returns false once nobody wants them any more.
    """
    policy: Policy | None = None
    try:
        episode = Episode.open(path)
        policy = open_policy(episode.header.game)
        names = policy.spec.output_names
        opinion.outputs = tuple(name for name in names if name in episode.header.axes)
        opinion.rows = len(episode)
        policy.reset()
        for frame in episode.frames():
            if not wanted():
                return
            controls = Controls.from_prediction(policy.decide(frame, untimed).prediction, names).clip().arbitrate()
            opinion.values.append([round(getattr(controls, name), 4) for name in opinion.outputs])
    except Exception as exc:  # told in the page, whatever it is
        opinion.problem = str(exc) if isinstance(exc, AgentError) else f"{type(exc).__name__}: {exc}"
    finally:
        if policy is not None:
            policy.close()


def _rounded(values: npt.NDArray[Any]) -> list[float]:
    rounded: list[float] = np.round(values.astype(np.float64), 4).tolist()
    return rounded
