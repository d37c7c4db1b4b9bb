"""Options that switch on the tests which need time or a running game; the whole suite on several processes."""

import os
import signal
import sys
from collections.abc import Generator
from typing import Any

import hypothesis
import pytest

# An example that takes long says something of the machine, not of the code.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

OPTIONS = {"thorough": "--run-thorough", "slow": "--run-slow", "game": "--run-game", "wine": "--run-wine"}


def pytest_configure() -> None:
    """Hear signals that whoever started us ignores (nohup, a shell's background): programs under test inherit that."""
    for name, handler in (("SIGHUP", signal.SIG_DFL), ("SIGINT", signal.default_int_handler)):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
            signal.signal(getattr(signal, name), handler)


MOST_PROCESSES = 4
"""More processes gain nothing: each imports TensorFlow, and the tests that take longest take a minute."""


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Share the ordinary suite out over the cores.

    Files that are named run in one process, and so do slow tests and games: they measure, and need the machine alone.
    """
    option = config.option
    is_whole = config.args_source == pytest.Config.ArgsSource.TESTPATHS and not (option.run_slow or option.run_game)
    is_told = hasattr(config, "workerinput") or getattr(option, "numprocesses", 0) is not None  # 0: no xdist
    if is_whole and not is_told and not option.usepdb and not option.collectonly:
        option.numprocesses = min(MOST_PROCESSES, os.cpu_count() or 1)
        option.tx = ["popen"] * option.numprocesses  # what xdist itself makes of the number, if it looks in time
        option.dist = "worksteal"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-thorough", action="store_true", help="also run tests that take more than two seconds")
    parser.addoption("--run-slow", action="store_true", help="also run tests that take a minute and more")
    parser.addoption("--run-game", action="store_true", help="also run tests that need a running game")
    parser.addoption("--run-wine", action="store_true", help="also run the tests on Windows inside of Wine")
    parser.addoption("--fail-on-skip", action="store_true", help="a test that lacks what it needs has failed")


@pytest.fixture
def eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Keras compute step by step: to trace a network takes several times as long as a few steps of a small one."""
    import keras

    compile_traced = keras.Model.compile

    def compile_eager(model: Any, *arguments: Any, **named: Any) -> None:
        compile_traced(model, *arguments, run_eagerly=True, **named)

    monkeypatch.setattr(keras.Model, "compile", compile_eager)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.config.getoption("--fail-on-skip"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {report.longrepr}"
    return report


SLOW_TO_IMPORT = ("tensorflow", "keras", "jax", "torch", "ray", "matplotlib")
"""What no test file may import at its top: every run would wait for it. Use ``tests.deferred`` or a fixture."""


def pytest_collection_finish() -> None:
    imported = [name for name in SLOW_TO_IMPORT if name in sys.modules]
    if imported:
        raise pytest.UsageError(
            f"collecting the tests imported {', '.join(imported)}: expected only a test or a fixture to import it. "
            "Name it by Deferred (tests/deferred.py) at the top of the file."
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    names_files = config.args_source == pytest.Config.ArgsSource.ARGS
    for item in items:
        for marker, option in OPTIONS.items():
            if marker == "thorough" and names_files:
                continue  # whoever names a file wants all of it
            # Not `in item.keywords`, which holds parameters too: a test of "slow" is not a slow test.
            if item.get_closest_marker(marker) and not config.getoption(option):
                item.add_marker(pytest.mark.skip(reason=f"marked {marker}: give {option}"))
