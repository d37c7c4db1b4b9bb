"""What the tests on Windows share besides fixtures."""

import ctypes
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from tests.waiting import agent

IS_WINE = sys.platform == "win32" and hasattr(ctypes.windll.ntdll, "wine_get_version")
TITLE = "Hoodcam CarRacing"
Play = Callable[..., "subprocess.Popen[str]"]


def report_of(*arguments: str, code: int = 0, seconds: float = 300.0) -> dict[str, Any]:
    """Run a command with ``--json``; return what it printed."""
    done = subprocess.run(
        agent(*arguments, "--json"), text=True, encoding="utf-8", capture_output=True, timeout=seconds
    )
    assert done.returncode == code, f"{done.returncode}: {done.stderr}{done.stdout}"
    report: dict[str, Any] = json.loads(done.stdout)
    return report
