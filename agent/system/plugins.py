"""What other packages add to the agent by entry points in their metadata: engines, games, grabbers, baselines."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

from agent.contract.errors import AgentError
from agent.contract.untrusted import is_plain_name, is_plain_text

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


def find_plugins(group: str) -> dict[str, "EntryPoint"]:
    """Return a group's entry points by name, in alphabetical order. Nothing of theirs is imported.

    Where two packages use one name, the first on Python's path has it. A name that cannot be typed on a command line
    (see ``is_plain_name``) is left out, and so is a package whose metadata cannot be read.
    """
    found: dict[str, EntryPoint] = {}
    for entry in _entry_points(group):
        if is_plain_name(entry.name):
            found.setdefault(entry.name, entry)
    return dict(sorted(found.items()))


def load_plugin(entry: "EntryPoint", kind: type[T], error: type[AgentError]) -> T:
    """Import what an entry point names.

    Args:
        entry: From ``find_plugins``.
        kind: What it must be an instance of.
        error: What to raise.

    Raises:
        AgentError: Of the type ``error``, in one line, whatever the package does while it is imported.
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
    """Return in one printable line what another package's code has failed by."""
    text = " ".join(str(exc).split())[:200]
    return f"{type(exc).__name__}: {''.join(each if each.isprintable() else '?' for each in text)}"


def package_of(entry: "EntryPoint") -> str:
    """Return how to call the package that an entry point belongs to."""
    try:
        name = None if entry.dist is None else entry.dist.metadata["Name"]
    except Exception:  # its metadata are damaged
        name = None
    return f"the package {name}" if is_plain_name(name) else "a package"


def _entry_points(group: str) -> Iterator["EntryPoint"]:
    import importlib.metadata  # a tenth of the whole start-up, and only needed where something is looked up

    try:
        yield from importlib.metadata.entry_points(group=group)
        return
    except Exception:  # one package's metadata are damaged: look at each by itself
        distributions = importlib.metadata.distributions()
    for distribution in distributions:
        try:
            entries = tuple(distribution.entry_points.select(group=group))
        except Exception:
            continue
        yield from entries


def _shown(value: str) -> str:
    return value if is_plain_text(value, 200) else "what it names"
