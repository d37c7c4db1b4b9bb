"""Other programs that end with this process, however it ends: by itself, by a signal, or killed.

On Unix, a program is started by a supervisor: this file, run by a small Python of its own. The supervisor holds one end
of a pipe. The pipe closes when this process ends, whatever ends it; the supervisor then kills the program and all
processes that it started. Linux' own means for this, PR_SET_PDEATHSIG, reaches only the program itself (a game may be
started by a script), and it acts as soon as the thread ends that started the program.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress


@contextmanager
def supervised(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    patience_s: float = 0.0,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program without output; leaving the block ends it and all processes that it started.

    It runs in a session of its own, so Ctrl-C in a terminal does not reach it.

    Args:
        command: The program and its options.
        environment: Its whole environment; None for this process's.
        pass_fds: Open files that the program gets.
        patience_s: How long the program may take to end by itself once it is asked to (SIGTERM), before it is killed.

    Yields:
        The process. On Unix it is the supervisor, which ends with the program's exit code; it leads the group of all
        processes that the program starts. On Windows it is the program, which outlives a process that was killed.
    """
    if os.name == "nt":
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    else:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(patience_s), *command],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    try:
        yield process
    finally:
        _end(process, patience_s)


def _end(process: "subprocess.Popen[bytes]", patience_s: float) -> None:
    if os.name == "nt":
        process.kill()
    else:
        with suppress(ProcessLookupError):  # the whole process group has ended
            if patience_s:
                os.killpg(process.pid, signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(patience_s)
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _supervise(patience_s: float, command: Sequence[str]) -> int:
    """Run the program to its end, or until the standard input closes; return its exit code as a shell would."""
    signal.signal(signal.SIGTERM, lambda number, frame: None)  # it is for the program; unlike SIG_IGN, not inherited
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL, close_fds=False)

    is_over = threading.Event()  # for the process that started this one

    def end_with_the_starter() -> None:
        while os.read(0, 1):
            pass
        is_over.set()
        if patience_s:
            program.terminate()
            with suppress(subprocess.TimeoutExpired):
                program.wait(patience_s)
        os.killpg(0, signal.SIGKILL)

    watcher = threading.Thread(target=end_with_the_starter, daemon=True)
    watcher.start()
    code = program.wait()
    if is_over.is_set():  # the watcher kills what the program has left behind
        watcher.join()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(_supervise(float(sys.argv[1]), sys.argv[2:]))
