"""How the system is asked to prefer a process: by right, and by what every user may have."""

import json
import os
import subprocess
import sys
from typing import Any

import psutil
import pytest

from agent.system.priority import _SLICE_NS, _scheduling, prompt_wakeups, raise_priority

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="Linux' scheduling")


def ask(program: str, *, locked_bytes: int = 1 << 22) -> Any:
    """Run a program in a process that may do what every user may, and return what it prints, read as JSON.

    Where the tests run as root, the process gives up the rights that root has. They would come back with the program's
    start, so it gives up the right to have them too.
    """
    preamble = (
        "import ctypes, json, os, resource, sys\n"
        "for right in range(41): ctypes.CDLL(None).prctl(24, right, 0, 0, 0)\n"  # PR_CAPBSET_DROP
        f"resource.setrlimit(resource.RLIMIT_MEMLOCK, ({locked_bytes}, {locked_bytes}))\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n"
    )
    run = subprocess.run([sys.executable, "-c", preamble, "-c", program], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@linux_only
@pytest.mark.parametrize("allowed", [True, False])
def test_real_time_is_asked_for_first_and_the_rest_where_it_is_not_allowed(
    allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def schedule(pid: int, policy: int, param: os.sched_param) -> None:
        asked.append((pid, policy & ~os.SCHED_RESET_ON_FORK, param.sched_priority))
        if not allowed:
            raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", schedule)
    monkeypatch.setattr(psutil.Process, "nice", lambda self, value: asked.append(value))
    problem = raise_priority(realtime=True)
    assert problem is None if allowed else problem is not None and "rtprio 1" in problem
    assert asked == [(0, os.SCHED_RR, 1)] + ([] if allowed else [-10])


@pytest.mark.parametrize("allowed", [True, False])
def test_the_priority_is_raised_or_it_is_said_why_not(allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def nice(self: psutil.Process, value: int) -> None:
        asked.append(value)
        if not allowed:
            raise psutil.AccessDenied(1)

    monkeypatch.setattr(psutil.Process, "nice", nice)
    problem = raise_priority()
    assert asked == [-10]
    assert problem is None if allowed else problem is not None and "limits.conf" in problem


@pytest.mark.skipif(_scheduling() is None, reason="the system does not tell how a thread is scheduled")
def test_short_slices_are_asked_for_and_given_back() -> None:
    before = _scheduling()
    assert before is not None
    with prompt_wakeups():
        assert _scheduling() in (before._replace(runtime_ns=_SLICE_NS), before)  # before Linux 6.12 there is no slice
    assert _scheduling() == before


@linux_only
def test_timers_are_exact_meanwhile_and_as_before_afterwards() -> None:
    def slack_ns() -> str:
        with open(f"/proc/{os.getpid()}/timerslack_ns") as file:
            return file.read().strip()

    before = slack_ns()
    with prompt_wakeups():
        assert slack_ns() == "1"
    assert slack_ns() == before != "1"


@linux_only
def test_what_was_granted_to_a_user_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    granted = {resource.RLIMIT_RTPRIO: 1, resource.RLIMIT_NICE: 25}
    soft = dict.fromkeys(granted, 0)
    asked = []

    def schedule(pid: int, policy: int, param: os.sched_param) -> None:
        if param.sched_priority > soft[resource.RLIMIT_RTPRIO]:
            raise PermissionError(1, "Operation not permitted")

    def nice(self: psutil.Process, value: int) -> None:
        asked.append(value)
        if value < 20 - soft[resource.RLIMIT_NICE]:
            raise psutil.AccessDenied(1)

    monkeypatch.setattr(resource, "getrlimit", lambda number: (soft[number], granted[number]))
    monkeypatch.setattr(resource, "setrlimit", lambda number, limits: soft.update({number: limits[0]}))
    monkeypatch.setattr(os, "sched_setscheduler", schedule)
    monkeypatch.setattr(psutil.Process, "nice", nice)
    assert raise_priority(realtime=True) is None
    soft[resource.RLIMIT_RTPRIO] = granted[resource.RLIMIT_RTPRIO] = 0
    problem = raise_priority(realtime=True)
    assert problem is not None
    assert "rtprio 1" in problem
    assert asked == [-10, -5], "less than is wanted, but all that was granted"
    assert raise_priority() is None


@linux_only
def test_a_session_of_its_own_is_a_share_of_its_own() -> None:
    program = "import json, os; from agent.system.priority import own_session; own_session(); own_session()\n"
    assert ask(program + "print(json.dumps(os.getsid(0) == os.getpid()))") is True


@linux_only
def test_every_user_keeps_the_interpreter_in_memory() -> None:
    program = (
        "import json; from agent.system.priority import stay_in_memory; stay_in_memory()\n"
        "lines = open('/proc/self/status').read().splitlines()\n"
        "print(json.dumps([int(line.split()[1]) for line in lines if line.startswith('VmLck:')]))"
    )
    assert ask(program)[0] > 500, "kilobytes"
    assert ask(program, locked_bytes=0) == [0], "refused, and no fault"
