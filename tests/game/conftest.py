"""A desktop without a screen, and a gamepad without a kernel that has one; see README, "Tests"."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import Environment, wait_for

from agent.controllers.gamepad import UINPUT

HERE = Path(__file__).parent
NEEDED = {"Xvfb": "xvfb", "openbox": "openbox", "xdotool": "xdotool"}
PAD_LIBRARY = "libumockdev-preload.so.0"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the claims about the gamepad on this kernel, or where it has no uinput, all of them in a virtual machine."""
    other = "virtual_machine" if os.access(UINPUT, os.W_OK) else "uinput"
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker(other)])
    items[:] = [item for item in items if not item.get_closest_marker(other)]


@pytest.fixture(scope="session")
def display(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """The environment of an X server of 1280 x 1024 px with a window manager."""
    missing = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    if missing:
        pytest.skip(f"needs `apt install {' '.join(missing)}`")
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x1024x24", "-nolisten", "tcp"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    with os.fdopen(reading) as answer:
        number = answer.readline().strip()
    environment = {
        **{key: value for key, value in os.environ.items() if key not in ("WAYLAND_DISPLAY", "SDL_VIDEODRIVER")},
        "DISPLAY": f":{number}",
        "XDG_RUNTIME_DIR": str(tmp_path_factory.mktemp("runtime")),
    }
    manager = subprocess.Popen(["openbox"], env=environment, stderr=subprocess.DEVNULL)
    wait_for("window manager", lambda: "openbox" in _manager_name(environment).lower())
    yield environment
    for process in (manager, server):
        process.terminate()
        process.wait()


def _manager_name(environment: Environment) -> str:
    script = (
        "from Xlib import display, X; d = display.Display(); r = d.screen().root\n"
        "w = r.get_full_property(d.intern_atom('_NET_SUPPORTING_WM_CHECK'), X.AnyPropertyType)\n"
        "n = w and d.create_resource_object('window', w.value[0]).get_full_property("
        "d.intern_atom('_NET_WM_NAME'), X.AnyPropertyType)\n"
        "print(n and n.value)"
    )
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True).stdout


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
