"""What a library reads when it is imported is set before: its greeting, its reports to its makers, its screen."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for folder in ("agent", "training", "scripts") for path in (ROOT / folder).rglob("*.py"))
SETTINGS = ("os.environ", "sys.modules", "sys.path")


def lines(path: Path) -> tuple[list[int], list[int]]:
    """Return where a module's top level changes such a setting, and where it imports."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    imports = [node.lineno for node in body if isinstance(node, (ast.Import, ast.ImportFrom, ast.With))]
    changes = [
        node.lineno
        for node in body
        if isinstance(node, (ast.Expr, ast.Assign)) and ast.unparse(node).startswith(SETTINGS)
    ]
    return changes, imports


@pytest.mark.parametrize("path", [path for path in MODULES if lines(path)[0]], ids=lambda path: path.stem)
def test_an_import_comes_after_what_is_set_for_it(path: Path) -> None:
    changes, imports = lines(path)
    assert max(changes) < max(imports), f"{path.relative_to(ROOT)} sets line {max(changes)} after its last import"


def test_there_are_such_modules() -> None:
    assert {path.stem for path in MODULES if lines(path)[0]} >= {"carracing", "play", "openvino", "quantize"}


def test_pygame_does_not_greet() -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYGAME", "SDL"))}
    probe = "import agent.games.carracing, agent.sessions.play, agent.inputs.gamepad"
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
