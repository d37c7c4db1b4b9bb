"""Processes that make passes when told to, one at a time."""

import gc
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NoReturn, Protocol, Self

import numpy as np
import numpy.typing as npt

from agent.contract.errors import AgentError, EngineError
from agent.system.child import Child, start_child
from agent.system.pacing import clock_ns
from agent.system.process import age_s, peak_memory_mb

_START_TIMEOUT_S = 300.0  # Keras needs 11 s on an idle machine
_CLOSE_TIMEOUT_S = 5.0

Pass = Callable[[], Sequence[float]]
"""Does something once and returns the seconds of each of its stages."""
Turn = npt.NDArray[np.float64]
"""float64, shape (passes, stages): seconds."""


class Worker(Protocol):
    """Something that makes passes when told to."""

    @property
    def name(self) -> str:
        """What to call it in the report."""

    def measure(self, passes: int) -> Turn:
        """Make passes, one right after the other, and return what each took."""


class WorkerProcess:
    """A process that makes passes when told to: ``with WorkerProcess(...) as worker``, which waits until it is ready.

    Args:
        name: What to call it.
        make_pass: Builds what it does; called in the process, so it must be importable there.

    Attributes:
        startup_s: From the process's start (Python's own included) to the end of its first pass.
        peak_memory_mb: Its largest resident memory as of its latest turn; None where the system does not tell.

    Raises:
        EngineError: On entering, if the pass cannot be built or made.
    """

    startup_s: float
    peak_memory_mb: float | None

    def __init__(self, name: str, make_pass: Callable[[], Pass]) -> None:
        self._name = name
        self._make_pass = make_pass
        self._child: Child

    def __enter__(self) -> Self:
        self._child = start_child(_work, (self._make_pass,), self._name)
        try:
            self.startup_s, self.peak_memory_mb = self._answer()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._child.end(_CLOSE_TIMEOUT_S)

    @property
    def name(self) -> str:
        """As given."""
        return self._name

    def measure(self, passes: int) -> Turn:
        """Make passes after one that is not counted: it finds the caches full of what the others left there.

        Raises:
            EngineError: If a pass fails.
        """
        try:
            self._child.link.send(passes)
        except OSError:
            self._raise_death()
        turn: Turn
        turn, self.peak_memory_mb = self._answer()
        return turn

    def _answer(self) -> Any:
        try:
            if not self._child.link.poll(_START_TIMEOUT_S):
                raise EngineError(
                    f"{self._name} gave no answer for {_START_TIMEOUT_S:.0f} s, expected it in seconds. "
                    "Close other programs, or leave it out with --engines."
                )
            failure, answer = self._child.link.recv()
        except (EOFError, OSError):
            self._raise_death()
        if failure is not None:
            raise EngineError(f"{self._name} is of no use here: {failure}")
        return answer

    def _raise_death(self) -> NoReturn:
        self._child.process.join(_CLOSE_TIMEOUT_S)
        raise EngineError(
            f"the process of {self._name} ended with exit code {self._child.process.exitcode}, expected it to wait "
            "for its turn: something killed it, perhaps for lack of memory. Leave it out with --engines."
        )


def _work(link: "Connection[Any, Any]", make_pass: Callable[[], Pass]) -> None:
    """Serve one pipe until it is closed; the main function of a worker's process."""
    started_ns = clock_ns()
    # What goes wrong is told through the pipe, and TensorFlow greets with a page that no setting keeps away (2.21).
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with suppress(EOFError, OSError):
        try:
            make_one_pass = make_pass()
            make_one_pass()
            lifetime_s = age_s()
            startup_s = lifetime_s if lifetime_s is not None else (clock_ns() - started_ns) / 1e9
            gc.collect()
            gc.freeze()
            link.send((None, (startup_s, peak_memory_mb())))
            while True:
                passes = link.recv()
                make_one_pass()
                turn = np.array([make_one_pass() for _ in range(passes)], np.float64)
                link.send((None, (turn, peak_memory_mb())))
        except AgentError as exc:
            link.send((str(exc), None))
        except ImportError as exc:
            link.send((f"it cannot be imported ({exc}), expected its library to be installed.", None))
        except (EOFError, OSError):
            raise
        except Exception as exc:
            link.send((f"{type(exc).__name__}: {exc}", None))
