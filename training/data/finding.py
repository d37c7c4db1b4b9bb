"""Finds the episodes for a training, in folders or as single files, and says which are left out."""

from collections.abc import Callable, Sequence
from pathlib import Path

from agent.contract.episodes.columns import REPAIR, SEALED_SUFFIX, is_recording, is_sealed
from agent.contract.errors import TrainingError
from agent.contract.locks import is_claimed

Note = Callable[[str], None]

_NAMED = 4  # folders and files named in a message


def find_episodes(
    entries: Sequence[Path], note: Note = lambda line: None, game: str = "carracing", record: str = ""
) -> list[Path]:
    """Return the sealed episodes, each once: the named ones, and those of the folders, sorted by name in each folder.

    Hidden files are not episodes: macOS writes ``._name`` beside every file that it copies to a foreign disk.

    Args:
        entries: Folders or episodes.
        note: Receives a line for everything that is left out.
        game: Name of the game, for the advice on how to record.
        record: The command that records the game's episodes, if it is not ``agent record``.

    Raises:
        TrainingError: If an entry does not exist or holds no episode; the message says what it holds.
    """
    found: dict[Path, Path] = {}
    for entry in entries:
        paths = _episodes_of(entry, note, record or f"python -m agent record --game {game}")
        twice = sum(path.resolve() in found for path in paths)
        if twice:
            note(f"{entry}: {twice} episodes were named before, and count once")
        for path in paths:
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _episodes_of(entry: Path, note: Note, record: str) -> list[Path]:
    if not entry.exists():
        raise TrainingError(f"{entry} does not exist, expected a folder with episodes, or an episode. Check the path.")
    if not entry.is_dir():
        if is_recording(entry):
            raise TrainingError(f"{entry} was never sealed as an episode. {REPAIR}, then name what it has made.")
        if not is_sealed(entry):
            raise TrainingError(
                f"{entry} is no episode, expected a file ending in {SEALED_SUFFIX}, or a folder with such files."
            )
        return [entry]
    found = _visible(entry, is_sealed)
    sealed = {path.stem for path in found}
    unsealed = [path for path in _visible(entry, is_recording) if path.stem not in sealed]
    if not found:
        raise TrainingError(_why_none(entry, unsealed, record))
    for path in unsealed:
        if _is_being_recorded(path):
            note(f"{path} is being recorded, and is left out")
        else:
            note(f"{path} was never sealed, and is left out. {REPAIR} to train on it, too")
    return found


def _why_none(folder: Path, unsealed: Sequence[Path], record: str) -> str:
    nothing = f"{folder} holds no episodes (*{SEALED_SUFFIX})"
    if unsealed:
        return f"{nothing}, but {_counted(unsealed)} never sealed as one. {REPAIR}."
    below = [each for each in sorted(folder.iterdir()) if each.is_dir() and not each.name.startswith(".")]
    below = [each for each in below if _visible(each, is_sealed)]
    if below:
        names = " ".join(str(each) for each in below[:_NAMED]) + (" ..." if len(below) > _NAMED else "")
        return f"{nothing}, but {_counted(below)} with some. Name those that are meant: `--data {names}`."
    return f"{nothing}. Record some: `{record} --out {folder}`."


def _counted(paths: Sequence[Path]) -> str:
    names = ", ".join(path.name for path in paths[:_NAMED])
    kind = "folder" if paths[0].is_dir() else "recording"
    return f"{len(paths)} {kind}{'s' if len(paths) > 1 else ''} ({names}{', ...' if len(paths) > _NAMED else ''})"


def _visible(folder: Path, is_meant: Callable[[Path], bool]) -> list[Path]:
    visible = (path for path in folder.iterdir() if is_meant(path) and not path.name.startswith("."))
    return sorted(path for path in visible if not path.is_dir())


def _is_being_recorded(path: Path) -> bool:
    try:
        return is_claimed(path)
    except OSError:
        return False
