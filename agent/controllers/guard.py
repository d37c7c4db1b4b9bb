"""A controller in a process of its own, which lets go by itself when it hears nothing.

::

    agent's process                         guard's process
    GuardedController.send() --- pipe --->  the gamepad or the keys, held until ``expiry_s`` after they were handed over
                             <-- pipe ---   reports: what it has done, how often it had to let go; what went wrong
    by_hand()                <-- pipe ---   a person's own gamepad, which wins whatever the agent does

Whatever becomes of the agent (hung in native code, stopped, killed, out of processor time), no message arrives and the
guard sends neutral. If the guard does not answer, the agent kills it; if it is killed, the system unplugs its gamepad,
which is neutral too, and its keys, which nobody else would, the agent lets go of.

The guard never waits for the agent: an agent that does not read is left only so many reports, fewer than fill a pipe,
and the newest once it has read them.
"""

import logging
import logging.handlers
import math
import multiprocessing
import queue
import signal
import struct
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Protocol, Self

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import AgentError, ControllerError
from agent.controllers.base import EXPIRY_S, ButtonController
from agent.pacing import clock_ns
from agent.process import no_interrupts, raise_priority

SILENCE_S = 0.06
"""How long the guard may take to answer before it is killed: a guard that hangs holds the controls where they are.

It answers within 2 ms. The agent notices at its next tick but one: at 30 ticks a second that is neutral after 120 ms at
most, which leaves 80 for an agent that has no processor time itself just then."""
_LAST_CHANCE_S = 0.02  # an agent that had no processor time itself would else judge a guard that had none either

_HANDS_S = 0.01  # how often a person's gamepad is read: well within any control period
_UNREAD = 32  # reports: at 100 readings of a moving stick a second, enough for a loop of 3 ticks a second
_READY_TIMEOUT_S = 20.0
_CLOSE_TIMEOUT_S = 2.0

# What a terminal sends to everybody in it, the guard included: the agent ends the guard, by closing the pipe, and an
# agent that is stopped (Ctrl-Z) is one that is silent.
_TERMINAL_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP", "SIGTTIN", "SIGTTOU")

# Messages to the guard, which has a tenth of a millisecond less to do than with pickles: what it is, how many reports
# the agent has read, and then when controls were made, steering, throttle, brake and how long they hold; or when a tap
# was, how long that holds, how long the button is down, and its name. What the guard has to say is in no hurry.
_HEAD = struct.Struct("=cI")
_CONTROLS = struct.Struct("=5d")
_TAP = struct.Struct("=3d")
_IS_CONTROLS, _IS_TAP, _IS_END = b"c", b"t", b"e"

_log = logging.getLogger(__name__)


class Hands(Protocol):
    """A person who may take over; read in the guard's process."""

    @property
    def reach_the_game(self) -> bool:
        """Whether what they press reaches the game by itself, so that the controller must stay out of it."""

    def __call__(self) -> Controls | None:
        """Return the person's controls while they drive, else None."""


class GuardedController:
    """Hands controls to a controller in another process; neutral however its block is left, or this process ends.

    Args:
        make_controller: Builds the controller; called in the guard's process, so it must be a module-level function or
            class, or a ``functools.partial`` of one.
        make_hands: Opens what a person may take over with, in the same way, before the controller is there.
        let_go: Called in this process if the guard is gone before its time, for what the system does not undo then.

    Attributes:
        expiry_s: How long controls hold without new ones; may be changed between two.
        expired: How often the guard had to let go.
    """

    def __init__(
        self,
        make_controller: Callable[[], AbstractContextManager[ButtonController]],
        make_hands: Callable[[], AbstractContextManager[Hands]] | None = None,
        let_go: Callable[[], None] = lambda: None,
    ) -> None:
        self.expiry_s = EXPIRY_S
        self.expired = 0
        self._make_controller = make_controller
        self._make_hands = make_hands
        self._let_go = let_go
        self._by_hand: Controls | None = None
        self._told = 0  # messages sent to the guard
        self._told_s = -math.inf  # when the last of them was
        self._reports = 0  # messages read from it
        self._unanswered: deque[float] = deque()  # when each message was sent that the guard has not reported yet
        self._is_neutral = False  # whether the guard said so for good
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
        process = context.Process(
            target=_run, args=(child_link, self._make_controller, self._make_hands), name="guard", daemon=True
        )
        self._told = self._reports = 0
        self._told_s = -math.inf
        self._unanswered.clear()
        self._is_neutral = False
        try:
            with no_interrupts():
                process.start()
                self._process = process
            child_link.close()  # or our own end's closing would go unnoticed there
            if not self._link.poll(_READY_TIMEOUT_S):
                raise ControllerError(
                    f"the guard of the controls did not start within {_READY_TIMEOUT_S:.0f} s, expected a second. "
                    "Close other programs and start again."
                )
            self._hear(*self._link.recv())
        except (EOFError, OSError) as exc:
            self.__exit__(None, None, None)
            raise _gone() from exc
        except BaseException:  # Ctrl-C too: nobody else would end a guard that ignores it
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        self._wait_for_neutral()
        process, self._process = self._process, None
        self._link.close()
        if self._is_neutral:
            process.join(_CLOSE_TIMEOUT_S)  # unplugging a gamepad takes its time
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
        values = controls.steering, controls.throttle, controls.brake
        self._tell(_IS_CONTROLS, _CONTROLS.pack(_now_s(), *values, self.expiry_s))

    def tap(self, name: str, seconds: float) -> None:
        """Hold a button of the pad, or a key, for a while beside the controls.

        Raises:
            ControllerError: If the guard has ended or does not answer, or its controller failed.
        """
        self._tell(_IS_TAP, _TAP.pack(_now_s(), self.expiry_s, seconds) + name.encode())

    def by_hand(self) -> Controls | None:
        """Return the controls of the person who has taken over; None while nobody has.

        Raises:
            ControllerError: If the guard has ended, or its controller failed.
        """
        self._listen()
        return self._by_hand

    def _tell(self, what: bytes, details: bytes = b"") -> None:
        self._check_on_guard()
        if self._process is None:
            raise _not_running()
        before_s, self._told_s = self._told_s, time.monotonic()
        self._told += 1  # all of this first: Ctrl-C may come after any line
        self._unanswered.append(self._told_s)
        try:
            self._link.send_bytes(_HEAD.pack(what, self._reports) + details)
        except (EOFError, OSError) as exc:
            self._listen()  # it may have said why
            self._let_go()
            raise _gone() from exc
        if self._told_s - before_s <= SILENCE_S:
            self._listen()  # not before: controls do not wait for it
        else:  # the next look at it would be too late
            self._listen(SILENCE_S)
            self._check_on_guard()

    def _check_on_guard(self) -> None:
        """Kill the guard if it has not answered for too long.

        Raises:
            ControllerError: If it had to be, or has ended.
        """
        for wait_s in (0.0, _LAST_CHANCE_S):
            if self._is_silent():
                self._listen(wait_s)
        if not self._is_silent():
            return
        self._process.kill()
        self._process.join()
        self._let_go()
        limit_ms = (SILENCE_S + _LAST_CHANCE_S) * 1e3
        raise ControllerError(
            f"the guard of the controls has not answered for {limit_ms:.0f} ms, expected 2: it was stopped, or the "
            "machine is overloaded. It was killed, which unplugs its gamepad. Start the drive again."
        )

    def _is_silent(self) -> bool:
        return bool(self._unanswered) and time.monotonic() - self._unanswered[0] > SILENCE_S

    def _wait_for_neutral(self) -> None:
        """Have the guard let go of everything, for as long as it may take to answer."""
        give_up_s = time.monotonic() + SILENCE_S + _LAST_CHANCE_S
        with suppress(ControllerError):  # it has left, which was neutral, or cannot tell any more
            self._tell(_IS_END)
            while not self._is_neutral and (left_s := give_up_s - time.monotonic()) > 0:
                self._listen(left_s, at_most=1)

    def _listen(self, wait_s: float = 0.0, at_most: int | None = None) -> None:
        """Take in what the guard has to say, waiting so long for the first of it."""
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
            self._is_neutral = True  # it has left its blocks
            raise ControllerError(details)
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


def _run(
    link: "Connection[Any, Any]",
    make_controller: Callable[[], AbstractContextManager[ButtonController]],
    make_hands: Callable[[], AbstractContextManager[Hands]] | None,
) -> None:
    """Hold the controller; the main function of the guard's process."""
    for name in _TERMINAL_SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    raise_priority(realtime=True)  # where it is allowed
    _log_without_waiting()
    try:
        with ExitStack() as stack:
            hands = None if make_hands is None else stack.enter_context(make_hands())
            controller = stack.enter_context(make_controller())
            link.send(("ready",))
            _Service(link, controller, hands).run()
    except (EOFError, OSError):
        pass  # the agent is gone, and leaving the block was neutral
    except AgentError as exc:
        with suppress(OSError):
            link.send(("failed", str(exc)))


def _log_without_waiting() -> None:
    """Have a thread of its own write what is logged here: a terminal that is held (Ctrl-S) takes nothing."""
    lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    logging.getLogger().addHandler(logging.handlers.QueueHandler(lines))
    logging.handlers.QueueListener(lines, logging.StreamHandler()).start()


class _Service:
    """The guard's own main loop: messages, a person's hands, and what is due to be let go of."""

    def __init__(self, link: "Connection[Any, Any]", controller: ButtonController, hands: Hands | None) -> None:
        self._link = link
        self._controller = controller
        self._hands = hands
        self._by_hand: Controls | None = None
        self._shown = NEUTRAL
        self._expires_s = math.inf  # when the controls do; never, while neutral is held
        self._taps: dict[str, float] = {}  # what is held, until when
        self._heard = 0
        self._expired = 0
        self._reports = 1  # messages sent, "ready" included
        self._read = 0  # those of them that the agent has read
        self._reported: tuple[int, int, tuple[float, ...] | None] = (0, 0, None)

    def run(self) -> None:
        """Serve until told to end.

        Raises:
            EOFError: If the pipe is closed instead.
        """
        ends = False
        while not ends:
            due_s = min(self._expires_s, *self._taps.values(), math.inf)
            if self._hands is not None:
                due_s = min(due_s, _now_s() + _HANDS_S)
            controls = None
            if self._link.poll(None if math.isinf(due_s) else max(0.0, due_s - _now_s())):
                controls, ends = self._receive()
            self._follow(controls)
            self._let_go()
            self._report()
        self._expires_s, self._by_hand = -math.inf, None
        self._let_go()
        self._link.send(("neutral",))

    def _receive(self) -> tuple[Controls | None, bool]:
        """Take in a message (there is one); return controls that have not expired, and whether this is the end."""
        message = self._link.recv_bytes()
        what, self._read = _HEAD.unpack_from(message)
        self._heard += 1
        if what == _IS_CONTROLS:
            made_s, *values, expiry_s = _CONTROLS.unpack_from(message, _HEAD.size)
            if _now_s() < made_s + expiry_s:
                self._expires_s = made_s + expiry_s
                return Controls(*values), False
        elif what == _IS_TAP:
            made_s, expiry_s, seconds = _TAP.unpack_from(message, _HEAD.size)
            if _now_s() < made_s + expiry_s:
                name = message[_HEAD.size + _TAP.size :].decode()
                self._controller.hold(name)
                self._taps[name] = _now_s() + seconds
                if math.isinf(self._expires_s):  # no button either is held for an agent that has gone silent
                    self._expires_s = made_s + expiry_s
        return None, what == _IS_END

    def _follow(self, controls: Controls | None) -> None:
        """Apply a person's controls if they drive, or else the agent's new ones."""
        before, self._by_hand = self._by_hand, None if self._hands is None else self._hands()
        if self._by_hand is not None and self._hands is not None:
            if self._by_hand != before or controls is not None:
                self._show(NEUTRAL if self._hands.reach_the_game else self._by_hand)
        elif controls is not None:
            self._show(controls)
        elif before is not None:  # given back: nothing is held until the agent's next controls
            self._show(NEUTRAL)

    def _let_go(self) -> None:
        now_s = _now_s()
        expired = now_s >= self._expires_s
        ended = [name for name, until_s in self._taps.items() if expired or now_s >= until_s]
        for name in ended:
            self._controller.release(name)
            del self._taps[name]
        if expired:
            self._expires_s = math.inf
            self._expired += 1
        if expired and self._by_hand is None:
            self._show(NEUTRAL)
        elif ended:
            self._show(self._shown)  # a button is up with the next controls, and nobody else may send any

    def _show(self, controls: Controls) -> None:
        self._controller.send(controls)
        self._shown = controls

    def _report(self) -> None:
        """Tell the agent what is new, unless it has so much to read already that telling it might have to wait."""
        hand = self._by_hand
        report = self._heard, self._expired, None if hand is None else (hand.steering, hand.throttle, hand.brake)
        if report != self._reported and self._reports - self._read < _UNREAD:
            self._link.send(("report", report))
            self._reports += 1
            self._reported = report


def _now_s() -> float:
    return clock_ns() / 1e9
