"""Engines, games, grabbers and baselines that other packages add by entry points in their metadata."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

from agent.contract.errors import AgentError
from agent.contract.untrusted import is_plain_name, is_plain_text

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


def find_plugins(group: str) -> dict[str, "EntryPoint"]:
    """Return a group's entry points by name, in alphabetical order, without importing the packages.

    If two packages use one name, the first one on Python's path gets it. Names that cannot be typed on a command line
    (see ``is_plain_name``) are left out, as are packages whose metadata cannot be read.
    """
    found: dict[str, EntryPoint] = {}
    for entry in _entry_points(group):
        if is_plain_name(entry.name):
            found.setdefault(entry.name, entry)
    return dict(sorted(found.items()))


def load_plugin(entry: "EntryPoint", kind: type[T], error: type[AgentError]) -> T:
    """Import the object of an entry point.

    Args:
        entry: An entry point from ``find_plugins``.
        kind: The type that the object must have.
        error: The type of error to raise.

    Raises:
        AgentError: Of the type ``error``, in one line, whatever error the package's import raises.
    """
    try:
        found = entry.load()
    except Exception as exc:
        raise error(
            f"{package_of(entry)} offers {entry.name!r}, but {_shown(entry.value)} cannot be loaded "
            f"({reason_of(exc)}). Update that package, or uninstall it."
        ) from exc
    if not isinstance(found, kind):
        raise error(
            f"{package_of(entry)} offers {entry.name!r}, but {_shown(entry.value)} is of type {type(found).__name__}, "
            f"expected {kind.__name__}. Update that package, or uninstall it."
        )
    return found


def reason_of(exc: Exception) -> str:
    """Return the error of another package's code as one printable line."""
    text = " ".join(str(exc).split())[:200]
    return f"{type(exc).__name__}: {''.join(each if each.isprintable() else '?' for each in text)}"


def package_of(entry: "EntryPoint") -> str:
    """Return a name, for messages, of the package that an entry point belongs to."""
    try:
        name = None if entry.dist is None else entry.dist.metadata["Name"]
    except Exception:  # its metadata are damaged
        name = None
    return f"the package {name}" if is_plain_name(name) else "a package"


def _entry_points(group: str) -> Iterator["EntryPoint"]:
    import importlib.metadata  # a tenth of the whole start-up time, and needed only for a lookup

    try:
        yield from importlib.metadata.entry_points(group=group)
        return
    except Exception:  # one package's metadata are damaged: read each package separately
        distributions = importlib.metadata.distributions()
    for distribution in distributions:
        try:
            entries = tuple(distribution.entry_points.select(group=group))
        except Exception:
            continue
        yield from entries


def _shown(value: str) -> str:
    return value if is_plain_text(value, 200) else "what it names"
