"""A desktop without a screen, and a gamepad without a kernel that has one; see README, "Tests"."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from x11_client import Client

from agent.contract.errors import CaptureError
from agent.controllers.gamepad import UINPUT
from agent.games.virtual_desktop import virtual_desktop
from tests.waiting import Environment

HERE = Path(__file__).parent
PAD_LIBRARY = "libumockdev-preload.so.0"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the claims about the gamepad on this kernel, or where it has no uinput, all of them in a virtual machine."""
    other = "virtual_machine" if os.access(UINPUT, os.W_OK) else "uinput"
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker(other)])
    items[:] = [item for item in items if not item.get_closest_marker(other)]


@pytest.fixture(scope="session")
def display() -> Iterator[Environment]:
    """The environment of an X server of 1280 x 1024 px with a window manager."""
    if shutil.which("xdotool") is None:
        pytest.skip("needs `apt install xdotool`")
    with ExitStack() as stack:
        try:
            environment = stack.enter_context(virtual_desktop())
        except CaptureError as exc:
            pytest.skip(str(exc))
        yield environment


@pytest.fixture
def emulated_pad(display: Environment, tmp_path: Path) -> Iterator[Environment]:
    """The display's environment with a writable /dev/uinput; PAD_LOG names the file of what happens to it."""
    python = "/usr/bin/python3"
    check = subprocess.run(
        [python, "-c", "import gi; gi.require_version('UMockdev', '1.0')"], capture_output=True, check=False
    )
    if check.returncode:
        pytest.skip("needs `apt install umockdev gir1.2-umockdev-1.0 python3-gi`")
    environment = {**display, "LD_PRELOAD": PAD_LIBRARY}
    emulator = subprocess.Popen(
        [python, str(HERE / "uinput_emulator.py"), str(tmp_path / "pad.jsonl")],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert emulator.stdout is not None
    folder = emulator.stdout.readline().strip()
    assert folder, "the emulator did not start"
    yield {**environment, "UMOCKDEV_DIR": folder, "PAD_LOG": str(tmp_path / "pad.jsonl")}
    assert emulator.stdin is not None
    emulator.stdin.close()
    emulator.wait(10)
    emulator.stdout.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run an X server without a window manager; return its display."""
    if shutil.which("Xvfb") is None:
        pytest.skip("needs Xvfb (`apt install xvfb`)")
    reading, writing = os.pipe()
    process = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "640x480x24"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    with os.fdopen(reading) as answer:
        display = f":{answer.readline().strip()}"
    monkeypatch.setenv("DISPLAY", display)
    yield display
    process.terminate()
    process.wait()


@pytest.fixture
def client(server: str) -> Iterator[Callable[[], Client]]:
    """Make programs of the server."""
    clients: list[Client] = []

    def connect() -> Client:
        clients.append(Client(server))
        return clients[-1]

    yield connect
    for each in clients:
        each.display.close()
