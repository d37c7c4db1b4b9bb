"""A run's folder: what is written down of the run, and whether a run in it is the one that is asked for."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from agent.contract.durable import find_folder, replace_file
from agent.contract.errors import TrainingError
from training.fitting.config import SETTINGS, FitConfig

CHECKPOINT = "checkpoint"
EPISODES = "episodes"
"""In the settings' file, beside the settings: (file name, bytes) of every episode, in order."""

_NAMED = 3  # episodes named in a message


def settle(config: FitConfig, paths: Sequence[Path], report: Callable[[str], None]) -> None:
    """Write down a new run's settings and episodes, or see to it that the run in the folder has the same.

    A folder without a checkpoint is nobody's: whatever was begun there came to nothing. Where a run or its data were
    moved to does not matter, and more steps than it was begun with are done on top.

    Raises:
        TrainingError: If the folder holds another run, or what is written down of it cannot be read.
    """
    ours = refuse_other_run(config, paths, report)
    replace_file(config.out / SETTINGS, json.dumps(ours, indent=2, sort_keys=True) + "\n")


def refuse_other_run(
    config: FitConfig, paths: Sequence[Path], report: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """See to it that the run in the folder, if there is one, has the same settings; return what is written down of it.

    Raises:
        TrainingError: As :func:`settle` does.
    """
    settings: dict[str, Any] = json.loads(config.to_json())
    ours = settings | {EPISODES: [[each.name, each.stat().st_size] for each in paths]}
    if (theirs := recorded_settings(config.out)) is not None:
        _compare(config, ours, theirs, report)
    return ours


def copy_files(source: Path, target: Path) -> None:
    """Copy the files of a model's folder into another folder."""
    for path in source.iterdir():
        shutil.copyfile(path, target / path.name)


def recorded_settings(folder: Path) -> dict[str, Any] | None:
    """Return the settings of the run in a folder; None if there is none that has a checkpoint.

    Raises:
        TrainingError: If they cannot be read.
    """
    path = folder / SETTINGS
    if find_folder(folder / CHECKPOINT) is None or not path.exists():
        return None
    # A run begun by an earlier version did without the settings added since: what their defaults do.
    added = {entry.name: entry.default for entry in fields(FitConfig) if entry.default is not MISSING}
    try:
        recorded: dict[str, Any] = json.loads(json.dumps(added)) | json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError) as exc:
        raise TrainingError(f"{path} is damaged ({exc}). Restore it or choose another --out.") from exc
    return recorded


def _compare(config: FitConfig, ours: dict[str, Any], theirs: dict[str, Any], report: Callable[[str], None]) -> None:
    ignored = {"out", EPISODES}
    if EPISODES in theirs:
        ignored.add("data")  # known by what they are, wherever they lie
    differing = {key for key in ours.keys() | theirs.keys() if not _same(key, ours.get(key), theirs.get(key))}
    differing -= ignored
    is_whole = theirs["steps"] % theirs["steps_per_round"] == 0  # rounds are counted, and a short last one is one
    if differing in ({"steps"}, {"steps", "minutes"}) and ours["steps"] > theirs["steps"] and is_whole:
        report(f"{config.out} was begun with {theirs['steps']} steps, and goes on to {ours['steps']}")
        differing = set()
    if differing:
        hint = ""
        if differing == {"steps"} and not is_whole:
            hint = (
                f" Its last round was a short one; go on from it with another --out and `--init {config.out / 'best'}`."
            )
        if "validation_episodes" in differing and theirs["validation_episodes"]:
            hint = f" It was validated on whole episodes: `--validation-episodes {theirs['validation_episodes']}`."
        raise TrainingError(
            f"{config.out} holds a run with other settings ({', '.join(sorted(differing))}). Choose another --out, or "
            f"repeat the command recorded in {config.out / SETTINGS} to go on with it.{hint}"
        )
    if theirs.get(EPISODES, ours[EPISODES]) != ours[EPISODES]:
        raise TrainingError(_describe_change(config.out, theirs[EPISODES], ours[EPISODES]))


def _same(key: str, ours: Any, theirs: Any) -> bool:
    if ours == theirs:
        return True
    if key == "data" and isinstance(theirs, list):
        return [Path(each).resolve() for each in ours] == [Path(str(each)).resolve() for each in theirs]
    if key == "init" and isinstance(theirs, str) and not {ours, theirs} & {"none", "imagenet"}:
        return Path(ours).resolve() == Path(theirs).resolve()
    return False


def _describe_change(out: Path, before: list[list[Any]], now: list[list[Any]]) -> str:
    new, gone = [each for each in now if each not in before], [each for each in before if each not in now]
    changes = [f"{_names(new)} new"] * bool(new) + [f"{_names(gone)} gone or changed"] * bool(gone)
    what = " and ".join(changes) or "their order is another"
    return (
        f"{out} was trained on other episodes: {what}. Go on with the same episodes, or begin another --out with "
        f"`--init {out / 'best'}`."
    )


def _names(episodes: list[list[Any]]) -> str:
    names = ", ".join(str(name) for name, _ in episodes[:_NAMED]) + (", ..." if len(episodes) > _NAMED else "")
    return f"{names} {'is' if len(episodes) == 1 else 'are'}"
