"""JSON from strangers, read strictly: each key once, none missing, none unknown, and little nesting.

What is wrong is a ``ValueError`` with what was found and what was expected; the caller adds what to do.
"""

import json
from dataclasses import fields
from reprlib import repr as shortened
from typing import Any, TypeVar

from agent.contract.errors import GameError

T = TypeVar("T")


def parse_strictly(text: str, max_depth: int) -> Any:
    """Return the values of a JSON text.

    Raises:
        ValueError: If it is not JSON, an object repeats a key, or the values are nested deeper.
    """
    try:
        raw = json.loads(text, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"the text is not JSON ({_one_line(exc)})") from exc
    level = [raw]
    for _ in range(max_depth):
        level = [
            child
            for value in level
            if isinstance(value, (dict, list))
            for child in (value.values() if isinstance(value, dict) else value)
        ]
    if level:
        raise ValueError(f"the values are nested more than {max_depth} deep, expected a flat description")
    return raw


def check_keys(kind: type, raw: Any, what: str) -> None:
    """Refuse an object whose keys are not exactly the fields of a dataclass.

    Args:
        kind: The dataclass.
        raw: The object.
        what: Its name in the message.

    Raises:
        ValueError: If it is no object, or keys are missing or unknown.
    """
    if not isinstance(raw, dict):
        raise ValueError(f"{what} is of type {type(raw).__name__}, expected a JSON object")
    expected = {entry.name for entry in fields(kind)}
    if raw.keys() != expected:
        raise ValueError(
            f"{what} misses the keys {sorted(expected - raw.keys())} and has the unknown keys "
            f"{shortened(sorted(raw.keys() - expected))}"
        )


def parse_list(kind: type[T], raw: Any, what: str, max_entries: int) -> tuple[T, ...]:
    """Return the entries of a list as dataclasses.

    Args:
        kind: The dataclass.
        raw: The list.
        what: Its name in the message.
        max_entries: The most entries that it may have.

    Raises:
        ValueError: If it is no list, is too long, or an entry cannot be used.
    """
    if not isinstance(raw, list) or len(raw) > max_entries:
        found = f"has {len(raw)} entries" if isinstance(raw, list) else f"is of type {type(raw).__name__}"
        raise ValueError(f"{what} {found}, expected a JSON list of at most {max_entries}")
    parsed = []
    for index, entry in enumerate(raw):
        check_keys(kind, entry, f"{what}[{index}]")
        try:
            parsed.append(kind(**entry))
        except (GameError, TypeError, OverflowError) as exc:
            reason = str(exc).rstrip(".")
            raise ValueError(f"{what}[{index}] cannot be used: {reason}") from exc
    return tuple(parsed)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError(f"an object has {len(pairs)} keys, of which {len(pairs) - len(table)} repeat another")
    return table


def _one_line(exc: BaseException) -> str:
    return " ".join(str(exc).split())[:200]
