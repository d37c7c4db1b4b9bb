"""Programs that are started here end with the process that started them, with all that they started in turn."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from agent.system.supervised import supervised

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="process groups are Unix'")

SLEEPS = "sleep 300 & echo $! > {path}; wait"
ROOT = Path(__file__).parents[2]


def read_pid(path: Path) -> int:
    give_up_s = time.monotonic() + 20
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < give_up_s, "the program did not start"
        time.sleep(0.01)
    return int(path.read_text())


def is_gone(pid: int, seconds: float = 10.0) -> bool:
    give_up_s = time.monotonic() + seconds
    while time.monotonic() < give_up_s:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize(("command", "code"), [("exit 7", 7), ("kill -15 $$", 143), ("exit 0", 0)])
def test_its_exit_code_is_the_programs(command: str, code: int) -> None:
    with supervised(["sh", "-c", command]) as process:
        assert process.wait(20) == code


def test_leaving_the_block_ends_all_that_it_started(tmp_path: Path) -> None:
    with supervised(["sh", "-c", SLEEPS.format(path=tmp_path / "pid")]) as process:
        pid = read_pid(tmp_path / "pid")
        assert process.poll() is None
    assert is_gone(pid)


def test_what_a_program_leaves_behind_is_ended_too(tmp_path: Path) -> None:
    with supervised(["sh", "-c", f"sleep 300 & echo $! > {tmp_path / 'pid'}"]) as process:
        assert process.wait(20) == 0
        pid = read_pid(tmp_path / "pid")
        assert not is_gone(pid, 0.05)
    assert is_gone(pid)


@pytest.mark.parametrize("patience_s", [0.0, 5.0])
def test_all_of_it_ends_if_the_starter_is_killed(tmp_path: Path, patience_s: float) -> None:
    command = ["sh", "-c", SLEEPS.format(path=tmp_path / "pid")]
    code = (
        "import time\nfrom agent.system.supervised import supervised\n"
        f"with supervised({command!r}, patience_s={patience_s}): time.sleep(300)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    pid = read_pid(tmp_path / "pid")
    supervisor = psutil.Process(starter.pid).children()[0]
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    assert is_gone(pid)
    assert is_gone(supervisor.pid)


@pytest.mark.parametrize("patience_s", [0.0, 20.0])
def test_a_program_is_asked_to_end_if_there_is_patience(tmp_path: Path, patience_s: float) -> None:
    ready, asked = tmp_path / "ready", tmp_path / "asked"
    script = f"trap 'echo 1 > {asked}; exit 0' TERM; echo 1 > {ready}; while :; do sleep 0.05; done"
    began_s = time.monotonic()
    with supervised(["sh", "-c", script], patience_s=patience_s):
        read_pid(ready)
    assert asked.exists() == bool(patience_s)
    assert time.monotonic() - began_s < 15, "it does not wait for longer than the program takes"


def test_a_program_that_does_not_obey_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    with supervised(["sh", "-c", f"trap '' TERM; echo $$ > {ready}; sleep 300"], patience_s=0.2):
        pid = read_pid(ready)
    assert is_gone(pid)
