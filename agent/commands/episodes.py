"""``episodes``: lists recordings, checks them, repairs them, and takes out what is marked as bad."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from agent.commands.options import JSON, Command, Entry, Invocation
from agent.commands.wiring import EXIT_DONE, EXIT_ERROR, progress_bar, say, say_json
from agent.contract.untrusted import printable
from agent.settings.episodes import EpisodesSettings

if TYPE_CHECKING:
    from agent.sessions.repair_episodes import Examination, Repair

    ChangeAll = Callable[[EpisodesSettings, Callable[[int], None]], list[Repair]]

_COLOURS = {
    "sound": "green",
    "being recorded": "cyan",
    "cut off": "yellow",
    "odd": "yellow",
    "damaged": "red",
    "foreign": "red",
}


def _info(settings: EpisodesSettings, invocation: Invocation) -> int:
    _show(invocation, _examine(settings, thorough=False))
    return EXIT_DONE


def _verify(settings: EpisodesSettings, invocation: Invocation) -> int:
    found = _examine(settings, thorough=True)
    _show(invocation, found)
    bad = [each for each in found if each.verdict not in ("sound", "being recorded")]
    return EXIT_ERROR if bad else EXIT_DONE


def _repair(settings: EpisodesSettings, invocation: Invocation) -> int:
    from agent.sessions.repair_episodes import repair_all

    return _change(settings, invocation, repair_all, "repairs")


def _apply(settings: EpisodesSettings, invocation: Invocation) -> int:
    from agent.sessions.apply_edits import apply_all

    return _change(settings, invocation, apply_all, "edits")


def _drop(settings: EpisodesSettings, invocation: Invocation) -> int:
    from agent.sessions.apply_edits import drop_all

    return _change(settings, invocation, drop_all, "edits")


def _change(settings: EpisodesSettings, invocation: Invocation, change_all: "ChangeAll", what: str) -> int:
    with _counted() as progress:
        changes = change_all(settings, progress)
    done = [each for each in changes if each.deed]
    if invocation.json:
        say_json({"files": len(changes), what: [{**asdict(each), "path": str(each.path)} for each in done]})
    else:
        for each in done:
            say(f"{each.path}: {each.deed}")
        say(f"{len(changes)} files, {len(changes) - len(done)} of them as they should be")
    return EXIT_ERROR if any(each.failed for each in changes) else EXIT_DONE


def _examine(settings: EpisodesSettings, thorough: bool) -> "list[Examination]":
    from agent.sessions.repair_episodes import examine_all

    with _counted() as progress:
        return examine_all(settings, thorough, progress)


@contextmanager
def _counted() -> Iterator[Callable[[int], None]]:
    with progress_bar("files") as bar:
        task = bar.add_task("", total=None)
        yield lambda files: bar.update(task, advance=1, total=files)


def _show(invocation: Invocation, found: "list[Examination]") -> None:
    if invocation.json:
        say_json({"episodes": [{**asdict(each), "path": str(each.path)} for each in found]})
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    table = Table(Column("file", overflow="fold"))
    for title in ("rows", "seconds", "a second", "dropped", "largest gap s", "pixels", "MB"):
        table.add_column(title, justify="right")
    for title in ("game", "driver", "verdict"):
        table.add_column(title)
    for each in found:
        rate = f"{(each.rows - 1) / each.seconds:.1f}" if each.seconds else "-"
        pixels = f"{each.width_px}x{each.height_px}" if each.rows else "-"
        table.add_row(
            escape(printable(str(each.path))),
            str(each.rows),
            f"{each.seconds:.1f}",
            rate,
            str(each.missing),
            f"{each.largest_gap_s:.2f}",
            pixels,
            f"{each.size_bytes / 1e6:.1f}",
            escape(printable(each.game)),
            escape(printable(each.driver)),
            f"[{_COLOURS[each.verdict]}]{each.verdict}[/]",
        )
    console = Console()
    console.width = max(console.width, 140)  # in a log file too
    console.print(table)
    for each in found:
        for problem in each.problems:
            say(f"{each.path}: {problem}")
    seconds, rows = sum(each.seconds for each in found), sum(each.rows for each in found)
    say(f"{len(found)} episodes, {rows} rows, {seconds / 60:.1f} minutes")


COMMAND = Command(
    settings=EpisodesSettings,
    run=None,
    actions=(
        Entry(
            "info",
            "list episodes: how long, how large, whether complete",
            Command(
                settings=EpisodesSettings,
                run=_info,
                notes="Decodes only the first picture of each.",
                example="python -m agent episodes info episodes",
                json=JSON,
            ),
        ),
        Entry(
            "verify",
            "read every byte and decode every picture",
            Command(
                settings=EpisodesSettings,
                run=_verify,
                notes=(
                    "Names each file that is not sound, what is wrong and where: cut off (a recording that was "
                    "killed;\n"
                    "`repair` seals it), odd (readable, but with impossible values), damaged, foreign (another "
                    "format).\n"
                    "exit code: 0 if all are sound or being recorded now, 1 otherwise."
                ),
                example="python -m agent episodes verify episodes data/expert",
                json=JSON,
            ),
        ),
        Entry(
            "repair",
            "seal recordings that were cut off, and keep the readable part of damaged files",
            Command(
                settings=EpisodesSettings,
                run=_repair,
                notes=(
                    "Sound episodes, and episodes that are being recorded, are not touched. A damaged file is set "
                    "aside\n"
                    "under another name (.damaged), never deleted. Doing it again changes nothing.\n"
                    "exit code: 0 if all is in order afterwards, 1 if something could not be repaired."
                ),
                example="python -m agent episodes repair episodes",
                json=JSON,
            ),
        ),
        Entry(
            "apply",
            "take out the rows that were marked as bad on the page",
            Command(
                settings=EpisodesSettings,
                run=_apply,
                notes=(
                    "Training leaves these rows out in any case. The whole recording and its marks move into the\n"
                    "folder .deleted beside it; nothing is lost.\n"
                    "exit code: 0 if all is in order afterwards, 1 if some marks could not be applied."
                ),
                example="python -m agent episodes apply episodes",
                json=JSON,
            ),
        ),
        Entry(
            "drop",
            "forget what was marked as bad on the page",
            Command(
                settings=EpisodesSettings,
                run=_drop,
                notes="The recordings stay as they are; training uses all of their rows again.",
                example="python -m agent episodes drop episodes",
                json=JSON,
            ),
        ),
    ),
)
