"""What is known about processes: when they started, how much memory they took."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from agent.system.process import age_s, peak_memory_mb, pin_to, state_of

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux_only
def test_age_counts_from_before_the_interpreter_and_its_imports() -> None:
    program = "import time; time.sleep(0.3); from agent.system.process import age_s; print(age_s())"
    before = time.perf_counter()
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    elapsed_s = time.perf_counter() - before
    assert 0.3 <= float(answer.stdout) <= elapsed_s + 0.02  # the kernel counts in ticks of 10 ms


@linux_only
def test_age_grows_with_time() -> None:
    first = age_s()
    time.sleep(0.05)
    second = age_s()
    assert first is not None
    assert second is not None
    assert second - first == pytest.approx(0.05, abs=0.04)


@linux_only
def test_peak_memory_is_not_inherited_from_whoever_launched_us() -> None:
    block = np.ones(200_000_000, np.uint8)
    program = "from agent.system.process import peak_memory_mb; print(peak_memory_mb())"
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 3 < float(child.stdout) < 100 < block.nbytes / 1e6


@linux_only
def test_peak_memory_of_another_process() -> None:
    program = "block = bytearray(100_000_000); print('ready', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        peak_mb = peak_memory_mb(child.pid)
        child.communicate("")
    assert peak_mb is not None
    assert 100 < peak_mb < 200


def test_systems_that_do_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert age_s() is None
    assert peak_memory_mb(1) is None


def test_age_and_memory_where_psutil_tells_them(monkeypatch: pytest.MonkeyPatch) -> None:
    told = age_s()
    monkeypatch.setattr(sys, "platform", "win32")
    age, memory = age_s(), SimpleNamespace(peak_wset=3_000_000)
    assert age is not None
    assert told is None or age == pytest.approx(told, abs=1.0)
    monkeypatch.setattr(psutil.Process, "memory_info", lambda self: memory)
    assert peak_memory_mb() == peak_memory_mb(os.getpid()) == 3.0


@linux_only
def test_a_process_is_kept_on_a_core_and_so_are_its_children() -> None:
    program = (
        "import os, subprocess, sys; from agent.system.process import pin_to; core = min(os.sched_getaffinity(0))\n"
        "assert pin_to([core]) is None\n"
        "print(subprocess.check_output([sys.executable, '-c', 'import os; print(os.sched_getaffinity(0))']) "
        "== f'{{{core}}}\\n'.encode())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "True\n"


def test_cores_that_are_not_there_are_named() -> None:
    problem = pin_to([4000])
    assert problem is not None
    assert problem.startswith(("cores 4000 cannot be used (", "a process cannot be kept on some cores"))


@linux_only
def test_what_a_process_does_is_told() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            os.kill(child.pid, signal.SIGSTOP)
            for _ in range(500):
                if state_of(child.pid) == "T":
                    break
                time.sleep(0.01)
            assert state_of(child.pid) == "T"
        finally:
            child.kill()
    assert state_of(child.pid) is None
