"""Every protection that tests/protections.py takes away is still there, once, and still has tests."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from protections import PROTECTIONS, ROOT, Protection, apply


@pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda protection: protection.name)
def test_a_protection_is_there_once_and_what_is_left_without_it_is_python(protection: Protection) -> None:
    path, without = apply(protection, ROOT)
    assert ast.dump(ast.parse(without)) != ast.dump(ast.parse(path.read_text(encoding="utf-8")))


def test_what_is_left_without_a_protection_knows_every_name_in_it(tmp_path: Path) -> None:
    """A name that the file does not know is an error of another kind: such an entry once hung, and proved nothing."""
    for number, protection in enumerate(PROTECTIONS):
        (tmp_path / f"{number}.py").write_text(apply(protection, ROOT)[1], encoding="utf-8")
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda protection: protection.name)
def test_a_protection_has_tests(protection: Protection) -> None:
    path, _, words = protection.tests.partition(" -k ")
    names = [node.name for node in ast.parse((ROOT / Path(path)).read_text(encoding="utf-8")).body
             if isinstance(node, ast.FunctionDef)]  # fmt: skip
    parameters = words if words == "openvino-int8" else ""  # a parameter's name, not the test's
    assert parameters or any(words in name for name in names if name.startswith("test_"))


GATE = """LIMIT_S: float = 0.2

class Gate:
    def pass_on(self, made_s):
        if (
            now_s() < made_s
        ):
            self.sent = now_s()
        # ö: bytes are no characters
        return None
"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    folder = tmp_path / "agent" / "rooms"
    folder.mkdir(parents=True)
    (folder / "gate.py").write_text(GATE, encoding="utf-8")
    return tmp_path


def test_a_protection_is_found_in_another_file_laid_out_anew_and_under_a_name_that_is_no_longer_private(
    house: Path,
) -> None:
    moved = Protection("", "_Gate._pass_on", "if (_now_s() < made_s):", "later_s = _now_s()\nif True:", "")
    path, without = apply(moved, house)
    assert path == house / "agent" / "rooms" / "gate.py"
    assert without == GATE.replace(
        "        if (\n            now_s() < made_s\n        ):", "        later_s = now_s()\n        if True:"
    )
    assert apply(Protection("", "Gate.pass_on", "None", "1", ""), house)[1] == GATE.replace("None", "1")
    assert apply(Protection("", "_LIMIT_S", "0.2", "20", ""), house)[1] == GATE.replace("0.2", "20")


@pytest.mark.parametrize(
    ("place", "code", "times"),
    [
        ("Gate.pass_on", "now_s()", 2),
        ("Gate.pass_on", "now_s() > made_s", 0),
        ("Gate.pass_on", "ow_s() <", 0),  # a part of a name is another name
        ("Gate.stop", "now_s() < made_s", 0),
        ("pass_on", "now_s() < made_s", 0),
    ],
)
def test_a_protection_that_does_not_apply_is_told(house: Path, place: str, code: str, times: int) -> None:
    with pytest.raises(LookupError, match=f"is {times} times in {place}"):
        apply(Protection("the gate", place, code, "True", ""), house)
