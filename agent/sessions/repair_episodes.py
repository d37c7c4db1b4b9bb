"""Checks recorded files and repairs them where possible: what `python -m agent episodes` does."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from agent.contract.controls import AXIS_BY_NAME
from agent.contract.episodes.columns import RECORDING_SUFFIX, SEALED_SUFFIX, SEALING_SUFFIX, is_recording, is_sealed
from agent.contract.episodes.reading import Episode
from agent.contract.episodes.sealing import recover, salvage
from agent.contract.errors import AgentError, EpisodeError, ForeignEpisodeError
from agent.contract.locks import claimed, is_claimed
from agent.settings.episodes import EpisodesSettings

_Done = TypeVar("_Done")

Verdict = Literal["sound", "being recorded", "cut off", "odd", "damaged", "foreign"]
"""``cut off``: a recording that was killed; ``odd``: readable, but with impossible values; ``foreign``: of another
format or version, or not readable by this user."""

DAMAGED_SUFFIX = ".damaged"
"""Appended to the name of a file that cannot be read and is set aside."""
_JITTER = 0.25  # periods by which a picture may be late and still be the next one


@dataclass(frozen=True, slots=True)
class Examination:
    """The result of checking a file.

    Attributes:
        path: The file.
        verdict: The result in a word.
        problems: What is wrong with it, one line each.
        rows: Readable ticks; 0 if nothing can be read.
        seconds: Time from the first to the last.
        missing: Number of ticks dropped while recording: pictures that were numbered in between, at most one a period
            of the episode's rate.
        largest_gap_s: Longest time from one row to the next.
        width_px: Width of its pictures; 0 if unknown.
        height_px: Height of its pictures.
        size_bytes: Size on the disk.
        game: What was driven.
        driver: Where the labels come from.
    """

    path: Path
    verdict: Verdict
    problems: tuple[str, ...] = ()
    rows: int = 0
    seconds: float = 0.0
    missing: int = 0
    largest_gap_s: float = 0.0
    width_px: int = 0
    height_px: int = 0
    size_bytes: int = 0
    game: str = ""
    driver: str = ""


@dataclass(frozen=True, slots=True)
class Repair:
    """What was done about a file.

    Attributes:
        path: The file.
        deed: What was done, as a phrase; empty if nothing had to be done.
        failed: Whether the file is still not in order.
    """

    path: Path
    deed: str = ""
    failed: bool = False


def find_episodes(paths: Iterable[Path]) -> list[Path]:
    """Return the episodes and recordings among some paths and in their folders, in order.

    Raises:
        EpisodeError: If a path does not exist, is a file of another kind, or is a folder that holds none.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += _find_in(path)
        elif not path.exists():
            raise EpisodeError(f"{path} does not exist, expected an episode or a folder of them. Check the path.")
        elif not _is_ours(path):
            raise EpisodeError(
                f"{path} is not an episode by its name, expected a file ending in {SEALED_SUFFIX} or "
                f"{RECORDING_SUFFIX}, or a folder of them."
            )
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def _find_in(folder: Path) -> list[Path]:
    visible = [each for each in sorted(folder.rglob("*")) if not _is_hidden(each, folder)]
    found = [each for each in visible if _is_ours(each)]
    # Nothing is left to repair where all that was there has been set aside.
    if not found and not any(each.suffix == DAMAGED_SUFFIX for each in visible):
        raise EpisodeError(
            f"{folder} holds no episodes ({SEALED_SUFFIX}) and no recordings ({RECORDING_SUFFIX}), also not in its "
            "folders. Check the path."
        )
    return found


def _is_ours(path: Path) -> bool:
    return is_sealed(path) or is_recording(path)


def _is_hidden(path: Path, folder: Path) -> bool:
    """Return whether a file, or a folder on the way to it, is hidden, such as the one for what was deleted."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def examine(path: Path, thorough: bool, advance: Callable[[int], None] = lambda rows: None) -> Examination:
    """Check a file.

    Args:
        path: An episode or a recording.
        thorough: Decode every picture too; otherwise only the first.
        advance: Called with the number of rows whose pictures have been checked.
    """
    size_bytes = path.stat().st_size if path.exists() else 0
    written = is_recording(path) and _is_being_written(path)
    try:
        episode = Episode.open(path)
        first = episode.frame(0)
    except ForeignEpisodeError as exc:
        return Examination(path, "foreign", (str(exc),), size_bytes=size_bytes)
    except AgentError as exc:
        return Examination(path, "being recorded" if written else "damaged", (str(exc),), size_bytes=size_bytes)
    damage, changes = _look_at_pictures(episode, advance) if thorough else ([], [])
    oddities = [*changes, *_oddities(episode)]
    verdict: Verdict = "sound"
    if damage:
        verdict = "damaged"
    elif written:
        verdict = "being recorded"
    elif is_recording(path):
        verdict = "cut off"
        oddities.append(episode.recovered or "")
    elif oddities:
        verdict = "odd"
    ticks = np.diff(episode.tick.astype(np.int64))
    times_s = np.diff(episode.captured_ns) / 1e9
    periods = np.floor(times_s * episode.header.rate_hz + _JITTER)
    height_px, width_px = first.pixels.shape[:2]
    return Examination(
        path,
        verdict,
        (*damage, *oddities),
        rows=len(episode),
        seconds=episode.duration_s,
        missing=int(np.minimum(np.maximum(0, ticks - 1), np.maximum(0, periods - 1)).sum()),
        largest_gap_s=float(times_s.max(initial=0.0)),
        width_px=width_px,
        height_px=height_px,
        size_bytes=size_bytes,
        game=episode.header.game,
        driver=episode.header.driver,
    )


def repair(path: Path) -> Repair:
    """Repair a file; doing it again changes nothing.

    A recording that was cut off is sealed. The readable part of a damaged episode is kept under its name; the damaged
    file is set aside under another name, never deleted. A sound episode, an episode that is being recorded, and files
    of other formats or versions are not touched. The episode and its recording are locked meanwhile.

    Args:
        path: An episode or a recording.
    """
    if path.is_dir():
        return Repair(path, "left alone: it is not a plain file, but a folder", failed=True)
    try:
        with ExitStack() as held:
            for each in (path, path.with_suffix(SEALED_SUFFIX if is_recording(path) else RECORDING_SUFFIX)):
                if each.exists() and not held.enter_context(claimed(each)):
                    return Repair(path, "is being recorded, or repaired by another program: left alone")
            return _repair_recording(path) if is_recording(path) else _repair_sealed(path)
    except PermissionError as exc:
        return Repair(
            path,
            f"left alone: {exc.filename}: {exc.strerror}, expected a file and a folder that may be read and written. "
            "Repair it as the user who recorded it",
            failed=True,
        )
    except (AgentError, OSError) as exc:
        return Repair(path, str(exc), failed=True)


def _repair_recording(path: Path) -> Repair:
    if not path.exists():
        return Repair(path)  # it was sealed with the episode beside it, a moment ago
    try:
        left = Episode.open(path)
    except ForeignEpisodeError as exc:
        return Repair(path, f"left alone: {exc}", failed=True)
    except EpisodeError as exc:
        return Repair(path, f"set aside as {_set_aside(path).name}: {exc}", failed=True)
    sealed = path.with_suffix(SEALED_SUFFIX)
    held = _holds(sealed, left)
    unread_bytes = left.unread_bytes
    del left  # unmaps the file; Windows would keep it open otherwise
    if held in ("another kind", "another drive"):
        return Repair(
            path,
            f"left alone: the {sealed.name} beside it is of {held}. Rename one of them, then repair again",
            failed=True,
        )
    path.with_suffix(SEALING_SUFFIX).unlink(missing_ok=True)  # a half-finished file, which is made again here
    if held == "all":
        if unread_bytes:
            aside = _set_aside(path).name
            return Repair(path, f"was sealed as {sealed.name} before; what could not be read is in {aside}")
        path.unlink()
        return Repair(path, f"was sealed as {sealed.name} before: removed")
    moved = ""
    if held == "less":
        moved = f"; the {sealed.name} beside it, which held less, is now {_set_aside(sealed).name}"
    episode = recover(path)
    deed = f"sealed as {sealed.name}, {len(episode)} rows"
    if episode.unread_bytes:
        deed += f"; what could not be read is in {_set_aside(path).name}"
    failed = False
    if examine(sealed, thorough=True).verdict == "damaged":  # it was recorded like that
        salvaged = _salvage(sealed)
        deed, failed = f"{deed}; {salvaged.deed}", salvaged.failed
    path.unlink(missing_ok=True)
    return Repair(path, deed + moved, failed)


def _repair_sealed(path: Path) -> Repair:
    damage = examine(path, thorough=True)
    if damage.verdict == "foreign":
        return Repair(path, f"left alone: {damage.problems[0]}", failed=True)
    if damage.verdict != "damaged":
        if damage.problems:
            return Repair(path, f"can be read and is left as it is, but {'; '.join(damage.problems)}", failed=True)
        return Repair(path)
    recording = path.with_suffix(RECORDING_SUFFIX)
    if not recording.exists():
        return _salvage(path)
    done = _repair_recording(recording)
    if recording.exists() or not path.exists() or examine(path, thorough=True).verdict != "damaged":
        return done
    salvaged = _salvage(path)  # its recording did not help
    return Repair(path, f"{salvaged.deed}; {recording.name} {done.deed}", salvaged.failed)


def _salvage(path: Path) -> Repair:
    aside = _set_aside(path)
    try:
        kept, lost = salvage(aside, path)
    except EpisodeError as exc:
        return Repair(path, f"set aside as {aside.name}: {exc}", failed=True)
    return Repair(path, f"{kept} rows kept, {lost} lost; the damaged file is {aside.name}")


def _holds(sealed: Path, left: Episode) -> Literal["nothing", "another kind", "another drive", "less", "all"]:
    """Return how much of the readable part of a recording a sealed file has; the sealed file need not exist."""
    if not sealed.exists():
        return "nothing"
    verdict = examine(sealed, thorough=True).verdict
    if verdict == "foreign":
        return "another kind"
    try:
        beside = Episode.open(sealed)
    except EpisodeError:
        return "less"
    # Times and running numbers cannot tell drives apart: in lockstep, each begins at 0. Nor can the second of the
    # start.
    ours, theirs = _rows(left), _rows(beside)
    if (left.header, left.created) != (beside.header, beside.created) or not (ours <= theirs or theirs <= ours):
        return "another drive"
    # Of two damaged files, more can be saved from the sealed one: a recording ends with its first damage.
    return "all" if ours <= theirs and (verdict != "damaged" or left.unread_bytes) else "less"


def _rows(episode: Episode) -> set[bytes]:
    """Return the rows with all they have but their pictures."""
    columns = [episode.tick, episode.captured_ns, episode.controls, episode.executed, episode.speed]
    columns += [episode.intervention, *(values for _, values in sorted(episode.telemetry.items()))]
    parts = [np.ascontiguousarray(column).view(np.uint8).reshape(len(episode), -1) for column in columns]
    return {row.tobytes() for row in np.concatenate(parts, axis=1)}


def _is_being_written(path: Path) -> bool:
    try:
        return is_claimed(path)
    except OSError:  # gone, or not ours to open; reading it will show which
        return False


def _set_aside(path: Path) -> Path:
    """Rename a file to one that nobody takes for an episode; return its new name."""
    aside = path.with_name(path.name + DAMAGED_SUFFIX)
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.{number}{DAMAGED_SUFFIX}")
    return path.rename(aside)


def _look_at_pictures(episode: Episode, advance: Callable[[int], None]) -> tuple[list[str], list[str]]:
    """Return one line for each picture that cannot be decoded, and one for each change of the pictures' size."""
    damage: list[str] = []
    changes: list[str] = []
    size = None
    for row in range(len(episode)):
        try:
            height_px, width_px = episode.frame(row).pixels.shape[:2]
        except AgentError as exc:
            if str(exc) not in damage[-1:]:  # a damaged part is reported once for all of its rows
                damage.append(str(exc))
        else:
            if size not in (None, (width_px, height_px)):
                changes.append(f"the pictures change size at row {row}, to {width_px} x {height_px} px")
            size = (width_px, height_px)
        advance(1)
    return damage, changes


def _oddities(episode: Episode) -> Iterator[str]:
    """Yield a line for each kind of impossible value."""
    backwards = np.flatnonzero(np.diff(episode.captured_ns) < 0)
    if backwards.size:
        yield f"time goes backwards at row {backwards[0] + 1} ({backwards.size} times)"
    again = np.flatnonzero(np.diff(episode.tick.astype(np.int64)) < 0)
    if again.size:
        yield f"running numbers go backwards at row {again[0] + 1} ({again.size} times)"
    for controls, whose in ((episode.controls, "label"), (episode.executed, "executed")):
        for column, name in enumerate(episode.header.axes):
            if name not in AXIS_BY_NAME:  # an axis of a later version
                continue
            low, high = AXIS_BY_NAME[name].low, AXIS_BY_NAME[name].high
            beyond = np.flatnonzero((controls[:, column] < low) | (controls[:, column] > high))
            if beyond.size:
                found = f"{controls[beyond[0], column]:g} at row {beyond[0]} ({beyond.size} times)"
                yield f"{name} ({whose}) is {found}, expected {low:g} to {high:g}"


def examine_all(
    settings: EpisodesSettings, thorough: bool, progress: Callable[[int], None] = lambda files: None
) -> list[Examination]:
    """Check every file that the settings name; after each, ``progress`` is called with the number of all files.

    Raises:
        EpisodeError: If a path does not exist, is a file of another kind, or is a folder that holds none.
    """
    return do_each(settings, lambda path: examine(path, thorough), progress)


def repair_all(settings: EpisodesSettings, progress: Callable[[int], None] = lambda files: None) -> list[Repair]:
    """Repair every file that the settings name; after each, ``progress`` is called with the number of all files.

    Raises:
        EpisodeError: If a path does not exist, is a file of another kind, or is a folder that holds none.
    """
    return do_each(settings, repair, progress)


def do_each(settings: EpisodesSettings, do: Callable[[Path], _Done], progress: Callable[[int], None]) -> list[_Done]:
    """Do something with every file that the settings name; after each, ``progress`` gets the number of all files.

    Raises:
        EpisodeError: If a path does not exist, is a file of another kind, or is a folder that holds none.
    """
    paths = find_episodes(settings.paths)
    done = []
    for path in paths:
        done.append(do(path))
        progress(len(paths))
    return done
