"""What the tests on Windows share besides fixtures."""

import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

IS_WINE = sys.platform == "win32" and hasattr(ctypes.windll.ntdll, "wine_get_version")
TITLE = "Hoodcam CarRacing"
Play = Callable[..., "subprocess.Popen[str]"]
_T = TypeVar("_T")


def agent(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "agent", *arguments]


def wait_for(what: str, found: Callable[[], _T], seconds: float = 200.0) -> _T:
    """Return what ``found`` does as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.05)
    return result


def report_of(*arguments: str, code: int = 0, seconds: float = 300.0) -> dict[str, Any]:
    """Run a command with ``--json``; return what it printed."""
    done = subprocess.run(
        agent(*arguments, "--json"), text=True, encoding="utf-8", capture_output=True, timeout=seconds
    )
    assert done.returncode == code, f"{done.returncode}: {done.stderr}{done.stdout}"
    report: dict[str, Any] = json.loads(done.stdout)
    return report
