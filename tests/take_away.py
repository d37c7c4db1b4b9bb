"""Takes one protection away: by the definition that holds it, in whichever file that is."""

import ast
import functools
import itertools
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Protection:
    """One protection.

    Attributes:
        name: What it sees to.
        place: Qualified name of the function, class or constant that holds it, wherever under ``agent/`` that lies.
        code: What it is, written as it stands there. Spaces and line breaks do not matter.
        without: What stands there instead when it is taken away; further lines are indented like the first.
        tests: Arguments for pytest that pick its tests.

    A name with a leading underscore, in ``place`` or in ``code``, also matches without it: a helper that a second
    module comes to use loses its underscore, and protects what it protected.
    """

    name: str
    place: str
    code: str
    without: str
    tests: str


def apply(protection: Protection, root: Path) -> tuple[Path, str]:
    """Take a protection away.

    Returns:
        The file that holds it, and that file's text without it.

    Raises:
        LookupError: If the code is not in exactly one definition of that name, exactly once.
    """
    pattern = _pattern(protection.code)
    found: list[tuple[Path, str, re.Match[str]]] = []
    for path in sorted((root / "agent").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for start, end in _definitions(source, protection.place):
            found += [(path, source, match) for match in pattern.finditer(source, start, end)]
    if len(found) != 1:
        places = [f"{path.relative_to(root)}:{source.count(chr(10), 0, m.start()) + 1}" for path, source, m in found]
        raise LookupError(
            f"{protection.name}: {protection.code!r} is {len(found)} times in {protection.place} "
            f"({', '.join(places) or 'nowhere'}), expected once. Write its entry anew."
        )
    path, source, match = found[0]
    line = source[source.rfind("\n", 0, match.start()) + 1 : match.start()]
    indent = " " * (len(line) - len(line.lstrip()))
    without = textwrap.indent(protection.without, indent).removeprefix(indent)
    for name in re.findall(r"(?<!\w|\.)_\w+", protection.code):
        if not re.search(rf"\b{name}\b", match.group()):
            without = re.sub(rf"(?<!\w|\.){name}\b", name.lstrip("_"), without)
    return path, source[: match.start()] + without + source[match.end() :]


def _pattern(code: str) -> re.Pattern[str]:
    """Return what finds the code however it is laid out, its private names with their underscore or without."""
    pieces: list[str] = []
    before = ""
    for token in re.findall(r"\w+|[^\w\s]", code):
        if pieces:
            pieces.append(r"\s+" if before[-1].isalnum() and token[0].isalnum() else r"\s*")
        private = re.fullmatch(r"_[A-Za-z]\w*", token)
        word = rf"_?{token[1:]}" if private else re.escape(token)
        pieces.append(rf"\b{word}\b" if token[0] == "_" or token[0].isalnum() else word)
        before = token
    return re.compile("".join(pieces))


def _definitions(source: str, place: str) -> list[tuple[int, int]]:
    """Return where the definitions of that qualified name begin and end in the source, in characters."""
    names = [name.lstrip("_") for name in place.split(".")]
    nodes: list[ast.AST] = [_parse(source)]
    for name in names:
        nodes = [
            child
            for node in nodes
            for child in ast.iter_child_nodes(node)
            if name in (each.lstrip("_") for each in _defined(child))
        ]
    if not nodes:
        return []
    lines = source.split("\n")
    starts = list(itertools.accumulate((len(line) + 1 for line in lines), initial=0))

    def offset(line: int, column: int) -> int:
        return starts[line - 1] + len(lines[line - 1].encode()[:column].decode())  # ast counts bytes

    return [
        (offset(node.lineno, node.col_offset), offset(node.end_lineno or node.lineno, node.end_col_offset or 0))
        for node in nodes
        if isinstance(node, ast.stmt)
    ]


@functools.lru_cache(maxsize=256)
def _parse(source: str) -> ast.Module:
    return ast.parse(source)


def _defined(node: ast.AST) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [node.target.id] if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else []
