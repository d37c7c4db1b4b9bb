"""``episodes``: what was recorded, whether it is sound, and putting it right."""

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.commands.options import add_command, add_json_option
from agent.commands.wiring import EXIT_DONE, EXIT_ERROR, progress_bar, say, say_json

if TYPE_CHECKING:
    from agent.sessions.repair_episodes import Examination

_COLOURS = {
    "sound": "green",
    "being recorded": "cyan",
    "cut off": "yellow",
    "odd": "yellow",
    "damaged": "red",
    "foreign": "red",
}


def add_to(commands: Any) -> None:
    """Add the command to the program's subcommands."""
    parser = commands.add_parser(
        "episodes",
        help="look through recorded episodes, check them, and put them right",
        description="Look through recorded episodes, check them, and put them right.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    _add_action(
        actions,
        "info",
        _info,
        "list episodes: how long, how large, whether complete",
        "Decodes no picture but the first of each.",
        "python -m agent episodes info episodes",
    )
    _add_action(
        actions,
        "verify",
        _verify,
        "read every byte and decode every picture",
        "Names each file that is not sound, what is wrong and where: cut off (a recording that was killed;\n"
        "`repair` seals it), odd (it can be read, but what it says cannot be), damaged, foreign (another format).\n"
        "exit code: 0 if all are sound or being recorded at present, 1 otherwise.",
        "python -m agent episodes verify episodes data/expert",
    )
    _add_action(
        actions,
        "repair",
        _repair,
        "seal what a kill cut off, and keep what can be read of damaged files",
        "A sound episode is not touched, nor one that is being recorded. A damaged file is set aside under another\n"
        "name (.damaged), never deleted. Doing it again changes nothing.\n"
        "exit code: 0 if all is as it should be afterwards, 1 if something could not be put right.",
        "python -m agent episodes repair episodes",
    )


def _add_action(
    actions: Any,
    name: str,
    command: Callable[[argparse.Namespace], int],
    summary: str,
    explanation: str,
    example: str,
) -> None:
    parser = add_command(actions, name, command, summary, example)
    parser.epilog = f"{explanation}\n{parser.epilog}"
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="a .parquet, a .recording, or a folder with such below it"
    )
    add_json_option(parser)


def _info(arguments: argparse.Namespace) -> int:
    _show(arguments, _examine_all(arguments.paths, thorough=False))
    return EXIT_DONE


def _verify(arguments: argparse.Namespace) -> int:
    found = _examine_all(arguments.paths, thorough=True)
    _show(arguments, found)
    bad = [each for each in found if each.verdict not in ("sound", "being recorded")]
    return EXIT_ERROR if bad else EXIT_DONE


def _repair(arguments: argparse.Namespace) -> int:
    from agent.sessions.repair_episodes import find_episodes, repair

    repairs = []
    paths = find_episodes(arguments.paths)
    with progress_bar("files") as bar:
        task = bar.add_task("", total=len(paths))
        for path in paths:
            repairs.append(repair(path))
            bar.advance(task)
    done = [each for each in repairs if each.deed]
    if arguments.json:
        say_json({"files": len(paths), "repairs": [{**asdict(each), "path": str(each.path)} for each in done]})
    else:
        for each in done:
            say(f"{each.path}: {each.deed}")
        say(f"{len(paths)} files, {len(paths) - len(done)} of them as they should be")
    return EXIT_ERROR if any(each.failed for each in repairs) else EXIT_DONE


def _examine_all(paths: list[Path], thorough: bool) -> "list[Examination]":
    from agent.sessions.repair_episodes import examine, find_episodes

    found = find_episodes(paths)
    with progress_bar("files") as bar:
        task = bar.add_task("", total=len(found))
        examined = []
        for path in found:
            examined.append(examine(path, thorough))
            bar.advance(task)
    return examined


def _show(arguments: argparse.Namespace, found: "list[Examination]") -> None:
    if arguments.json:
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
            escape(str(each.path)),
            str(each.rows),
            f"{each.seconds:.1f}",
            rate,
            str(each.missing),
            f"{each.largest_gap_s:.2f}",
            pixels,
            f"{each.size_bytes / 1e6:.1f}",
            escape(each.game),
            escape(each.driver),
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
