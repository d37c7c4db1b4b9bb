"""Every protection that tests/protections.py takes away is still there, once, and still has tests."""

import ast
from pathlib import Path

import pytest
from protections import PROTECTIONS, ROOT, Protection


@pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda protection: protection.name)
def test_a_protection_is_there_once_and_what_is_left_without_it_is_python(protection: Protection) -> None:
    source = (ROOT / protection.file).read_text(encoding="utf-8")
    assert source.count(protection.code) == 1
    ast.parse(source.replace(protection.code, protection.without))


@pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda protection: protection.name)
def test_a_protection_has_tests(protection: Protection) -> None:
    path, _, words = protection.tests.partition(" -k ")
    names = [node.name for node in ast.parse((ROOT / Path(path)).read_text(encoding="utf-8")).body
             if isinstance(node, ast.FunctionDef)]  # fmt: skip
    parameters = words if words == "openvino-int8" else ""  # a parameter's name, not the test's
    assert parameters or any(words in name for name in names if name.startswith("test_"))
