"""The game's process: physics, drawing and commands on its own clock."""

import multiprocessing
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import AgentError
from agent.games.base import Simulator
from agent.games.realtime.shared import OUTCOMES, Layout, SharedRings
from agent.system.pacing import clock_ns


class _ParentGoneError(Exception):
    """The agent closed the pipe, or died."""


def run_game(
    link: "Connection[Any, Any]", make_simulator: Callable[[], Simulator], seed: int, frames_per_s: float
) -> None:
    """Run the game; the main function of its process."""
    for name in ("SIGINT", "SIGHUP"):  # from the terminal: only the agent ends the game
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    try:
        simulator = make_simulator()
        try:
            simulator.reset(seed)
            _serve(link, simulator, frames_per_s)
        finally:
            simulator.close()
    except _ParentGoneError:
        pass
    except Exception as exc:
        line = str(exc) if isinstance(exc, AgentError) else f"{type(exc).__name__}: {exc}"
        with suppress(OSError):
            link.send(("failed", (line, traceback.format_exc())))
        sys.exit(1)


def _serve(link: "Connection[Any, Any]", simulator: Simulator, frames_per_s: float) -> None:
    state = simulator.state
    layout = Layout(simulator.render().shape, tuple(state.telemetry), tuple(state.figures))
    _tell(link, "layout", layout)
    _, name = _listen(link)
    rings = SharedRings(layout, name)
    try:
        _Clockwork(link, simulator, layout, rings, frames_per_s).run()
    finally:
        parent = multiprocessing.parent_process()
        rings.close(unlink=parent is not None and not parent.is_alive())


class _Clockwork:
    """The game's main loop: commands, due ticks, a picture, sleep."""

    def __init__(
        self,
        link: "Connection[Any, Any]",
        simulator: Simulator,
        layout: Layout,
        rings: SharedRings,
        frames_per_s: float,
    ) -> None:
        self._link = link
        self._simulator = simulator
        self._layout = layout
        self._rings = rings
        self._tick_ns = simulator.tick_s * 1e9
        self._drawing_ns = 1e9 / frames_per_s
        self._prepare()

    def _prepare(self) -> None:
        """Put the car on the start line with a stopped clock, and report "ready" once there is a picture of it."""
        self._running = False
        self._ticks = 0
        self._ticks_late = 0
        self._expired = 0
        self._is_expired = True  # no controls are held yet
        self._drawings = 0
        self._started_ns = clock_ns()
        self._processor_started_s = time.process_time()
        self._publish_state()
        self._draw_if_due()
        _tell(self._link, "ready", self._simulator.state.track)  # a text that does not change during an episode

    def run(self) -> None:
        """Serve until the pipe is closed.

        Raises:
            _ParentGoneError: When the pipe is closed.
        """
        while True:
            while self._link.poll():
                self._obey(*_listen(self._link))
            self._advance_as_due()
            self._draw_if_due()
            self._wait()

    def _obey(self, command: str, argument: Any) -> None:
        if command == "restart":
            self._simulator.reset(argument)
            self._prepare()
        elif command == "start":
            self._running = True
            self._drawings = 0
            self._started_ns = clock_ns()
            self._processor_started_s = time.process_time()

    def _advance_as_due(self) -> None:
        now_ns = clock_ns()  # read once: if physics is slower than the clock, pictures must still be drawn
        while self._running and (due_ns := self._tick_due_ns()) <= now_ns:
            self._simulator.advance(self._controls(now_ns))
            self._ticks += 1
            self._ticks_late += now_ns - due_ns > self._tick_ns
            self._running = self._simulator.state.outcome == "driving"
            self._publish_state()

    def _controls(self, now_ns: int) -> Controls:
        """Return the newest controls; neutral once they have expired."""
        newest = self._rings.controls.read()
        if newest is None:
            return NEUTRAL
        _, sent_ns, values = newest
        *held, expiry_s = map(float, values)
        expired = now_ns - sent_ns > expiry_s * 1e9
        self._expired += expired and not self._is_expired
        self._is_expired = expired
        return NEUTRAL if expired else Controls(*held)

    def _tick_due_ns(self) -> float:
        return self._started_ns + (self._ticks + 1) * self._tick_ns

    def _drawing_due_ns(self) -> float:
        return self._started_ns + self._drawings * self._drawing_ns

    def _draw_if_due(self) -> None:
        now_ns = clock_ns()
        if now_ns < self._drawing_due_ns():
            return
        self._rings.frames.write(self._simulator.render(), now_ns)
        self._drawings = int((now_ns - self._started_ns) / self._drawing_ns) + 1  # missed drawings are not made up for

    def _wait(self) -> None:
        due_ns = self._drawing_due_ns()
        if self._running:
            due_ns = min(due_ns, self._tick_due_ns())
        wait_s = max(0.0, (due_ns - clock_ns()) / 1e9)
        if self._running:
            time.sleep(wait_s)  # exact to 0.1 ms; waiting on the pipe is exact only to 1 ms
        else:
            self._link.poll(wait_s)

    def _publish_state(self) -> None:
        state = self._simulator.state
        values = (
            state.time_s,
            state.episode_return,
            state.progress,
            OUTCOMES.index(state.outcome),
            state.speed,
            state.in_control,
            self._ticks_late,
            time.process_time() - self._processor_started_s,
            self._expired,
            *(state.telemetry[name] for name in self._layout.telemetry),
            *(state.figures[name] for name in self._layout.figures),
        )
        self._rings.state.write(values, clock_ns())


def _tell(link: "Connection[Any, Any]", name: str, argument: object = None) -> None:
    try:
        link.send((name, argument))
    except OSError as exc:
        raise _ParentGoneError from exc


def _listen(link: "Connection[Any, Any]") -> tuple[str, Any]:
    try:
        name, argument = link.recv()
    except (EOFError, OSError) as exc:
        raise _ParentGoneError from exc
    return name, argument
