"""The gamepad on Windows, read back at the driver's own boundary: a stand-in for its DLL under unmodified vgamepad."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import agent, wait_for

pytestmark = pytest.mark.windows

STAND_IN = os.environ.get("VIGEM_STAND_IN", "")
REPORT = struct.Struct("<HBBhhhh")  # Xinput.h: XINPUT_GAMEPAD, 12 bytes
NEUTRAL = REPORT.pack(0, 0, 0, 0, 0, 0, 0)
A, BACK = 0x1000, 0x0020  # Xinput.h

needs_stand_in = pytest.mark.skipif(not STAND_IN, reason="needs the stand-in that run_under_wine.py makes")


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stand-in tells what it heard."""
    monkeypatch.setenv("PYTHONPATH", f"{STAND_IN};{os.environ['PYTHONPATH']}")
    monkeypatch.setenv("VIGEM_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("VIGEM_GONE", str(tmp_path / "gone"))
    return tmp_path / "log"


def heard(log: Path) -> list[str | bytes]:
    """Return what the driver heard: the bytes of a report, the word for all else."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [bytes.fromhex(line.split()[1]) if line.startswith("report") else line for line in lines]


def python(program: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


SWEEP = """
from agent.contract.controls import Controls
from agent.contract.profile import PadMap
from agent.controllers.gamepad import Gamepad

with Gamepad(PadMap()) as pad:
    for steering, throttle, brake in [(-1, 0, 0), (1, 0, 0), (0.5, 1, 0), (-0.5, 0, 1), (1.01, 0.5, 0.25), (0, 0, 0)]:
        pad.send(Controls(steering, throttle, brake))
    pad.hold("a")
    pad.send(Controls(0.25))
    pad.release("a")
    pad.hold("back")
    pad.send(Controls(0.25))
    pad.send(Controls(0.25))
"""


@needs_stand_in
def test_every_report_arrives_byte_by_byte_and_the_last_is_neutral(log: Path) -> None:
    _, errors = python(SWEEP).communicate(timeout=300)
    assert not errors, errors
    assert heard(log) == [
        "connect",
        "plug",
        NEUTRAL,
        REPORT.pack(0, 0, 0, -32767, 0, 0, 0),
        REPORT.pack(0, 0, 0, 32767, 0, 0, 0),
        REPORT.pack(0, 0, 255, 16384, 0, 0, 0),
        REPORT.pack(0, 255, 0, -16384, 0, 0, 0),
        REPORT.pack(0, 64, 128, 32767, 0, 0, 0),  # 1.01 is full lock, and not the other way
        NEUTRAL,
        REPORT.pack(A, 0, 0, 8192, 0, 0, 0),
        REPORT.pack(BACK, 0, 0, 8192, 0, 0, 0),  # and once: what has not changed is not sent again
        NEUTRAL,
        "unplug",
        "disconnect",
    ]


# The guard holds the pad; each way out is the argument's. "killed" leaves no time for anything here.
WAY_OUT = """
import functools, os, sys, time
import psutil
from agent.contract.controls import Controls
from agent.contract.profile import PadMap
from agent.controllers.gamepad import Gamepad
from agent.controllers.guard.client import GuardedController

if __name__ == "__main__":
    with GuardedController(functools.partial(Gamepad, PadMap())) as pad:
        pad.expiry_s = 0.2
        pad.send(Controls(1.0, 1.0))
        time.sleep(0.05)
        if sys.argv[1] == "error":
            raise ValueError("such as a bug")
        if sys.argv[1] == "killed":
            psutil.Process().kill()
        if sys.argv[1] == "silent":
            time.sleep(1.0)
"""


@needs_stand_in
def test_the_pad_is_neutral_and_unplugged_on_each_way_out(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = log.with_name("way_out.py")  # a file: the guard's process imports it
    program.write_text(WAY_OUT)
    logs, processes = {}, []
    for way in ("end", "error", "killed", "silent"):
        logs[way] = log.with_name(way)
        monkeypatch.setenv("VIGEM_LOG", str(logs[way]))
        processes.append(subprocess.Popen([sys.executable, str(program), way], stderr=subprocess.DEVNULL))
    for process in processes:
        process.wait(300)
    full = REPORT.pack(0, 0, 255, 32767, 0, 0, 0)
    for way, each in logs.items():
        wait_for(f"the end of {way}", lambda each=each: "disconnect" in heard(each))
        assert heard(each) == ["connect", "plug", NEUTRAL, full, NEUTRAL, "unplug", "disconnect"], way


@needs_stand_in
def test_a_missing_driver_is_told_with_what_to_do(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGEM_MISSING", "1")
    done = subprocess.run(agent("doctor", "--json"), capture_output=True, text=True, encoding="utf-8", timeout=300)
    findings = {each["name"]: each for each in json.loads(done.stdout)["findings"]}
    assert findings["gamepad"]["verdict"] == "failed"
    assert "VIGEM_ERROR_BUS_NOT_FOUND" in findings["gamepad"]["text"]
    assert "expected the ViGEmBus driver" in findings["gamepad"]["text"]


GONE = """
import sys, time
from pathlib import Path
from agent.contract.controls import Controls
from agent.contract.errors import ControllerError
from agent.contract.profile import PadMap
from agent.controllers.gamepad import Gamepad

with Gamepad(PadMap()) as pad:
    pad.send(Controls(1.0, 1.0))
    Path(sys.argv[1]).touch()
    try:
        pad.send(Controls(0.5, 1.0))
    except ControllerError as exc:
        print(exc)
try:
    Gamepad(PadMap()).__enter__()
except ControllerError as exc:
    print(exc)
"""


@needs_stand_in
def test_a_driver_that_goes_away_while_driving_ends_the_drive_with_one_line(log: Path) -> None:
    output, errors = python(GONE, log.with_name("gone")).communicate(timeout=300)
    assert not errors, errors
    gone, again = output.splitlines()
    assert "the gamepad takes no more controls (RuntimeError: Error: VIGEM_ERROR_TARGET_NOT_PLUGGED_IN)" in gone
    assert "expected the ViGEmBus driver" in again
    assert heard(log)[:4] == ["connect", "plug", NEUTRAL, REPORT.pack(0, 0, 255, 32767, 0, 0, 0)]
