"""A process of our own at the other end of a pipe: started alike everywhere, and ended with us."""

import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

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
        """Close the pipe, which tells the child to end, and kill it if it is still there afterwards.

        Args:
            patience_s: How long it may take to end by itself.
        """
        with suppress(OSError):
            self.link.close()
        self.process.join(patience_s)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def start_child(target: Callable[..., None], arguments: tuple[Any, ...], name: str) -> Child:
    """Start a process that runs ``target(link, *arguments)``; Ctrl-C does not reach it.

    The process is spawned: a fork of a process with threads (OpenVINO has some) can deadlock, and it would share what
    libraries have started here.

    Args:
        target: A module-level function; gets its end of the pipe first.
        arguments: What it gets further; they are pickled.
        name: What the process is called.
    """
    context = multiprocessing.get_context("spawn")
    link, child_link = context.Pipe()
    process = context.Process(target=target, args=(child_link, *arguments), name=name, daemon=True)
    with no_interrupts():
        process.start()
    child_link.close()  # or the child's end of the pipe would stay open here, and its end unnoticed
    return Child(process, link)
