"""A controller in a process of its own, which lets go by itself when it hears nothing.

::

    agent's process                         guard's process
    GuardedController.send() --- pipe --->  the gamepad or the keys, held for ``expiry_s`` at most
                             <-- pipe ---   what went wrong there, and every time it had to let go

Whatever becomes of the agent (hung in native code, stopped, killed, out of processor time), no message arrives and the
guard sends neutral. If the guard is killed, the system unplugs its gamepad, which is neutral too; keys stay down.
"""

import logging
import multiprocessing
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import AgentError, ControllerError
from agent.controllers.base import EXPIRY_S, Controller
from agent.process import no_interrupts

_READY_TIMEOUT_S = 20.0
_CLOSE_TIMEOUT_S = 2.0

_log = logging.getLogger(__name__)


class GuardedController:
    """Hands controls to a controller in another process; neutral however its block is left, or this process ends.

    Args:
        make_controller: Builds the controller; called in the guard's process, so it must be a module-level function or
            class, or a ``functools.partial`` of one.

    Attributes:
        expiry_s: How long controls hold without new ones; may be changed between two.
        expired: How often the guard had to let go.
    """

    def __init__(self, make_controller: Callable[[], AbstractContextManager[Controller]]) -> None:
        self.expiry_s = EXPIRY_S
        self.expired = 0
        self._make_controller = make_controller
        self._process: Any = None
        self._link: Connection[Any, Any]

    @property
    def pid(self) -> int | None:
        """The guard's process; None while there is none."""
        return None if self._process is None else self._process.pid

    def __enter__(self) -> Self:
        """Start the guard and open the controller there.

        Raises:
            ControllerError: If the controller cannot be opened, for its own reason.
        """
        if self._process is not None:
            return self
        context = multiprocessing.get_context("spawn")  # forking a process with threads can deadlock
        self._link, child_link = context.Pipe()
        process = context.Process(target=_run, args=(child_link, self._make_controller), name="guard", daemon=True)
        with no_interrupts():
            process.start()
        child_link.close()  # or our own end's closing would go unnoticed there
        self._process = process
        try:
            if not self._link.poll(_READY_TIMEOUT_S):
                raise ControllerError(
                    f"the guard of the controls did not start within {_READY_TIMEOUT_S:.0f} s, expected a second. "
                    "Close other programs and start again."
                )
            self._hear(*self._link.recv())
        except (EOFError, OSError) as exc:
            self.__exit__(None, None, None)
            raise _gone() from exc
        except ControllerError:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        self._link.close()  # the guard takes that for the end, and goes neutral
        process.join(_CLOSE_TIMEOUT_S)
        if process.is_alive():
            process.kill()
            process.join()
        process.close()

    def send(self, controls: Controls) -> None:
        """Apply controls until the next call, or until they expire.

        Raises:
            ControllerError: If the guard has ended or its controller failed.
        """
        if self._process is None:
            raise ControllerError("the guard is not running, expected to be used inside its `with` block.")
        try:
            while self._link.poll():
                self._hear(*self._link.recv())
            self._link.send((controls.steering, controls.throttle, controls.brake, self.expiry_s))
        except (EOFError, OSError) as exc:
            raise _gone() from exc

    def _hear(self, what: str, text: str) -> None:
        if what == "failed":
            raise ControllerError(text)
        if what == "expired":
            self.expired += 1
            _log.warning("nothing came for %.0f ms: the guard let go of the controls", self.expiry_s * 1e3)


def _gone() -> ControllerError:
    return ControllerError(
        "the guard of the controls has ended, expected it to run until the drive is over: something killed it, and its "
        "gamepad is unplugged with it. Start the drive again."
    )


def _run(link: "Connection[Any, Any]", make_controller: Callable[[], AbstractContextManager[Controller]]) -> None:
    """Hold the controller; the main function of the guard's process."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # the agent ends the guard, by closing the pipe
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    try:
        with make_controller() as controller:
            link.send(("ready", ""))
            _serve(link, controller)
    except (EOFError, OSError):
        pass  # the agent is gone, and leaving the block was neutral
    except AgentError as exc:
        with suppress(OSError):
            link.send(("failed", str(exc)))


def _serve(link: "Connection[Any, Any]", controller: Controller) -> None:
    expires_s: float | None = None
    while True:
        wait_s = None if expires_s is None else max(0.0, expires_s - time.monotonic())
        if link.poll(wait_s):
            message = link.recv()
            while link.poll():  # the newest of what has piled up
                message = link.recv()
            *values, expiry_s = message
            controller.send(Controls(*values))
            expires_s = time.monotonic() + expiry_s
        elif expires_s is not None and time.monotonic() >= expires_s:
            controller.send(NEUTRAL)
            expires_s = None
            link.send(("expired", ""))
