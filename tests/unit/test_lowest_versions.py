"""The lowest versions that pyproject.toml allows are no lower than those that were found to work."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS = [
    Requirement(line)
    for lines in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for line in lines
    if not line.startswith("hoodcam")
]


@pytest.mark.parametrize(
    ("name", "too_low"),
    [
        ("gymnasium", "1.2.3"),  # builds box2d-py from source, for which it needs swig
        ("keras", "3.9.2"),  # a network in bfloat16 has layers that cannot be exported: the first round is lost
        ("safetensors", "0.6.1"),  # the oldest that the checks of weights files were run with is 0.6.2
    ],
)
def test_a_version_that_does_not_work_is_not_allowed(name: str, too_low: str) -> None:
    (requirement,) = [each for each in REQUIREMENTS if each.name == name]
    assert too_low not in requirement.specifier


def test_every_requirement_has_a_lowest_version() -> None:
    assert [each.name for each in REQUIREMENTS if not any(part.operator == ">=" for part in each.specifier)] == []
