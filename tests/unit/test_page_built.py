"""The page's built files: made of the sources beside them, and of nothing from elsewhere."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from agent.page.server import built_files

FRONT = Path(__file__).parents[2] / "agent" / "page" / "front"


def test_the_built_files_are_those_of_the_sources() -> None:
    sums = json.loads(built_files()["sources.json"][0])
    sources = {f"src/{path.name}" for path in (FRONT / "src").iterdir()}
    assert sources | {"build.mjs", "package-lock.json", "tsconfig.json"} == set(sums), "run `npm run build`"
    for name, known in sums.items():
        now = hashlib.sha256((FRONT / name).read_bytes()).hexdigest()
        assert now == known, f"{name} was changed: run `npm ci && npm run build` in {FRONT}"


@pytest.mark.parametrize("name", sorted(name for name in built_files() if "." in name))
def test_a_built_file_asks_nobody_else(name: str) -> None:
    text = built_files()[name][0].decode()
    code = re.sub(r"/\*!.*?\*/", "", text, flags=re.DOTALL)  # the licences name their projects
    elsewhere = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'`]*", code)) - {"http://www.w3.org/2000/svg"}
    assert not elsewhere
    assert "eval(" not in code
    assert "new Function" not in code
    if name.endswith(".html"):  # the policy would refuse them
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", text)


def test_the_licence_of_what_is_built_in_is_there() -> None:
    assert "MIT License" in built_files()["app.js"][0].decode()
