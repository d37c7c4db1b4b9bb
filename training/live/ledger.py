"""What a live training writes down of itself: its settings and a row a round."""

import csv
import json
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Self

from agent.contract.durable import replace_file, replacing
from agent.contract.episodes.columns import RECORDING_SUFFIX
from agent.contract.errors import TrainingError
from agent.contract.spec import ModelSpec
from agent.sessions.repair_episodes import repair
from training.fitting.config import LOG, SETTINGS, FitConfig
from training.in_use import in_use
from training.live.config import LiveSettings
from training.live.evaluator import Judged
from training.live.trainer import EPISODES, RoundEnd

_NETWORK = ("game", "backbone", "width_px", "height_px", "outputs")


class Ledger:
    """The run's folder while it is trained in; a context manager. ``python -m training report`` shows it, too.

    Args:
        settings: The run's.
        spec: Of the network.
        note: Is told what was found in the folder.

    Raises:
        TrainingError: If the folder is in use, or holds a run with another network.
    """

    def __init__(self, settings: LiveSettings, spec: ModelSpec, note: Callable[[str], None]) -> None:
        self._settings = settings
        self._spec = spec
        self._note = note
        self._rows: list[dict[str, float]] = []
        self._stack = ExitStack()

    @property
    def rounds(self) -> int:
        """Rounds that were written down."""
        return len(self._rows)

    def __enter__(self) -> Self:
        folder = self._settings.folder
        with ExitStack() as stack:
            stack.enter_context(in_use(folder, "trained in"))
            self._settle()
            for path in sorted((folder / EPISODES).glob(f"*{RECORDING_SUFFIX}")):
                self._note(f"{path.name}: {repair(path).deed}")  # what a killed collector left behind
            self._rows = _read(folder / LOG)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def end_round(self, end: RoundEnd) -> None:
        """Write down a round of the trainer."""
        # A trainer that was killed between two writes does a round again.
        self._rows = [row for row in self._rows if row["step"] < end.row["step"]]
        self._rows.append(end.row | {"return": math.nan, "score": math.nan})
        self._write()

    def judge(self, judged: Judged) -> None:
        """Write down how the weights of a round drove."""
        for row in self._rows:
            if row["step"] == judged.steps:
                row["return"] = row["score"] = judged.mean
        self._write()

    def _settle(self) -> None:
        """Write the settings down, or refuse a folder in which another network is trained."""
        settings, path = self._settings, self._settings.folder / SETTINGS
        known = {each.name for each in fields(FitConfig)}
        ours: dict[str, Any] = {key: value for key, value in asdict(settings).items() if key in known}
        ours |= {"live": {key: str(value) for key, value in asdict(settings).items()}}
        ours |= {"game": self._spec.game, "name": self._spec.name, "outputs": list(self._spec.output_names)}
        ours |= {"data": [EPISODES], "out": str(settings.folder), "balance": "at the door"}
        if path.exists():
            try:
                theirs = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as exc:
                raise TrainingError(f"{path} is damaged ({exc}). Restore it or choose another --out.") from exc
            differing = [key for key in _NETWORK if theirs.get(key) != ours.get(key)]
            if differing or "live" not in theirs:
                what = ", ".join(f"{key} {theirs.get(key)}, not {ours.get(key)}" for key in differing)
                raise TrainingError(
                    f"{settings.folder} holds another run ({what or 'not a live one'}). Choose another --out, or "
                    "repeat its settings."
                )
        replace_file(path, json.dumps(ours, indent=2, sort_keys=True) + "\n")

    def _write(self) -> None:
        path = self._settings.folder / LOG
        try:
            with replacing(path, sync=False) as partial, partial.open("w", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=list(self._rows[-1]))
                writer.writeheader()
                writer.writerows({key: row.get(key, math.nan) for key in self._rows[-1]} for row in self._rows)
        except OSError as exc:  # such as a full disk: the rows are written with the next round
            self._note(f"{path} could not be written ({exc})")


def _read(path: Path) -> list[dict[str, float]]:
    try:
        with path.open(newline="") as file:
            return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError):
        return []
