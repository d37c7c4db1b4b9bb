"""Settings: frozen dataclasses. Each option is written once, with its help, default and check.

::

    @dataclass(frozen=True, kw_only=True)
    class PaceSettings(Settings):
        rounds: int = field(default=3, metadata=option("turns of each loop", at_least_one, metavar="N"))

Python callers pass keyword arguments; the command line is made from the same fields (``agent.commands.options``). Both
are checked by the same function. A value may also be given as text, as on the command line: a path, for example.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, ClassVar, Literal, Protocol

from agent.contract.errors import AgentError


class SettingsError(ValueError):
    """A setting has an invalid value, or two settings exclude each other; the message is one line."""


class Choices(Protocol):
    """All values that an option can have, such as a tuple."""

    def __contains__(self, value: object, /) -> bool: ...

    def __iter__(self) -> Iterator[str]: ...


@dataclass(frozen=True, slots=True)
class Group:
    """A heading in a command's help, with options below it.

    Attributes:
        title: The heading.
        explanation: A line below it; may be empty.
    """

    title: str
    explanation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """How a field is given and checked.

    Attributes:
        help: What the option does, with its unit. A meaningful default is added, and the choices replace
            ``%(choices)s``.
        check: Takes a value or its text, and returns the value. Raises ``ValueError`` or ``AgentError`` with what was
            found and what was expected. If ``several`` is set, it gets one value at a time. None for a switch, or if
            ``choices`` is enough.
        metavar: Placeholder for the value in the help.
        choices: All allowed values.
        several: How more than one value is given: ``together`` after one option, or with the option ``repeated``.
        flag: Name on the command line, without hyphens, if it differs from the field's name.
        positional: Whether it is given without a name.
        group: Its heading in the help.
        bare: The value if the option is given without one; None if it must have a value.
        excludes: A name shared by options of which only one may be given.
    """

    help: str | Callable[[], str]
    check: Callable[[Any], Any] | None = None
    metavar: str | None = None
    choices: Choices | None = None
    several: Literal["together", "repeated"] | None = None
    flag: str | None = None
    positional: bool = False
    group: Group | None = None
    bare: Any = None
    excludes: str | None = None

    def checked(self, value: Any) -> Any:
        """Return the value in its final type.

        Raises:
            ValueError: If the option cannot have this value.
            AgentError: The same, raised by the type of the value.
        """
        if self.several is None:
            return self._checked_one(value)
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise ValueError(f"{value!r} is a single value, expected a list of them")
        return tuple(self._checked_one(each) for each in value)

    def _checked_one(self, value: Any) -> Any:
        if self.choices is not None:
            if value not in self.choices:
                raise ValueError(f"{value!r} is none of the choices, expected one of {', '.join(self.choices)}")
            return value
        if self.check is None:
            if not isinstance(value, bool):
                raise ValueError(f"{value!r} is neither True nor False")
            return value
        return self.check(value)


def option(help: str | Callable[[], str], check: Callable[[Any], Any] | None = None, **further: Any) -> dict[str, Any]:
    """Return a field's metadata; see :class:`Option`."""
    return {_KEY: Option(help=help, check=check, **further)}


_KEY = "option"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of every command's settings; checks each field that is an option.

    A subclass that checks more overrides ``__post_init__`` and begins with ``super().__post_init__()``.

    Attributes:
        error: The type of error for an invalid value.

    Raises:
        SettingsError: If a value is invalid, or two settings exclude each other.
    """

    error: ClassVar[type[Exception]] = SettingsError

    def __post_init__(self) -> None:
        given: dict[str, str] = {}
        for each, described in options_of(type(self)):
            value = getattr(self, each.name)
            if value is None and each.default is None:
                continue
            try:
                object.__setattr__(self, each.name, described.checked(value))
            except (ValueError, AgentError) as exc:
                raise self.error(f"{each.name}: {exc}") from None
            if described.excludes is not None and value != each.default:
                if described.excludes in given:
                    raise self.error(f"{each.name}: not allowed with {given[described.excludes]}, expected one of them")
                given[described.excludes] = each.name


def options_of(settings: type[Settings]) -> list[tuple[Field[Any], Option]]:
    """Return a class's options: those of its bases first, from left to right, then its own."""
    found = {each.name: each for each in fields(settings)}
    named = [found[name] for name in _names(settings) if name in found]
    return [(each, each.metadata[_KEY]) for each in named if _KEY in each.metadata]


def default_of(described: Field[Any]) -> Any:
    """Return an option's default; ``dataclasses.MISSING`` if it must be given."""
    return described.default_factory() if described.default_factory is not MISSING else described.default


def _names(settings: type[Settings]) -> list[str]:
    names: dict[str, None] = {}
    for base in settings.__bases__:
        if issubclass(base, Settings):
            names |= dict.fromkeys(_names(base))
    return list(names | dict.fromkeys(inspect.get_annotations(settings)))
