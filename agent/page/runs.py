"""The trainings of a folder for the page: their logs, as ``training fit`` writes them."""

import csv
import io
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from agent.contract.errors import TrainingError
from agent.contract.untrusted import is_plain_name, read_plain_file
from agent.page.live import encode

LOG, SETTINGS = "log.csv", "config.json"
FED = "fed.json"
"""In a run's folder: the distribution of the labels that the last round was fed."""
BUFFERS = "buffers.json"
"""In a live run's folder: how much is in the trainer's buffers, and how fast it is drawn."""
CLIPS = "clips"
"""In a run's folder: a small film of a drive for each stage, named by its step."""
_CLIP_SUFFIXES = (".webp", ".gif")
_MOST_CLIPS = 12
_MOST_BARS = 400
_MOST_BYTES = 20_000_000
_MOST_RUNS = 500
_QUALITY = 85
_DEPTH = 3
SHOWN_SETTINGS = (
    *("name", "backbone", "init", "width_px", "height_px", "balance"),
    *("batch_size", "steps", "minutes", "learning_rate"),
)
"""Settings that ``training fit`` writes down, and that are worth comparing."""


class Runs:
    """All runs of a folder.

    Args:
        folder: The folder; may be a run itself.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[str, Path] = {}

    def scan(self) -> list[dict[str, Any]]:
        """Return the runs, sorted by name, with those of their settings that are worth comparing."""
        self._paths = {}
        for place, folders, names in os.walk(self._folder):
            parts = Path(place).relative_to(self._folder).parts
            folders[:] = sorted(each for each in folders if each[0] != ".") if len(parts) < _DEPTH else []
            if LOG in names or SETTINGS in names:
                self._paths["/".join(parts) or self._folder.resolve().name] = Path(place)
            if len(self._paths) == _MOST_RUNS:
                break
        return [{"key": key, "settings": _settings(path)} for key, path in sorted(self._paths.items())]

    def log(self, key: str) -> dict[str, list[float | None]]:
        """Return a run's log by column, one number for each round; None where nothing was measured.

        Raises:
            TrainingError: If there is no such run, or its log cannot be read.
        """
        path = self._folder_of(key) / LOG
        try:
            text = read_plain_file(path, _MOST_BYTES).decode()
        except FileNotFoundError:
            return {}  # it has just begun
        except (OSError, UnicodeDecodeError) as exc:
            raise TrainingError(f"{path} cannot be read ({exc}), expected the log of a run.") from exc
        rows = list(csv.DictReader(io.StringIO(text)))
        names = [name for name in (rows[0] if rows else {}) if isinstance(name, str)]
        return {name: [_number(row.get(name)) for row in rows] for name in names}

    def details(self, key: str) -> dict[str, Any]:
        """Return what a run says of what it was fed, of its buffers, and the names of its stages' clips.

        Raises:
            TrainingError: If there is no such run.
        """
        folder = self._folder_of(key)
        return {"fed": _fed(folder / FED), "buffers": _buffers(folder / BUFFERS), "clips": _clips(folder / CLIPS)}

    def clip(self, key: str, name: str, is_still: bool) -> tuple[bytes, str]:
        """Return a clip, or its first picture, and its type.

        Raises:
            TrainingError: If there is no such clip, or it cannot be read.
        """
        folder = self._folder_of(key) / CLIPS
        if name not in _clips(folder):
            raise TrainingError("there is no such clip in the run. Load the page again.")
        try:
            content = read_plain_file(folder / name, _MOST_BYTES)
        except OSError as exc:
            raise TrainingError(f"{folder / name} cannot be read ({exc}), expected a film of a drive.") from exc
        if not is_still:
            return content, f"image/{Path(name).suffix[1:]}"
        first = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
        if first is None:
            raise TrainingError(f"{folder / name} is damaged, expected a film of a drive. Delete it.")
        return encode(np.asarray(first, np.uint8), _QUALITY), "image/jpeg"

    def _folder_of(self, key: str) -> Path:
        if key not in self._paths:
            raise TrainingError("there is no such run in the folder. Load the page again.")
        return self._paths[key]


def _fed(path: Path) -> dict[str, Any] | None:
    try:
        told = json.loads(read_plain_file(path, 1_000_000))
        outputs = {
            str(name): {"low": float(each["low"]), "high": float(each["high"]), "counts": _numbers(each["counts"])}
            for name, each in told["outputs"].items()
        }
        return {"step": float(told["step"]), "outputs": outputs}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # none yet, or somebody else's


def _numbers(values: list[Any]) -> list[float]:
    numbers = [float(value) for value in values]
    if not 0 < len(numbers) <= _MOST_BARS or not all(map(math.isfinite, numbers)):
        raise ValueError("no histogram")
    return numbers


def _buffers(path: Path) -> dict[str, Any] | None:
    try:
        told = json.loads(read_plain_file(path, 100_000))
        levels = {str(name): int(level) for name, level in told["levels"].items()}
        known: dict[str, Any] = {name: value for name, value in told.items() if isinstance(value, str | int | float)}
        return {**known, "levels": levels, "age_s": max(0.0, time.time() - float(told["at"]))}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _clips(folder: Path) -> list[str]:
    """Return the names of clips, the first stage first; of many, some from the first to the last."""
    try:
        names = sorted(
            entry.name
            for entry in os.scandir(folder)
            if is_plain_name(entry.name)
            and entry.name.endswith(_CLIP_SUFFIXES)
            and entry.is_file(follow_symlinks=False)
        )
    except OSError:
        return []
    places = np.unique(np.linspace(0, len(names) - 1, min(len(names), _MOST_CLIPS)).round().astype(int))
    return [names[place] for place in places]


def _settings(folder: Path) -> dict[str, Any]:
    try:
        raw = json.loads(read_plain_file(folder / SETTINGS, 1_000_000))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(raw, dict):
        return {}
    return {name: raw[name] for name in SHOWN_SETTINGS if isinstance(raw.get(name), str | int | float)}


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
