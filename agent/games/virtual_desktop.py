"""A desktop without a screen: an X server in memory and a window manager, for games on servers and in tests."""

import os
import secrets
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from agent.contract.errors import CaptureError
from agent.system.supervised import supervised

NEEDED = {"Xvfb": "xvfb", "openbox": "openbox"}
"""Programs, and the Debian packages that have them."""

_ACCESS = ("DISPLAY", "XAUTHORITY")  # what a program needs to appear there
_COOKIE = b"MIT-MAGIC-COOKIE-1"
_FAMILY_LOCAL = 256  # of Xauth.h
_START_S, _END_S = 30.0, 5.0
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
    """Run a desktop of 24-bit colour that nobody sees, and no other user of the machine can look at or press keys on.

    It ends with the block, and with this process, even if that is killed.

    Args:
        width_px: Its width.
        height_px: Its height.

    Yields:
        The environment for programs that are to appear on it: this process's own, with its ``DISPLAY`` and the file
        of the key to it. :func:`joined` makes this process one of them.

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
        key = Path(runtime) / "key"
        _write_key(key)
        reading, writing = os.pipe()
        with os.fdopen(reading) as answer:
            size = f"{width_px}x{height_px}x24"
            command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", size, "-nolisten", "tcp", "-auth", str(key)]
            try:
                stack.enter_context(supervised(command, pass_fds=[writing], patience_s=_END_S))
            finally:
                os.close(writing)
            number = answer.readline().strip()
        if not number:
            raise CaptureError("Xvfb did not start, expected a display. Run `Xvfb :99` to see why.")
        foreign = ("WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
        environment = {
            **{name: value for name, value in os.environ.items() if name not in foreign},
            "DISPLAY": f":{number}",
            "XAUTHORITY": str(key),
            "XDG_RUNTIME_DIR": runtime,
        }
        stack.enter_context(supervised(["openbox"], environment, patience_s=_END_S))
        if not _within(_START_S, lambda: "openbox" in _manager_name(environment).lower()):
            raise CaptureError(
                f"openbox did not start within {_START_S:.0f} s, expected a second. Close other programs."
            )
        yield environment


@contextmanager
def joined(environment: dict[str, str]) -> Iterator[None]:
    """Make this process one of the desktop's programs.

    Args:
        environment: What :func:`virtual_desktop` gave.
    """
    before = {name: os.environ.get(name) for name in _ACCESS}
    os.environ.update({name: environment[name] for name in _ACCESS if name in environment})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _write_key(path: Path) -> None:
    """Write a new key to any display of this machine, as Xau's AuFileName(3) has it; for this user alone.

    An entry is a family and four texts: this machine's name, the display's number (none: any), what kind of key, it.
    """
    texts = (socket.gethostname().encode(), b"", _COOKIE, secrets.token_bytes(16))
    entry = struct.pack(">H", _FAMILY_LOCAL) + b"".join(struct.pack(">H", len(text)) + text for text in texts)
    path.touch(mode=0o600)
    path.write_bytes(entry)


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
