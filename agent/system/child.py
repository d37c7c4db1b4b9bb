"""A child process at the other end of a pipe: always started in the same way, and ended with this process."""

import multiprocessing
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from agent.system.console import before_the_console_ends
from agent.system.process import no_interrupts


@dataclass(frozen=True, slots=True)
class Child:
    """A child process.

    Attributes:
        process: The process; it ends with this one at the latest.
        link: Our end of the pipe. It reads as closed once the child has ended.
    """

    process: BaseProcess
    link: "Connection[Any, Any]"

    def end(self, patience_s: float = 0.0) -> None:
        """Close the pipe, which tells the child to end; kill the child if it does not.

        Args:
            patience_s: How long it may take to end by itself.
        """
        with suppress(OSError):
            self.link.close()
        self.process.join(patience_s)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def start_child(
    target: Callable[..., None], arguments: tuple[Any, ...], name: str, may_start_others: bool = False
) -> Child:
    """Start a process that runs ``target(link, *arguments)``; Ctrl-C does not reach it.

    The process is spawned: forking a process with threads (OpenVINO has some) can deadlock, and the child would share
    the resources that libraries have opened here.

    Args:
        target: A module-level function; its first argument is its end of the pipe.
        arguments: Its further arguments; they are pickled.
        name: Name of the process.
        may_start_others: Whether it starts child processes itself. Python does not end such a process with this one:
            it must end once its pipe is closed.
    """
    context = multiprocessing.get_context("spawn")
    link, child_link = context.Pipe()
    process = context.Process(
        target=_run, args=(target, child_link, *arguments), name=name, daemon=not may_start_others
    )
    with no_interrupts():
        process.start()
    child_link.close()  # otherwise this end stays open, and the child's end goes unnoticed
    return Child(process, link)


def _run(target: Callable[..., None], *arguments: Any) -> None:
    """Run the child's function; on Windows, whatever happens to the console, only the parent ends it."""
    if hasattr(signal, "SIGBREAK"):
        signal.signal(signal.SIGBREAK, signal.SIG_IGN)
    before_the_console_ends()
    target(*arguments)
