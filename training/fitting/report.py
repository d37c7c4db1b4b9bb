"""Runs of ``fit`` read for comparison: their settings, logs, and last and best rounds.

Imports no Keras: settings and logs are all it reads. ``report_output`` shows them.
"""

import csv
import json
import math
import os
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.contract.errors import TrainingError
from training.fitting.config import LOG, SETTINGS, FitConfig
from training.fitting.folder import EPISODES
from training.fitting.report_settings import AXES

_CUMULATED = {
    "samples": "samples",
    "seconds": "training_seconds",
}  # the log has them for each round, the report since the start

Column = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of ``fit``.

    Attributes:
        folder: Its folder.
        name: A name that differs from those of the other runs.
        settings: ``config.json``; a setting that is newer than the run has its default.
        outputs: Names of the network's outputs, in its order.
        columns: The log by column: float64, shape (rounds,), NaN where nothing was measured.
    """

    folder: Path
    name: str
    settings: dict[str, Any]
    outputs: tuple[str, ...]
    columns: dict[str, Column]

    def positions(self, by: str) -> Column:
        """Return each round's end on an axis: float64, shape (rounds,).

        Raises:
            TrainingError: If it is not in the log.
        """
        values = self._since_start(by)
        if np.isnan(values).any():
            raise TrainingError(
                f"{self.folder / LOG} does not say how many {by} its rounds took, expected a column {_CUMULATED[by]}: "
                "an earlier version wrote it. Compare --by step."
            )
        return values

    @property
    def best(self) -> int:
        """Index of the round whose model is in ``best``: the best driver, or else the lowest validation loss."""
        scores = self.columns.get("score", -self.columns["validation_loss"])
        return 0 if np.isnan(scores).all() else int(np.nanargmax(scores))

    def figures(self, index: int) -> dict[str, float | None]:
        """Return the figures of a round; None for a figure that is not in the log.

        Args:
            index: Number of the round, from 0; negative from the end.

        Returns:
            ``round`` (from 1), ``step``, ``samples`` and ``seconds`` since the start, ``samples_per_second`` (median of
            the rounds so far), ``validation_loss``, each output's ``_mae`` and ``_correlation``, ``co_pressed`` and
            ``return``.
        """
        rounds = range(len(self.columns["step"]))[index] + 1
        speeds = self._column("samples_per_second")[:rounds]
        speeds = speeds[~np.isnan(speeds)]
        found = {"round": float(rounds)} | {axis: float(self._since_start(axis)[rounds - 1]) for axis in AXES}
        found["samples_per_second"] = float(np.median(speeds)) if len(speeds) else math.nan
        metrics = [f"{output}_{metric}" for metric in ("mae", "correlation") for output in self.outputs]
        for name in ("validation_loss", *metrics, "co_pressed", "return"):
            found[name] = float(self._column(name)[rounds - 1])
        return {name: value if math.isfinite(value) else None for name, value in found.items()}

    def _since_start(self, axis: str) -> Column:
        if axis == "step":
            return self.columns["step"]
        return np.cumsum(self._column(_CUMULATED[axis]))

    def _column(self, name: str) -> Column:
        return self.columns.get(name, np.full(len(self.columns["step"]), math.nan))


def load_runs(folders: Sequence[Path]) -> tuple[Run, ...]:
    """Read the settings and logs of runs, finished or not.

    Args:
        folders: Folders made by ``fit --out``, at least one. A folder that is given twice counts once.

    Raises:
        TrainingError: If a folder holds no run, its settings or log are damaged, or the runs' networks have different
            outputs; the message names the folder.
        OSError: If a file cannot be read.
    """
    folders = list(dict.fromkeys(folder.resolve() for folder in folders))
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        common = os.path.commonpath(folders)
        names = [str(folder.relative_to(common)) for folder in folders]
    runs = tuple(_load_run(folder, name) for folder, name in zip(folders, names, strict=True))
    for run in runs:
        if run.outputs != runs[0].outputs:
            raise TrainingError(
                f"{run.folder} predicts {', '.join(run.outputs)}, but {runs[0].folder} predicts "
                f"{', '.join(runs[0].outputs)}: their curves cannot share panels. Report on them one at a time."
            )
    return runs


def _load_run(folder: Path, name: str) -> Run:
    path = folder / SETTINGS
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        raise TrainingError(
            f"{folder} is no run: it has no {SETTINGS}. Expected the --out of a `python -m training fit`; for all runs "
            "in a folder write FOLDER/*/."
        ) from None
    except ValueError as exc:
        raise _damaged(path, str(exc)) from exc
    try:
        settings = json.loads(text)
    except ValueError as exc:
        raise _damaged(path, str(exc)) from exc
    if not isinstance(settings, dict):
        raise _damaged(path, f"it holds a {type(settings).__name__} instead of settings")
    defaults = {entry.name: entry.default for entry in fields(FitConfig) if entry.default is not MISSING}
    columns = _read_log(folder / LOG)
    outputs = tuple(column.removesuffix("_mae") for column in columns if column.endswith("_mae"))
    if not outputs:
        raise _damaged(folder / LOG, "it has no column <output>_mae")
    return Run(folder, name, defaults | settings, outputs, columns)


def _read_log(path: Path) -> dict[str, Column]:
    try:
        with path.open(newline="") as file:
            reader = csv.reader(file, strict=True)
            names = next(reader, [])
            rows = [_read_row(row, len(names), reader.line_num) for row in reader]
    except FileNotFoundError:
        raise TrainingError(
            f"{path.parent} has finished no round yet: it has no {LOG}. Wait for its first round, or leave it out."
        ) from None
    except (ValueError, csv.Error) as exc:
        raise _damaged(path, str(exc)) from exc
    if not rows:
        raise _damaged(path, "it holds no round")
    columns = dict(zip(names, np.array(rows, np.float64).T, strict=True))
    if missing := [name for name in ("step", "loss", "validation_loss") if name not in columns]:
        raise _damaged(path, f"it has no column {missing[0]}")
    steps = columns["step"]
    if not (np.isfinite(steps).all() and (np.diff(steps, prepend=0) > 0).all()):
        raise _damaged(path, "its steps do not rise from round to round")
    return columns


def _read_row(row: list[str], columns: int, line: int) -> list[float]:
    if len(row) != columns:
        raise ValueError(f"line {line} has {len(row)} fields instead of {columns}")
    try:
        return [float(value) for value in row]
    except ValueError as exc:
        raise ValueError(f"line {line}: {exc}") from exc


def _damaged(path: Path, problem: str) -> TrainingError:
    return TrainingError(
        f"{path} is damaged: {problem}. Restore it, or repeat the run's `python -m training fit`, which writes it anew "
        "from its checkpoint; or leave the run out."
    )


def differing_settings(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Return the values of every run, by the name of the setting, for the settings that differ."""
    names = dict.fromkeys(name for run in runs for name in run.settings if name not in ("out", EPISODES))
    found = {name: [run.settings.get(name) for run in runs] for name in names}
    return {name: values for name, values in found.items() if any(value != values[0] for value in values)}


def notes(runs: Sequence[Run]) -> list[str]:
    """Return what a reader must know before comparing these runs."""
    differing = differing_settings(runs)
    found = []
    other_episodes = {"data", "validation_episodes", "own_driving"} & set(differing)
    if {"balance", "step", "auxiliary", "auxiliary_weight"} & set(differing):
        found.append(
            "training losses are over what each run is fed and weights, so they do not compare"
            + ("" if other_episodes else ": validation does")
        )
    if other_episodes:
        found.append("validation is over different episodes: returns compare, losses and MAE do not")
    return found


def to_dict(runs: Sequence[Run]) -> dict[str, Any]:
    """Return plain data for JSON: last and best round of every run, and the settings in which they differ."""
    differing = differing_settings(runs)
    return {
        "outputs": list(runs[0].outputs),
        "notes": notes(runs),
        "runs": [
            {
                "name": run.name,
                "folder": str(run.folder),
                "settings": {name: values[number] for name, values in differing.items()},
                "last": run.figures(-1),
                "best": run.figures(run.best),
            }
            for number, run in enumerate(runs)
        ],
    }
