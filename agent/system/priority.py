"""How the system treats this process beside others: from real time down to what every user may ask for."""

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

_SCHED_CALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}  # sched_setattr, sched_getattr
_SCHED_ATTR = struct.Struct("=IIQiIQQQ")
_SLICE_NS = 100_000  # the smallest slice

_NICE = -10  # half way to the highest priority on Unix
_PR_SET_TIMERSLACK = 29  # prctl(2)
_PR_CAPBSET_DROP = 24
_PREFERRING_RIGHTS = (14, 23, 24)  # CAP_IPC_LOCK, CAP_SYS_NICE, CAP_SYS_RESOURCE of capabilities(7)
_USERS_LOCKED_BYTES = 8 << 20
_MCL_CURRENT, _MCL_ONFAULT, _MLOCK_ONFAULT = 1, 4, 1  # mlock(2)


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
        _use_granted("RLIMIT_RTPRIO")
        try:
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
            return None
        except OSError as exc:
            how = "allow it in /etc/security/limits.conf (`USER - rtprio 1`)"
            not_first = f"it does not run before all others ({exc.strerror}), expected permission to: {how}"
    import psutil

    process = psutil.Process()
    wanted = [psutil.HIGH_PRIORITY_CLASS] if sys.platform == "win32" else [_NICE, *_granted_nice()]
    problem: Exception | None = None
    for nice in wanted:
        try:
            process.nice(nice)
            return not_first
        except (psutil.Error, OSError) as exc:
            problem = problem or exc
    how = "" if sys.platform == "win32" else ": allow it in /etc/security/limits.conf (`USER - nice -10`)"
    return not_first or f"the priority cannot be raised ({problem}), expected permission to{how}"


def own_session() -> None:
    """Move this process into a session of its own, with a share of the processor of its own.

    Where every core is busy, Linux first shares the time out among sessions (sched(7), autogroup), and only then among
    the processes of a session. A process that hardly works never uses its session's share up, and so runs as soon as it
    wakes. In the session of a busy program it waits until that session's turn comes again. Every user may do this. It
    does nothing on systems without sessions, and in a process that leads a group already.
    """
    if hasattr(os, "setsid"):
        with suppress(OSError):
            os.setsid()


def stay_in_memory() -> None:
    """Keep what this process uses in memory: reading it from the disk again may take longer than controls may hold.

    Root may lock everything. Every user may lock some megabytes (``ulimit -l``, often 8): the interpreter's code and
    its own data. Does nothing on other systems than Linux.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if not libc.mlockall(_MCL_CURRENT | _MCL_ONFAULT) or not hasattr(libc, "mlock2"):
        return
    program = os.path.realpath(sys.executable)
    for line in Path("/proc/self/maps").read_text(errors="replace").splitlines():
        addresses, rights, _, _, _, *path = line.split(maxsplit=5)
        start, end = (int(address, 16) for address in addresses.split("-"))
        if path == ["[heap]"] or ("x" in rights and (path == [program] or "libpython" in "".join(path))):
            libc.mlock2(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MLOCK_ONFAULT)  # refused over the limit


def give_up_rights() -> None:
    """Have the programs that this process starts from now on be treated as an ordinary user's, for measuring.

    Root's rights to real time, to a raised priority and to locked memory come with the start of a program, and do not
    come any more. Does nothing on other systems than Linux, and for a user who has none of these rights.
    """
    if sys.platform != "linux":
        return
    import resource

    for right in _PREFERRING_RIGHTS:
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(right), 0, 0, 0)
    for limit, most in (("RTPRIO", 0), ("NICE", 0), ("MEMLOCK", _USERS_LOCKED_BYTES)):
        number = getattr(resource, f"RLIMIT_{limit}")
        soft, hard = resource.getrlimit(number)
        least = [most if now == resource.RLIM_INFINITY else min(now, most) for now in (soft, hard)]
        resource.setrlimit(number, (least[0], least[1]))


@contextmanager
def prompt_wakeups() -> Iterator[None]:
    """Let this thread run as soon as it wakes, even if every core is busy; its share of the time stays the same.

    Linux runs the thread with the earliest virtual deadline first (EEVDF). A thread that asks for short slices has an
    early one. Since Linux 6.12, every thread may ask, without special rights (sched(7), sched_setattr(2)). A timer may
    also be 50 us late to save energy; these are not. Threads and processes that are started meanwhile inherit the
    settings. Does nothing on other systems.
    """
    before = _scheduling()
    asked = before is not None and _schedule(before._replace(runtime_ns=_SLICE_NS))
    _set_timer_slack(1)
    try:
        yield
    finally:
        _set_timer_slack(0)  # as it was when the thread began
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


def _set_timer_slack(nanoseconds: int) -> None:
    """Set how late the system may wake this thread, on purpose; 0 for what the thread began with."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(nanoseconds), 0, 0, 0)


def _use_granted(limit: str) -> int:
    """Raise a soft limit to what was granted to this user, and return it; 0 if the system does not know the limit."""
    import resource

    number = getattr(resource, limit, None)
    if number is None:
        return 0
    _, granted = resource.getrlimit(number)
    with suppress(OSError, ValueError):
        resource.setrlimit(number, (granted, granted))
    return granted


def _granted_nice() -> list[int]:
    """Return the lowest nice value that this user was granted; empty if no priority above the normal one was."""
    granted = 20 - _use_granted("RLIMIT_NICE")  # limits are not negative, so this one is 20 less the nice value
    return [granted] if granted < 0 else []
