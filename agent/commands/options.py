"""Command lines made from settings, for the agent and the trainer; only this module reads argparse's results."""

import argparse
import difflib
import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass
from typing import Any, Generic, NoReturn, TypeVar

from agent.contract.errors import AgentError
from agent.contract.wording import as_installed
from agent.settings.base import Option, Settings, default_of, options_of
from agent.system.interrupts import ending_at_once

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """The options of a call that do not belong to the command's settings.

    Attributes:
        json: Whether to print one JSON object instead of text.
        verbose: Whether to show details, and the traceback of an error.
        started_ns: When the program was started, on ``agent.system.pacing.clock_ns``; None if unknown.
        arguments: The command line, without the program's name.
    """

    json: bool = False
    verbose: bool = False
    started_ns: int | None = None
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Generic[S]):
    """One command of a program.

    Attributes:
        settings: The class of its settings.
        run: Runs it and returns the exit code; None if one of its actions must be named.
        example: A command line that works.
        notes: Further text of the help, above the example; ends without a line break.
        json: What ``--json`` does; empty if the command does not have it.
        actions: Commands below this one, whose names follow its own.
        actions_title: Their heading in the help.
    """

    settings: type[S]
    run: Callable[[S, Invocation], int] | None
    example: str = ""
    notes: str = ""
    json: str = ""
    actions: "tuple[Entry, ...]" = ()
    actions_title: str = "actions"


@dataclass(frozen=True, slots=True)
class Entry:
    """A command in a program's list.

    Attributes:
        name: Its name on the command line.
        summary: What it does, in one line.
        command: The command, or the name of its module. The module is imported when the command is used, and has it as
            ``COMMAND``.
    """

    name: str
    summary: str
    command: Command[Any] | str

    def load(self) -> Command[Any]:
        """Return the command."""
        if isinstance(self.command, Command):
            return self.command
        with ending_at_once():
            command: Command[Any] = importlib.import_module(self.command).COMMAND
        return command


JSON = "print one JSON object instead of text; units are in names"


class Parser(argparse.ArgumentParser):
    """A command's parser.

    It reports unknown arguments itself, with its own usage; argparse would leave that to the outermost parser.

    Attributes:
        fill: Adds the parser's options when it is first used: of all commands, only one ever is.
    """

    fill: Callable[[], None] | None = None

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        if self.fill is not None:
            fill, self.fill = self.fill, None
            fill()
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._guess(unknown[0])}")
        return found, unknown

    def format_help(self) -> str:
        return as_installed(super().format_help())

    def format_usage(self) -> str:
        return as_installed(super().format_usage())

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, as_installed(f"{self.prog}: error: {message}\n"))

    def _guess(self, unknown: str) -> str:
        if not unknown.startswith("--"):
            return ""
        known = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
        near = difflib.get_close_matches(unknown.partition("=")[0], known, 1)
        return f" (did you mean {near[0]}?)" if near else ""


def make_parser(
    prog: str, description: str, epilog: str, commands: Sequence[Entry], verbose_first: bool = False
) -> argparse.ArgumentParser:
    """Return a program's parser.

    Args:
        prog: How the program is called.
        description: What it does.
        epilog: The end of its help.
        commands: Its commands.
        verbose_first: Whether ``--verbose`` may come before the command, too.
    """
    parser = Parser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter, epilog=epilog
    )
    if verbose_first:
        parser.add_argument("--verbose", action="store_true", help="show the traceback of an error")
    choices = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for entry in commands:
        _add(choices, entry)
    return parser


def _add(choices: Any, entry: Entry) -> None:
    parser: Parser = choices.add_parser(
        entry.name,
        help=entry.summary.replace("%", "%%"),
        description=f"{entry.summary[0].upper()}{entry.summary[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.fill = functools.partial(_fill, parser, entry)


def _fill(parser: Parser, entry: Entry) -> None:
    command = entry.load()
    notes = [part for part in (command.notes, command.example and f"example: {command.example}") if part]
    parser.epilog = "\n".join(notes) or None
    if command.run is not None:
        parser.set_defaults(command=command, parser=parser)
        parser.add_argument(
            "--verbose",
            action="store_true",
            default=argparse.SUPPRESS,
            help="show details, and the traceback of an error",
        )
        add_options(parser, command.settings)
        if command.json:
            parser.add_argument("--json", action="store_true", help=command.json)
    if command.actions:
        must = command.run is None
        names = "ACTION" if must else "|".join(action.name for action in command.actions)
        below = parser.add_subparsers(title=command.actions_title, required=must, metavar=names)
        for action in command.actions:
            _add(below, action)


def add_options(parser: argparse.ArgumentParser, settings: type[Settings]) -> None:
    """Add every option of a settings class under its heading."""
    groups: dict[Any, Any] = {None: parser}
    exclusive: dict[str, Any] = {}
    for each, described in options_of(settings):
        heading = described.group
        if heading is not None and heading not in groups:
            groups[heading] = parser.add_argument_group(heading.title, heading.explanation or None)
        place = groups[heading]
        if described.excludes is not None:
            if described.excludes not in exclusive:
                exclusive[described.excludes] = place.add_mutually_exclusive_group()
            place = exclusive[described.excludes]
        _add_option(place, each.name, described, default_of(each))


def _add_option(place: Any, name: str, described: Option, default: Any) -> None:
    flag = described.flag or name
    keywords: dict[str, Any] = {"help": _help(described, default)}
    if described.positional:
        names = [name]
        if described.several is None and default is not MISSING:
            keywords["nargs"] = "?"
    else:
        names = [f"--{'no-' if default is True and described.flag is None else ''}{flag.replace('_', '-')}"]
        keywords["dest"] = name
        keywords["required"] = default is MISSING
    if default is not MISSING:
        keywords["default"] = default
    if described.check is None and described.choices is None:
        del keywords["required"]
        keywords["action"] = "store_false" if default is True else "store_true"
    else:
        if described.choices is not None:
            keywords["choices"] = described.choices  # they may be looked up only when needed
        else:
            keywords["type"] = argument(described.check)
        if described.metavar is not None:
            keywords["metavar"] = described.metavar
        if described.bare is not None:
            keywords["nargs"], keywords["const"] = "?", described.bare
        if described.several == "together":
            keywords["nargs"] = "+"
        elif described.several == "repeated":
            keywords["action"] = "append"
            keywords["default"] = None  # otherwise given values would be appended to it
    place.add_argument(*names, **keywords)


def _help(described: Option, default: Any) -> str:
    words = described.help() if callable(described.help) else described.help
    says_nothing = default is MISSING or default is None or isinstance(default, bool) or default in ("", ())
    if not says_nothing and "(default" not in words:
        shown = f"{default:g}" if isinstance(default, float) else str(default)
        words = f"{words} (default: {shown})"
    return words.replace("%", "%%").replace("%%(choices)s", "%(choices)s")


def argument(check: Callable[[Any], Any] | None) -> Callable[[str], Any]:
    """Return a check for argparse's ``type``: the check's message becomes the text of the error."""

    def checked(text: str) -> Any:
        assert check is not None
        try:
            return check(text)
        except (ValueError, AgentError) as exc:
            raise argparse.ArgumentTypeError(str(exc)) from None

    return checked


def read_settings(arguments: argparse.Namespace, settings: type[S]) -> S:
    """Return the parsed settings.

    Raises:
        SettingsError: If they contradict each other; shown as bad usage.
        AgentError: The same, but shown as an error of the command.
    """
    values = {each.name: getattr(arguments, each.name) for each, _ in options_of(settings)}
    given = {name: value for name, value in values.items() if value is not None}
    return settings(**given)
