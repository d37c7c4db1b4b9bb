"""What a console tells a drive: Ctrl-C, Ctrl-Break, and that its window is closed."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from on_windows import IS_WINE

from agent.contract.episodes.reading import Episode
from tests.waiting import agent, wait_for

pytestmark = pytest.mark.windows

CREATE_NEW_CONSOLE, CREATE_NEW_PROCESS_GROUP = 0x10, 0x200  # winbase.h
CTRL_C, CTRL_BREAK = 0, 1  # wincon.h

# A program of its own: joining a console means leaving one's own. SetConsoleCtrlHandler: it does not hear itself.
PRESS = """
import ctypes, sys
kernel32 = ctypes.windll.kernel32
kernel32.FreeConsole()
assert kernel32.AttachConsole(int(sys.argv[1])), "no console"
kernel32.SetConsoleCtrlHandler(None, 1)
{}
"""
EVENT = "assert kernel32.GenerateConsoleCtrlEvent(int(sys.argv[2]), int(sys.argv[3]))"
CLOSE = "assert ctypes.windll.user32.PostMessageW(ctypes.c_void_p(kernel32.GetConsoleWindow()), 0x10, 0, 0)"  # WM_CLOSE


@pytest.fixture
def drive(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator["subprocess.Popen[bytes]"]:
    """A drive in a console of its own, well under way."""
    output = tmp_path / "output"
    with output.open("w") as file, (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen(
            agent(
                *("drive", "--engine", "constant", "--rate", "8", "--seconds", "60", "--json"),
                *("--record", str(tmp_path / "episodes")),
            ),
            stdout=file,
            stderr=errors,
            creationflags=CREATE_NEW_CONSOLE | getattr(request, "param", 0),
        )
        wait_for("the drive", lambda: process.poll() is not None or any((tmp_path / "episodes").glob("*")))
        assert process.poll() is None, (tmp_path / "errors").read_text()
        yield process
        process.kill()
        process.wait()


def press(process: "subprocess.Popen[bytes]", act: str, *arguments: int) -> None:
    command = [sys.executable, "-c", PRESS.format(act), str(process.pid), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


# Each event, with the flags of a process that hears it: a new group does not hear Ctrl-C. Wine has only Ctrl-C.
EVENTS = [(0, CTRL_C), (CREATE_NEW_PROCESS_GROUP, CTRL_BREAK)][: 1 if IS_WINE else 2]


@pytest.mark.parametrize(("drive", "event"), EVENTS, indirect=["drive"])
def test_ctrl_c_and_ctrl_break_end_a_drive_in_order(
    drive: "subprocess.Popen[bytes]", event: int, tmp_path: Path
) -> None:
    press(drive, EVENT, event, drive.pid if event == CTRL_BREAK else 0)
    assert drive.wait(60) == 130, (tmp_path / "errors").read_text()
    is_in_order(tmp_path)


if not IS_WINE:  # Wine ends the programs of a closed console without a word

    def test_a_console_that_is_closed_ends_a_drive_in_order(drive: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
        press(drive, CLOSE)
        drive.wait(60)
        is_in_order(tmp_path)


def is_in_order(folder: Path) -> None:
    assert json.loads((folder / "output").read_text())["interrupted"] is True
    (episode,) = (folder / "episodes").glob("*.parquet")
    assert len(Episode.open(episode)) > 0


HEARD = """
import os, signal, threading, time
from agent.system import console
from agent.system.interrupts import end_like_ctrl_c

end_like_ctrl_c()
threading.Timer(0.5, {act}, [2]).start()  # in another thread, as the system calls it
began = time.monotonic()
try:
    {wait}
except KeyboardInterrupt:
    print("in order", time.monotonic() - began < 5, flush=True)
os._exit(0)  # the handler waits for the system, which is not there
"""
WAITS = ("time.sleep(20)", "[time.sleep(0.05) for _ in range(400)]")  # Ctrl-Break ends no sleep, as Ctrl-C does
ACTS = ("console._handlers[0]", "lambda _: signal.raise_signal(signal.SIGBREAK)")


@pytest.mark.parametrize(("act", "wait"), [*zip(ACTS, WAITS, strict=True)])
def test_what_the_system_says_of_its_end_is_taken_for_ctrl_c(act: str, wait: str) -> None:
    program = HEARD.format(act=act, wait=wait)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=3000)
    assert done.stdout == "in order True\n", done.stderr
