"""Ctrl-C while nothing is open yet, and what else ends a program as it does."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_INTERRUPTED = 130


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Have Ctrl-C end the process on the spot, with a word and exit code 130; for imports.

    An exception in the middle of a library's import shows where that was, may be taken for another error, and aborts
    the process where the import is TensorFlow's. Whoever has a handler of their own, such as a notebook, keeps it.
    """
    ours = threading.current_thread() is threading.main_thread()  # no other thread may set a handler
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: _end())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def end_like_ctrl_c() -> None:
    """Let requests to end (a closed terminal, the end of a service) finish what Ctrl-C finishes: recordings, films."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_DFL:
            signal.signal(getattr(signal, name), signal.default_int_handler)


def _end() -> None:
    sys.stdout.flush()
    os.write(2, b"interrupted\n")
    os._exit(_INTERRUPTED)
