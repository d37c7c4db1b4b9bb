"""Ctrl-C before anything is open, and other requests to end that act like Ctrl-C."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from agent.system.console import before_the_console_ends

_INTERRUPTED = 130


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process at once, with a short message and exit code 130; for imports.

    An exception in the middle of a library's import prints a traceback or is taken for another error; during
    TensorFlow's import, it aborts the process. A program with its own handler, such as a notebook, keeps it.
    """
    ours = threading.current_thread() is threading.main_thread()  # only the main thread may set a handler
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: _end())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def end_like_ctrl_c() -> None:
    """Treat requests to end (a closed terminal, a stopped service) like Ctrl-C, so that recordings are finished."""
    for name in ("SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_DFL:
            signal.signal(getattr(signal, name), signal.default_int_handler)
    # Raised, not _thread.interrupt_main: on Windows, that does not wake a main thread that sleeps.
    before_the_console_ends(lambda: signal.raise_signal(signal.SIGINT))


def _end() -> None:
    sys.stdout.flush()
    os.write(2, b"interrupted\n")
    os._exit(_INTERRUPTED)
