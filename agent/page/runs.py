"""The trainings of a folder for the page: their logs, as ``training fit`` writes them."""

import csv
import io
import json
import math
import os
from pathlib import Path
from typing import Any

from agent.contract.errors import TrainingError
from agent.contract.untrusted import read_plain_file

LOG, SETTINGS = "log.csv", "config.json"
_MOST_BYTES = 20_000_000
_MOST_RUNS = 500
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
        if key not in self._paths:
            raise TrainingError("there is no such run in the folder. Load the page again.")
        path = self._paths[key] / LOG
        try:
            text = read_plain_file(path, _MOST_BYTES).decode()
        except FileNotFoundError:
            return {}  # it has just begun
        except (OSError, UnicodeDecodeError) as exc:
            raise TrainingError(f"{path} cannot be read ({exc}), expected the log of a run.") from exc
        rows = list(csv.DictReader(io.StringIO(text)))
        names = [name for name in (rows[0] if rows else {}) if isinstance(name, str)]
        return {name: [_number(row.get(name)) for row in rows] for name in names}


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
