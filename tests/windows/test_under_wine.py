"""Runs the tests on Windows, and the unit tests that tell systems apart, inside of Wine's Windows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from run_under_wine import missing

pytestmark = pytest.mark.wine

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
# They need pandas, which is left out there.
WITH_PANDAS = ("test_pandas_opens_it", "test_foreign_parquet_is_refused_with_its_columns")
# Where systems differ: files, processes, the screen, keys and pads. All unit tests take far longer than the rest of CI.
UNIT = (
    *("child", "controller_behaviour", "controls", "durable", "episode", "finding", "further_axes"),
    *("gamepad", "gamepad_input", "guard", "hotkeys", "keyboard", "last_version", "pacing", "pad", "picture"),
    *("play", "preprocess", "process", "profile", "profile_files", "screen", "settings", "takeover", "weights"),
)


def run(*arguments: str, seconds: float) -> str:
    """Run pytest on Windows; return what it said."""
    if lack := missing():
        pytest.skip(lack)
    command = [
        sys.executable,
        HERE / "run_under_wine.py",
        "--timeout",
        str(seconds),
        "python",
        "-X",
        "utf8",
        "-m",
        "pytest",
    ]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "--tb=short", *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def test_what_is_promised_on_windows() -> None:
    said = run("tests/windows", "-m", "not slow", seconds=600)
    assert int(re.search(r"(\d+) passed", said)[1]) >= 15  # type: ignore[index]
    assert "skipped" not in said


def test_the_unit_tests_that_tell_systems_apart() -> None:
    files = [f"tests/unit/test_{name}.py" for name in UNIT]
    left_out = [f"--deselect=tests/unit/test_episode.py::{name}" for name in WITH_PANDAS]
    said = run("-q", *left_out, *(each for each in files if (REPOSITORY / each).exists()), seconds=600)
    assert int(re.search(r"(\d+) passed", said)[1]) > 300  # type: ignore[index]
