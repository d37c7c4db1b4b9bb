"""Marked tests run only when asked for, and nothing else is left out with them."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

MODULE = """
import pytest

@pytest.mark.parametrize("speed", ["slow", "game"])
def test_parameter(speed): pass

@pytest.mark.slow
def test_slow(): pass

@pytest.mark.game
def test_game(): pass
"""


@pytest.mark.parametrize(
    ("options", "passed", "skipped"), [((), 2, 2), (("--run-slow",), 3, 1), (("--run-slow", "--run-game"), 4, 0)]
)
def test_marked_tests_wait_for_their_option(
    options: tuple[str, ...], passed: int, skipped: int, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest((Path(__file__).parents[1] / "conftest.py").read_text())
    pytester.makepyfile(MODULE)
    pytester.makeini("[pytest]\nmarkers =\n    slow: needs time\n    game: needs a game\n")
    pytester.runpytest_inprocess(*options).assert_outcomes(passed=passed, skipped=skipped)


def test_a_skip_can_count_as_a_failure(pytester: pytest.Pytester) -> None:
    pytester.makeconftest((Path(__file__).parents[1] / "conftest.py").read_text())
    pytester.makepyfile("import pytest\ndef test_it(): pytest.skip('no display')\ndef test_other(): pass")
    pytester.runpytest_inprocess("--fail-on-skip").assert_outcomes(passed=1, failed=1)
    pytester.runpytest_inprocess().assert_outcomes(passed=1, skipped=1)
