"""A controller in a separate process, which releases the controls by itself when no messages come.

::

    agent's process                         guard's process
    GuardedController.send() --- pipe --->  the gamepad or the keys, held for ``expiry_s`` at most
                             <-- pipe ---   reports: what it has done, how often controls expired, what went wrong
    by_hand()                <-- pipe ---   a person's own gamepad, which always wins over the agent

If the agent hangs in native code, is stopped or killed, or gets no processor time, no message arrives and the guard
sends neutral. If the guard does not answer, the agent kills it. When the guard is killed, the system removes
its gamepad, and the game sees neutral controls. The system does not release the guard's keys; the agent does that.

The guard never waits for the agent. If the agent does not read, the guard stops sending reports before the pipe is
full. Once the agent reads again, it gets the newest report.
"""

import logging.handlers
import math
import queue
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from multiprocessing.connection import Connection
from typing import Any, Protocol

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import AgentError
from agent.controllers.base import ButtonController
from agent.controllers.guard.messages import CONTROLS, HEAD, IS_CONTROLS, IS_END, IS_TAP, TAP, clock_s
from agent.system.console import before_the_console_ends
from agent.system.priority import own_session, prompt_wakeups, raise_priority, stay_in_memory

_HANDS_S = 0.01  # time between two readings of a person's gamepad: well below any control period
_UNREAD = 32  # unread reports: a moving stick makes 100 a second, so this is enough for a loop of 3 ticks a second

# A terminal sends these signals to every process in it, the guard included. The guard ignores them: the agent ends it
# by a message or by closing the pipe, and a stopped agent (Ctrl-Z) counts as a silent one.
_TERMINAL_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP", "SIGTTIN", "SIGTTOU")
_WINDOWS_SIGNAL = "SIGBREAK"

_log = logging.getLogger(__name__)


class HumanDriver(Protocol):
    """A person who may take over; read in the guard's process."""

    @property
    def reach_the_game(self) -> bool:
        """Whether the person's keys reach the game by themselves, so that the controller must not press any."""

    def __call__(self) -> Controls | None:
        """Return the person's controls while they drive, else None."""


def hold_controller(
    link: "Connection[Any, Any]",
    make_controller: Callable[[], AbstractContextManager[ButtonController]],
    make_hands: Callable[[], AbstractContextManager[HumanDriver]] | None,
) -> None:
    """Hold the controller; the main function of the guard's process."""
    for name in (*_TERMINAL_SIGNALS, _WINDOWS_SIGNAL):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    own_session()
    before_the_console_ends()
    not_first = raise_priority(realtime=True)
    try:
        with ExitStack() as stack:
            stack.enter_context(prompt_wakeups())  # needs no rights; has no effect on a real-time process
            _log_without_waiting()
            hands = None if make_hands is None else stack.enter_context(make_hands())
            controller = stack.enter_context(make_controller())
            stay_in_memory()
            link.send(("ready", not_first))
            _Service(link, controller, hands).run()
    except (EOFError, OSError):
        pass  # the agent is gone, and leaving the block has set neutral controls
    except AgentError as exc:
        with suppress(OSError):
            link.send(("failed", str(exc)))
    except Exception as exc:  # from a library below: told, so that nobody thinks the guard was killed
        with suppress(OSError):
            link.send(("failed", f"unexpected {type(exc).__name__}: {exc}"))


def _log_without_waiting() -> None:
    """Have a separate thread write the log: a paused terminal (Ctrl-S) would block the guard."""
    lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    logging.getLogger().addHandler(logging.handlers.QueueHandler(lines))
    logging.handlers.QueueListener(lines, logging.StreamHandler()).start()


class _Service:
    """The guard's main loop: handles messages and a person's controls, and releases whatever has expired."""

    def __init__(self, link: "Connection[Any, Any]", controller: ButtonController, hands: HumanDriver | None) -> None:
        self._link = link
        self._controller = controller
        self._hands = hands
        self._by_hand: Controls | None = None
        self._shown = NEUTRAL
        self._expires_s = math.inf  # when the controls expire; infinite once they are released
        self._taps: dict[str, float] = {}  # the held buttons and keys, and until when
        self._heard = 0
        self._expired = 0
        self._reports = 1  # messages sent, "ready" included
        self._read = 0  # how many of them the agent has read
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
                due_s = min(due_s, clock_s() + _HANDS_S)
            controls = None
            if self._link.poll(None if math.isinf(due_s) else max(0.0, due_s - clock_s())):
                controls, ends = self._receive()
            self._follow(controls)
            self._let_go()
            self._report()
        self._expires_s, self._by_hand = -math.inf, None
        self._let_go()
        self._link.send(("neutral",))

    def _receive(self) -> tuple[Controls | None, bool]:
        """Read a message (there is one); return its controls unless they have expired, and whether to end."""
        message = self._link.recv_bytes()
        what, self._read = HEAD.unpack_from(message)
        self._heard += 1
        if what == IS_CONTROLS:
            made_s, *values, expiry_s = CONTROLS.unpack_from(message, HEAD.size)
            if clock_s() < made_s + expiry_s:
                self._expires_s = made_s + expiry_s
                return Controls(*values), False
        elif what == IS_TAP:
            made_s, expiry_s, seconds = TAP.unpack_from(message, HEAD.size)
            if clock_s() < made_s + expiry_s:
                name = message[HEAD.size + TAP.size :].decode()
                self._controller.hold(name)
                self._taps[name] = clock_s() + seconds
                if math.isinf(self._expires_s):  # so that a button, too, is released if the agent falls silent
                    self._expires_s = made_s + expiry_s
        return None, what == IS_END

    def _follow(self, controls: Controls | None) -> None:
        """Apply a person's controls if they drive, else the agent's new controls."""
        before, self._by_hand = self._by_hand, None if self._hands is None else self._hands()
        if self._by_hand is not None and self._hands is not None:
            if self._by_hand != before or controls is not None:
                self._show(NEUTRAL if self._hands.reach_the_game else self._by_hand)
        elif controls is not None:
            self._show(controls)
        elif before is not None:  # the wheel was given back: nothing is held until the agent's next controls
            self._show(NEUTRAL)

    def _let_go(self) -> None:
        now_s = clock_s()
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
            self._show(self._shown)  # a button is only released with controls, and no new ones may come

    def _show(self, controls: Controls) -> None:
        self._controller.send(controls)
        self._shown = controls

    def _report(self) -> None:
        """Report what is new to the agent, unless it has so many unread reports that sending might block."""
        hand = self._by_hand
        report = self._heard, self._expired, None if hand is None else hand.values
        if report != self._reported and self._reports - self._read < _UNREAD:
            self._link.send(("report", report))
            self._reports += 1
            self._reported = report
