"""A child process: it answers, ends when told, and is killed when it does not."""

import contextlib
import time
from typing import Any

import pytest

from agent.system.child import start_child


def answer(link: Any, word: str) -> None:
    link.send(word)
    with contextlib.suppress(EOFError):
        link.recv()


def hang(link: Any) -> None:
    link.send("hangs")
    time.sleep(1000)


def die(link: Any) -> None:
    raise SystemExit(7)


def test_a_child_answers_and_ends_when_its_pipe_is_closed() -> None:
    child = start_child(answer, ("hello",), "child")
    assert child.link.recv() == "hello"
    child.end(patience_s=30.0)
    assert child.process.exitcode == 0


def test_a_child_that_hangs_is_killed() -> None:
    child = start_child(hang, (), "child")
    assert child.link.recv() == "hangs"
    child.end()
    assert child.process.exitcode not in (None, 0)


def test_a_child_that_dies_is_noticed_at_the_pipe() -> None:
    child = start_child(die, (), "child")
    with pytest.raises((EOFError, OSError)):
        child.link.recv()
    child.end(patience_s=30.0)
    assert child.process.exitcode == 7
