"""A drive opens no port: neither the agent nor the processes it starts."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.thorough

REPOSITORY = Path(__file__).parents[2]
START_S = 300.0
"""How long the start may take: 30 s were too few at a load of 36. The end of the drive itself is noticed at once."""


def test_no_process_of_a_drive_listens(tmp_path: Path) -> None:
    seen = tmp_path / "seen.png"
    outputs = ("--show-input", str(seen), "--record", str(tmp_path / "episodes"), "--health", str(tmp_path / "health"))
    command = [sys.executable, "-m", "agent", "drive", "--engine", "constant", "--seconds", "30", *outputs]
    drive = psutil.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_S
        while not seen.exists():  # written at the first tick
            assert time.monotonic() < deadline
            assert drive.poll() is None
            time.sleep(0.02)
        processes = [drive, *drive.children(recursive=True)]
        assert len(processes) >= 2, "the agent and the game"
        assert [process.net_connections(kind="inet") for process in processes] == [[]] * len(processes)
    finally:
        drive.terminate()
        drive.wait(120)
