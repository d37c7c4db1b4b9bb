"""The agent's end of the guard: a controller that works in another process."""

import logging.handlers
import math
import multiprocessing
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from multiprocessing.connection import Connection
from typing import Any, Self

from agent.contract.controls import Controls
from agent.contract.errors import ControllerError
from agent.controllers.base import EXPIRY_S, ButtonController
from agent.controllers.guard.messages import CONTROLS, HEAD, IS_CONTROLS, IS_END, IS_QUESTION, IS_TAP, TAP, clock_s
from agent.controllers.guard.service import HumanDriver, hold_controller
from agent.system.process import no_interrupts, state_of

_log = logging.getLogger(__name__)

SILENCE_S = 0.06
"""How long the guard may take to answer before it is killed: a guard that hangs keeps holding the last controls.

It answers within 2 ms. The agent notices a silent guard two ticks later at the latest. At 30 ticks a second, controls
are then neutral within 120 ms. That leaves 80 ms in case the agent gets no processor time just then."""
_LAST_CHANCE_S = 0.02  # if the agent itself got no processor time, the guard may have got none either
_WHY_SILENT: dict[str | None, str] = {
    "T": "it was stopped",
    "R": "it waits for the processor, for the machine is overloaded: close other programs, or allow it real time",
    "D": "it waits for the disk",
}
_QUIET_S = 0.2
"""After this long without a message, the agent asks the guard whether it is there. A loop of 5 Hz or more never waits
so long. Without the question, a guard that hangs would hold the controls for a second more at 1 Hz."""
_READY_TIMEOUT_S = 60.0  # it takes a second or two; many times that if all cores are busy
_CLOSE_TIMEOUT_S = 2.0


class GuardedController:
    """Passes controls to a controller in another process.

    The controls become neutral however the ``with`` block is left, and however this process ends.

    Args:
        make_controller: Builds the controller; called in the guard's process, so it must be a module-level function or
            class, or a ``functools.partial`` of one.
        make_hands: Opens the devices that a person may take over with; called in the guard's process too, before
            ``make_controller``.
        let_go: Called in this process if the guard ends too early; releases what the operating system does not.

    Attributes:
        expiry_s: How long controls hold without new ones; may be changed between two calls of :meth:`send`.
        expired: How often the guard had to release the controls.
    """

    def __init__(
        self,
        make_controller: Callable[[], AbstractContextManager[ButtonController]],
        make_hands: Callable[[], AbstractContextManager[HumanDriver]] | None = None,
        let_go: Callable[[], None] = lambda: None,
    ) -> None:
        self.expiry_s = EXPIRY_S
        self.expired = 0
        self._make_controller = make_controller
        self._make_hands = make_hands
        self._let_go = let_go
        self._by_hand: Controls | None = None
        self._told = 0  # messages sent to the guard
        self._told_s = -math.inf  # when the last message was sent
        self._reports = 0  # messages read from it
        self._unanswered: deque[float] = deque()  # when each message was sent that the guard has not reported yet
        self._is_neutral = False  # whether the guard has reported its final neutral
        self._process: Any = None
        self._link: Connection[Any, Any]
        self._lock = threading.RLock()  # the watch and the loop use the link in turns
        self._watch: threading.Thread | None = None
        self._is_over = threading.Event()
        self._found_by_watch: ControllerError | None = None

    @property
    def pid(self) -> int | None:
        """The guard's process; None while there is none."""
        return None if self._process is None else self._process.pid

    def __enter__(self) -> Self:
        """Start the guard and open the controller there.

        Raises:
            ControllerError: If the controller cannot be opened; the message is the controller's.
        """
        if self._process is not None:
            return self
        context = multiprocessing.get_context("spawn")  # forking a process with threads can deadlock
        self._link, child_link = context.Pipe()
        process = context.Process(
            target=hold_controller,
            args=(child_link, self._make_controller, self._make_hands),
            name="guard",
            daemon=True,
        )
        self._told = self._reports = 0
        self._told_s = -math.inf
        self._unanswered.clear()
        self._is_neutral = False
        try:
            with no_interrupts():
                process.start()
                self._process = process
            child_link.close()  # otherwise the guard would not notice that our end is closed
            if not self._link.poll(_READY_TIMEOUT_S):
                raise ControllerError(
                    f"the guard of the controls did not start within {_READY_TIMEOUT_S:.0f} s, expected a second. "
                    "Close other programs and start again."
                )
            self._hear(*self._link.recv())
            self._found_by_watch = None
            self._is_over.clear()
            self._watch = threading.Thread(target=self._keep_asking, name="watch of the guard", daemon=True)
            self._watch.start()
        except (EOFError, OSError) as exc:
            self.__exit__(None, None, None)
            raise _gone() from exc
        except BaseException:  # Ctrl-C too: the guard ignores it, so it must be ended here
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._process is None:
            return
        self._is_over.set()
        if self._watch is not None:
            self._watch.join()
            self._watch = None
        self._wait_for_neutral()
        process, self._process = self._process, None
        self._link.close()
        if self._is_neutral:
            process.join(_CLOSE_TIMEOUT_S)  # unplugging a gamepad takes a while
        if process.is_alive():
            process.kill()
            process.join()
        if not self._is_neutral:
            self._let_go()
        process.close()

    def send(self, controls: Controls) -> None:
        """Apply controls until the next call, or until they expire.

        Raises:
            ControllerError: If the guard has ended or does not answer, or its controller failed.
        """
        self._tell(IS_CONTROLS, CONTROLS.pack(clock_s(), *controls.values, self.expiry_s))

    def tap(self, name: str, seconds: float) -> None:
        """Hold a button of the pad, or a key, for some seconds beside the controls.

        Raises:
            ControllerError: If the guard has ended or does not answer, or its controller failed.
        """
        self._tell(IS_TAP, TAP.pack(clock_s(), self.expiry_s, seconds) + name.encode())

    def by_hand(self) -> Controls | None:
        """Return the controls of the person who has taken over; None while nobody has.

        Raises:
            ControllerError: If the guard has ended, or its controller failed.
        """
        with self._lock:
            self._listen()
            return self._by_hand

    def _keep_asking(self) -> None:
        """Ask the guard whether it is there when it got no message for a while; runs in a thread of its own."""
        while not self._is_over.wait(_QUIET_S / 2):
            try:
                with self._lock:
                    if time.monotonic() - self._told_s > _QUIET_S and not self._unanswered:
                        self._say(IS_QUESTION)
                if self._unanswered and not self._is_over.wait(SILENCE_S):
                    with self._lock:
                        self._listen()
                        self._check_on_guard()
            except ControllerError as exc:
                self._found_by_watch = exc  # raised by the next message to the guard
                return

    def _tell(self, what: bytes, details: bytes = b"") -> None:
        with self._lock:
            self._tell_now(what, details)

    def _tell_now(self, what: bytes, details: bytes) -> None:
        self._check_on_guard()
        if self._process is None:
            raise _not_running()
        before_s = self._told_s
        self._say(what, details)
        if self._told_s - before_s <= SILENCE_S:
            self._listen()  # only now: controls must not wait for it
        else:  # the next tick would be too late to check on the guard
            self._listen(SILENCE_S)
            self._check_on_guard()

    def _say(self, what: bytes, details: bytes = b"") -> None:
        self._told_s = time.monotonic()
        self._told += 1  # all of this before sending: Ctrl-C may come after any line
        self._unanswered.append(self._told_s)
        try:
            self._link.send_bytes(HEAD.pack(what, self._reports) + details)
        except (EOFError, OSError) as exc:
            self._listen()  # it may have said why
            self._let_go()
            raise _gone() from exc

    def _check_on_guard(self) -> None:
        """Kill the guard if it has not answered for too long.

        Raises:
            ControllerError: If it had to be killed, or has ended.
        """
        if self._found_by_watch is not None:
            raise self._found_by_watch
        for wait_s in (0.0, _LAST_CHANCE_S):
            if self._is_silent():
                self._listen(wait_s)
        if not self._is_silent():
            return
        why = _WHY_SILENT.get(state_of(self._process.pid), "it was stopped, or the machine is overloaded")
        self._process.kill()
        self._process.join()
        self._let_go()
        limit_ms = (SILENCE_S + _LAST_CHANCE_S) * 1e3
        raise ControllerError(
            f"the guard of the controls has not answered for {limit_ms:.0f} ms, expected 2: {why}. It was killed, "
            "which unplugs its gamepad. Start the drive again."
        )

    def _is_silent(self) -> bool:
        return bool(self._unanswered) and time.monotonic() - self._unanswered[0] > SILENCE_S

    def _wait_for_neutral(self) -> None:
        """Have the guard release everything; wait at most as long as it may take to answer."""
        give_up_s = time.monotonic() + SILENCE_S + _LAST_CHANCE_S
        with suppress(ControllerError):  # it has ended, with neutral controls, or can no longer answer
            self._tell(IS_END)
            while not self._is_neutral and (left_s := give_up_s - time.monotonic()) > 0:
                self._listen(left_s, at_most=1)

    def _listen(self, wait_s: float = 0.0, at_most: int | None = None) -> None:
        """Read the guard's reports; wait up to ``wait_s`` for the first one."""
        if self._process is None:
            raise _not_running()
        try:
            while at_most != 0 and self._link.poll(wait_s):
                self._hear(*self._link.recv())
                wait_s, at_most = 0.0, None if at_most is None else at_most - 1
        except (EOFError, OSError) as exc:
            self._let_go()
            raise _gone() from exc

    def _hear(self, what: str, details: Any = None) -> None:
        self._reports += 1
        if what == "failed":
            self._is_neutral = True  # its `with` blocks have ended
            raise ControllerError(details)
        elif what == "ready" and details is not None:
            _log.debug("the guard of the controls: %s", details)
        elif what == "neutral":
            self._is_neutral = True
        elif what == "report":
            heard, expired, by_hand = details
            self._by_hand = None if by_hand is None else Controls(*by_hand)
            while self._unanswered and len(self._unanswered) > self._told - heard:
                self._unanswered.popleft()
            if expired > self.expired:
                self.expired = expired
                _log.warning("nothing came for %.0f ms: the guard let go of the controls", self.expiry_s * 1e3)


def _not_running() -> ControllerError:
    return ControllerError("the guard is not running, expected to be used inside its `with` block.")


def _gone() -> ControllerError:
    return ControllerError(
        "the guard of the controls has ended, expected it to run until the drive is over: something killed it, and its "
        "gamepad is unplugged with it. Start the drive again."
    )
