"""Options that switch on the tests which need time or a running game."""

import signal
from collections.abc import Generator

import hypothesis
import pytest

# An example that takes long says something of the machine, not of the code.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

OPTIONS = {"slow": "--run-slow", "game": "--run-game", "wine": "--run-wine"}


def pytest_configure() -> None:
    """Hear signals that whoever started us ignores (nohup, a shell's background): programs under test inherit that."""
    for name, handler in (("SIGHUP", signal.SIG_DFL), ("SIGINT", signal.default_int_handler)):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
            signal.signal(getattr(signal, name), handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="also run tests that take more than a few seconds")
    parser.addoption("--run-game", action="store_true", help="also run tests that need a running game")
    parser.addoption("--run-wine", action="store_true", help="also run the tests on Windows inside of Wine")
    parser.addoption("--fail-on-skip", action="store_true", help="a test that lacks what it needs has failed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.config.getoption("--fail-on-skip"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {report.longrepr}"
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for marker, option in OPTIONS.items():
            # Not `in item.keywords`, which holds parameters too: a test of "slow" is not a slow test.
            if item.get_closest_marker(marker) and not config.getoption(option):
                item.add_marker(pytest.mark.skip(reason=f"marked {marker}: give {option}"))
