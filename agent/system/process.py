"""Facts about processes from the operating system, the cores of ours, and children that Ctrl-C does not reach."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from agent.system.console import ignore_ctrl_c

_START_FIELD = 22  # of /proc/self/stat, counted from 1 (proc(5)): clock ticks from the machine's boot to our start


def age_s() -> float | None:
    """Return the seconds since this process was started, to 10 ms; None if unknown (Linux and Windows report it)."""
    if sys.platform == "win32":
        import psutil

        return max(0.0, time.time() - psutil.Process().create_time())  # of a clock that may be set, but seldom just now
    if sys.platform != "linux":
        return None
    # The second field is the program's name in parentheses and may hold anything; the third follows the last of them.
    fields = Path("/proc/self/stat").read_text(errors="replace").rpartition(")")[2].split()
    started_s = int(fields[_START_FIELD - 3]) / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started_s)


def state_of(pid: int) -> str | None:
    """Return what a process does: Linux' letter, such as R (runs, or waits for a processor); None if unknown."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return None


def peak_memory_mb(pid: int | None = None) -> float | None:
    """Return the largest resident memory of a process so far in MB; None if the system does not report it.

    Linux and Windows report it for every process, macOS only for this one.

    Args:
        pid: A living process; this one if None.
    """
    if sys.platform == "linux":
        # Not getrusage's ru_maxrss: a process inherits that figure from the one that launched it.
        status = Path(f"/proc/{'self' if pid is None else pid}/status").read_text()
        peaks = [int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith("VmHWM:")]
        return peaks[0] if peaks else None
    elif sys.platform == "win32":
        import psutil

        return float(psutil.Process(pid).memory_info().peak_wset) / 1e6
    elif sys.platform == "darwin" and pid is None:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    else:
        return None


def pin_to(cores: Sequence[int]) -> str | None:
    """Keep this process, and those that it starts from now on, on some processor cores.

    Returns:
        Why that is not possible; None if it was done.
    """
    import psutil

    process = psutil.Process()
    last = (os.cpu_count() or 1) - 1
    try:
        if max(cores) > last:  # the system silently ignores cores that do not exist
            raise ValueError("there are not that many")
        process.cpu_affinity(list(cores))
    except AttributeError:
        return f"a process cannot be kept on some cores on {sys.platform}, expected Linux or Windows"
    except (psutil.Error, OSError, ValueError) as exc:
        return f"cores {','.join(map(str, cores))} cannot be used ({exc}), expected some of 0 to {last}"
    return None


@contextmanager
def no_interrupts() -> Iterator[None]:
    """Start a process that Ctrl-C does not reach even while it is still importing: it inherits this."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may change it
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    ignore_ctrl_c(True)  # Windows' programs do not inherit the line above
    try:
        yield
    finally:
        ignore_ctrl_c(False)
        signal.signal(signal.SIGINT, previous)
