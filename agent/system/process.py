"""Facts about processes from the operating system, the priority of ours, and children that Ctrl-C does not reach."""

import ctypes
import os
import platform
import signal
import struct
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_SCHED_CALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}  # sched_setattr, sched_getattr
_SCHED_ATTR = struct.Struct("=IIQiIQQQ")
_SLICE_NS = 100_000  # the smallest slice

_NICE = -10  # half way to the highest priority on Unix
_START_FIELD = 22  # of /proc/self/stat, counted from 1 (proc(5)): clock ticks from the machine's boot to our start


def age_s() -> float | None:
    """Return the seconds since this process was started, to 10 ms; None if unknown (only Linux reports it)."""
    if sys.platform != "linux":
        return None
    # The second field is the program's name in parentheses and may hold anything; the third follows the last of them.
    fields = Path("/proc/self/stat").read_text(errors="replace").rpartition(")")[2].split()
    started_s = int(fields[_START_FIELD - 3]) / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started_s)


def peak_memory_mb(pid: int | None = None) -> float | None:
    """Return the largest resident memory of a process so far in MB; None if the system does not report it.

    Linux reports it for every process, macOS only for this one, Windows for none.

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


def raise_priority(realtime: bool = False) -> str | None:
    """Raise the priority of this process, and of those that it starts from now on.

    Args:
        realtime: Run this process before all others whenever it has something to do; for a process that has hardly
            anything to do. If the system does not allow that, the priority is raised as without it.

    Returns:
        Why the priority cannot be raised, or why the process cannot run before all others; None if all was done.
    """
    not_first = None
    if realtime and sys.platform == "linux":
        try:
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
            return None
        except OSError as exc:
            how = "allow it in /etc/security/limits.conf (`USER - rtprio 1`)"
            not_first = f"it does not run before all others ({exc.strerror}), expected permission to: {how}"
    import psutil

    process = psutil.Process()
    try:
        if sys.platform == "win32":
            process.nice(psutil.HIGH_PRIORITY_CLASS)
        else:
            process.nice(_NICE)
    except (psutil.Error, OSError) as exc:
        how = "" if sys.platform == "win32" else ": allow it in /etc/security/limits.conf (`USER - nice -10`)"
        return not_first or f"the priority cannot be raised ({exc}), expected permission to{how}"
    return not_first


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
def prompt_wakeups() -> Iterator[None]:
    """Let this thread run as soon as it wakes, even if every core is busy; its share of the time stays the same.

    Linux runs the thread with the earliest virtual deadline first (EEVDF). A thread that asks for short slices has an
    early one. Since Linux 6.12, every thread may ask, without special rights (sched(7), sched_setattr(2)). Threads and
    processes that are started meanwhile inherit the setting. Does nothing on other systems.
    """
    before = _scheduling()
    asked = before is not None and _schedule(before._replace(runtime_ns=_SLICE_NS))
    try:
        yield
    finally:
        if asked and before is not None:
            _schedule(before)


class _Scheduling(NamedTuple):
    """The system's ``struct sched_attr`` in its first version; for a normal thread, ``runtime_ns`` is its slice."""

    size: int
    policy: int
    flags: int
    nice: int
    priority: int
    runtime_ns: int
    deadline_ns: int
    period_ns: int


def _scheduling() -> _Scheduling | None:
    """Return this thread's scheduling; None if unknown, or if the thread does not share time in the normal way."""
    calls = _SCHED_CALLS.get(platform.machine()) if sys.platform == "linux" else None
    if calls is None:
        return None
    buffer = ctypes.create_string_buffer(_SCHED_ATTR.size)
    if ctypes.CDLL(None).syscall(calls[1], 0, buffer, _SCHED_ATTR.size, 0):
        return None
    found = _Scheduling(*_SCHED_ATTR.unpack(buffer.raw))
    return found if found.policy == 0 else None


def _schedule(wanted: _Scheduling) -> bool:
    buffer = ctypes.create_string_buffer(_SCHED_ATTR.pack(*wanted), _SCHED_ATTR.size)
    return not ctypes.CDLL(None).syscall(_SCHED_CALLS[platform.machine()][0], 0, buffer, 0)


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
