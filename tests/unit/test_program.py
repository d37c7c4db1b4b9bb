"""Games that are programs of their own, started and ended; sh stands for one."""

import os
import sys
from pathlib import Path

import psutil
import pytest

from agent.contract.errors import GameError
from agent.games.program import find_program
from agent.system.supervised import supervised

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX'")


def test_a_game_ends_with_all_that_it_started() -> None:
    with supervised(["sh", "-c", "sleep 60 & sleep 60 & wait"], os.environ) as process:
        while len(children := psutil.Process(process.pid).children(recursive=True)) < 3:  # sh, and what it starts
            assert process.poll() is None
    assert process.returncode is not None
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]


def test_a_game_that_has_ended_by_itself_is_left_in_peace() -> None:
    with supervised(["true"], os.environ) as process:
        process.wait()
    assert process.returncode == 0


def test_a_game_sees_the_environment_it_is_given(tmp_path: Path) -> None:
    with supervised(["sh", "-c", f'echo "$SEEN" > {tmp_path}/seen'], {**os.environ, "SEEN": "here"}) as process:
        process.wait()
    assert (tmp_path / "seen").read_text() == "here\n"


def test_a_game_that_is_not_installed_is_named_with_what_to_do() -> None:
    with pytest.raises(GameError, match=r"No Such Game is not installed, expected its program `nosuchgame`\. Buy it"):
        find_program("nosuchgame", "No Such Game", "Buy it.")
