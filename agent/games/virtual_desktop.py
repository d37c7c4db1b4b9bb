"""A desktop without a screen: an X server in memory and a window manager, for games on servers and in tests."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from agent.contract.errors import CaptureError

NEEDED = {"Xvfb": "xvfb", "openbox": "openbox"}
"""Programs, and the Debian packages that have them."""

_START_S = 30.0
_MANAGER = """
from Xlib import X, display
screen = display.Display()
root = screen.screen().root
window = root.get_full_property(screen.intern_atom("_NET_SUPPORTING_WM_CHECK"), X.AnyPropertyType)
name = window and screen.create_resource_object("window", window.value[0]).get_full_property(
    screen.intern_atom("_NET_WM_NAME"), X.AnyPropertyType
)
print(name and name.value)
"""


@contextmanager
def virtual_desktop(width_px: int = 1280, height_px: int = 1024) -> Iterator[dict[str, str]]:
    """Run a desktop of 24-bit colour that nobody sees.

    Args:
        width_px: Its width.
        height_px: Its height.

    Yields:
        The environment for programs that are to appear on it: this process's own, with its ``DISPLAY``.

    Raises:
        CaptureError: If a program it needs is missing, or it does not start.
    """
    missing = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    if missing:
        raise CaptureError(
            f"a desktop without a screen needs {' and '.join(missing)}, expected them installed: "
            f"`sudo apt install {' '.join(missing)}` (Debian, Ubuntu)."
        )
    with ExitStack() as stack:
        runtime = stack.enter_context(tempfile.TemporaryDirectory(prefix="desktop-", ignore_cleanup_errors=True))
        reading, writing = os.pipe()
        with os.fdopen(reading) as answer:
            size = f"{width_px}x{height_px}x24"
            server = subprocess.Popen(
                ["Xvfb", "-displayfd", str(writing), "-screen", "0", size, "-nolisten", "tcp"],
                pass_fds=[writing],
                stderr=subprocess.DEVNULL,
            )
            stack.callback(_end, server)
            os.close(writing)
            number = answer.readline().strip()
        if not number:
            raise CaptureError("Xvfb did not start, expected a display. Run `Xvfb :99` to see why.")
        foreign = ("WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
        environment = {
            **{name: value for name, value in os.environ.items() if name not in foreign},
            "DISPLAY": f":{number}",
            "XDG_RUNTIME_DIR": runtime,
        }
        manager = subprocess.Popen(["openbox"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(_end, manager)
        if not _within(_START_S, lambda: "openbox" in _manager_name(environment).lower()):
            raise CaptureError(
                f"openbox did not start within {_START_S:.0f} s, expected a second. Close other programs."
            )
        yield environment


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait()


def _within(seconds: float, happened: Callable[[], bool]) -> bool:
    give_up_s = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > give_up_s:
            return False
        time.sleep(0.05)
    return True


def _manager_name(environment: dict[str, str]) -> str:
    return subprocess.run(
        [sys.executable, "-c", _MANAGER], env=environment, capture_output=True, text=True, check=False
    ).stdout
