"""What the operating system knows about processes, and how to start one that Ctrl-C does not reach."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_START_FIELD = 22  # of /proc/self/stat, counted from 1 (proc(5)): clock ticks from the machine's boot to our start


def age_s() -> float | None:
    """Return the seconds since this process was started, to 10 ms; None where the system does not tell (not Linux)."""
    if sys.platform != "linux":
        return None
    # The second field is the program's name in parentheses and may hold anything; the third follows the last of them.
    fields = Path("/proc/self/stat").read_text(errors="replace").rpartition(")")[2].split()
    started_s = int(fields[_START_FIELD - 3]) / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started_s)


def peak_memory_mb(pid: int | None = None) -> float | None:
    """Return the largest resident memory of a process so far in MB; None where the system does not tell.

    Linux tells of every process, macOS of this one, Windows of none.

    Args:
        pid: A living process; this one if None.
    """
    if sys.platform == "linux":
        # Not getrusage's ru_maxrss: a process inherits that figure from the one that launched it.
        status = Path(f"/proc/{'self' if pid is None else pid}/status").read_text()
        peaks = [int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith("VmHWM:")]
        return peaks[0] if peaks else None
    elif sys.platform == "darwin" and pid is None:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    else:
        return None


@contextmanager
def no_interrupts() -> Iterator[None]:
    """Start a process that Ctrl-C does not reach even while it is still importing: it inherits this."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may change it
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
