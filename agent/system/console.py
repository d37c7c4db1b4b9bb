"""A Windows console: what it tells its programs besides Ctrl-C, and how a child is kept from hearing of it."""

import ctypes
import sys
import time
from collections.abc import Callable
from typing import Any

_ENDS = (2, 5, 6)  # wincon.h: CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT
_PATIENCE_S = 60.0  # longer than the system's own, which is 5 s

_handlers: list[Any] = []  # the system calls them: they must not be collected


def before_the_console_ends(act: Callable[[], object] = lambda: None) -> None:
    """Have a function called when the console's window is closed, or the user logs off; other systems send signals.

    Without this, the system ends the process at once. With it, the process has about 5 s to end by itself.

    Args:
        act: Called in a thread of the system's.
    """
    if sys.platform == "win32":

        def handle(event: int) -> bool:
            if event not in _ENDS:
                return False  # Ctrl-C and Ctrl-Break are signals, and Python's
            act()
            time.sleep(_PATIENCE_S)  # the process is ended as soon as this returns
            return True

        handler = ctypes.WINFUNCTYPE(ctypes.c_int, ctypes.c_ulong)(handle)
        if ctypes.windll.kernel32.SetConsoleCtrlHandler(handler, 1):
            _handlers.append(handler)


def ignore_ctrl_c(ignored: bool) -> None:
    """Have this process, and those that it starts meanwhile, not hear Ctrl-C; only on Windows."""
    if sys.platform == "win32":
        ctypes.windll.kernel32.SetConsoleCtrlHandler(None, int(ignored))
