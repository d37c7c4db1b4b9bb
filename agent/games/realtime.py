"""A simulator in a process and on a clock of its own: the world does not wait for the agent.

::

    agent's process                      game's process
    source.read()      <-- frames ---    draw, at most ``frames_per_s`` times a second
    controller.send()  --- controls ->   advance one tick at every absolute deadline
    state              <-- state ----    after every tick
    start(), restart() --- pipe ----->   commands, read between ticks; a closed pipe ends the game

Frames, controls and state lie in shared memory, newest wins; neither side ever waits for the other. Controls hold for
a while only: of an agent that hangs, is stopped or killed, the game lets go.
"""

import math
import multiprocessing
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.shared_memory import SharedMemory
from types import TracebackType
from typing import Any, Generic, NoReturn, Self, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import AgentError, GameError
from agent.contract.observation import Frame
from agent.controllers.base import EXPIRY_S
from agent.games.base import DriveState, Outcome, Simulator
from agent.pacing import clock_ns
from agent.process import no_interrupts, peak_memory_mb

FRAMES_PER_S = 50.0  # one picture a physics tick, as gymnasium's own window shows them
READY_TIMEOUT_S = 60.0  # importing the game and generating a track takes 1 to 2 s on an idle machine
STALL_TIMEOUT_S = 5.0  # drawing takes milliseconds: a game without a new picture for this long hangs
CLOSE_TIMEOUT_S = 2.0

_SLOTS = 4  # at 50 frames a second a reader has 60 ms to copy a picture before its slot is written again
_OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
_NUMBERS = ("time_s", "episode_return", "progress", "outcome", "speed", "ticks_late", "processor_s", "expired")
_T = TypeVar("_T", bound=np.generic)


class Ring(Generic[_T]):
    """The newest of a stream of arrays in shared memory: one writer, any number of readers, no locks.

    Every slot carries a sequence number, 0 while it is being written. A reader copies the newest slot and takes the
    copy only if the number is still the same, so it never sees half of one array and half of the next. The numbers
    are aligned 8-byte words, which are written whole, and reach the reader in order with the data on x86-64.

    Args:
        buffer: Zeroed memory of at least :meth:`size` bytes from ``offset`` on.
        offset: Where the ring starts; a multiple of 8.
        shape: Shape of one array.
        dtype: Its type.
    """

    def __init__(self, buffer: memoryview, offset: int, shape: tuple[int, ...], dtype: type[_T]) -> None:
        words: npt.NDArray[np.int64] = np.ndarray((1 + 2 * _SLOTS,), np.int64, buffer, offset)
        self._newest = words[:1]
        self._sequences = words[1 : 1 + _SLOTS]
        self._stamps = words[1 + _SLOTS :]
        self._arrays: npt.NDArray[_T] = np.ndarray((_SLOTS, *shape), dtype, buffer, offset + words.nbytes)

    @staticmethod
    def size(shape: tuple[int, ...], dtype: type[np.generic]) -> int:
        """Return the bytes a ring takes, rounded up so that another can follow it."""
        data = _SLOTS * math.prod(shape) * np.dtype(dtype).itemsize
        return 8 * (1 + 2 * _SLOTS) + -(-data // 8) * 8

    def write(self, array: npt.ArrayLike, stamp_ns: int) -> None:
        """Publish an array in place of the oldest."""
        sequence = int(self._newest[0]) + 1
        slot = sequence % _SLOTS
        self._sequences[slot] = 0
        self._arrays[slot] = array
        self._stamps[slot] = stamp_ns
        self._sequences[slot] = sequence
        self._newest[0] = sequence

    def read(self) -> tuple[int, int, npt.NDArray[_T]] | None:
        """Return sequence number (from 1), stamp and a copy of the newest array; None before the first one."""
        while sequence := int(self._newest[0]):
            slot = sequence % _SLOTS
            stamp_ns = int(self._stamps[slot])
            array = self._arrays[slot].copy()
            if int(self._sequences[slot]) == sequence:
                return sequence, stamp_ns, array
        return None


@dataclass(frozen=True, slots=True)
class _Layout:
    """What both processes must agree on, known once the game has drawn its first picture."""

    frame_shape: tuple[int, ...]
    telemetry: tuple[str, ...]


class _SharedRings:
    """The three rings in one block of shared memory.

    Args:
        layout: The game's.
        name: The block to attach to; None creates it.
    """

    def __init__(self, layout: _Layout, name: str | None = None) -> None:
        state_shape = (len(_NUMBERS) + len(layout.telemetry),)
        at_controls = Ring.size(layout.frame_shape, np.uint8)
        at_state = at_controls + Ring.size((4,), np.float64)
        size = at_state + Ring.size(state_shape, np.float64)
        self._memory = SharedMemory(name, create=name is None, size=size)
        buffer = self._memory.buf
        assert buffer is not None, "None only once it is closed"
        self.frames = Ring(buffer, 0, layout.frame_shape, np.uint8)
        self.controls = Ring(buffer, at_controls, (4,), np.float64)  # and how long they hold
        self.state = Ring(buffer, at_state, state_shape, np.float64)

    @property
    def name(self) -> str:
        """Key under which the other process attaches."""
        return self._memory.name

    def close(self, unlink: bool) -> None:
        """Let go of the block; ``unlink`` frees it for both."""
        del self.frames, self.controls, self.state  # the block cannot be closed while arrays look into it
        self._memory.close()
        if unlink:
            self._memory.unlink()


class RealTimeGame:
    """A running game: ``with RealTimeGame(...) as game``, then ``game.start()`` and drive.

    Entering launches the process and returns at once, so that the network can be loaded meanwhile; whatever needs the
    game first waits until it is ready. Until :meth:`start` the game draws its starting position over and over but
    its clock stands still. However the block is left, process and shared memory are gone afterwards; should this
    process be killed, the game ends by itself.

    Args:
        make_simulator: Builds the game; called in its own process, so it must be a module-level function or class.
        seed: Track of the first episode.
        frames_per_s: How often to draw, at most. Physics keeps its own rate: after a drawing that took too long, the
            ticks that are due run one after the other before the next drawing.

    Attributes:
        source: The game's pictures. ``captured_ns`` is when the state they show was taken, before the drawing.
        controller: The game's controls; leaving its context sends neutral.

    Raises:
        ValueError: If ``frames_per_s`` is not a positive number.
    """

    def __init__(self, make_simulator: Callable[[], Simulator], seed: int, frames_per_s: float = FRAMES_PER_S) -> None:
        if not (math.isfinite(frames_per_s) and frames_per_s > 0):
            raise ValueError(f"frames_per_s is {frames_per_s}, expected a positive number of frames a second")
        self.source = _Source(self)
        self.controller = _Controller(self)
        self._context = multiprocessing.get_context("spawn")  # forking a process with threads (OpenVINO) can deadlock
        self._arguments = (make_simulator, seed, frames_per_s)
        self._waiting_on: int | None = seed
        self._process: BaseProcess | None = None
        self._link: Connection[Any, Any]
        self._layout: _Layout
        self._rings: _SharedRings | None = None

    def __enter__(self) -> Self:
        self._link, child_link = self._context.Pipe()
        process = self._context.Process(target=_run_game, args=(child_link, *self._arguments), name="game", daemon=True)
        with no_interrupts():
            process.start()
        child_link.close()  # or the pipe would stay open, and the game's end unnoticed, as long as we live
        self._process = process
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        self._link.close()
        process.join(CLOSE_TIMEOUT_S)
        if process.is_alive():
            process.kill()
            process.join()
        process.close()
        if self._rings is not None:
            self._rings.close(unlink=True)
            self._rings = None

    def wait_until_ready(self) -> None:
        """Wait for the first picture.

        Raises:
            GameError: If the game died, or is not ready after a minute.
        """
        self._shared()

    def start(self) -> None:
        """Let the game's clock run, from now."""
        self._shared()
        self._waiting_on = None
        self._command("start")

    def restart(self, seed: int) -> None:
        """Put the car on the start of a track, controls neutral, clock standing still; does nothing if it is so."""
        if seed == self._waiting_on:
            return
        self.send_controls(NEUTRAL)
        self._command("restart", seed)
        self._answer("ready")
        self._waiting_on = seed

    @property
    def state(self) -> DriveState:
        """How the drive stands, as of the newest tick."""
        numbers = self._numbers()
        time_s, episode_return, progress, outcome, speed = numbers[:5]
        telemetry = dict(zip(self._layout.telemetry, numbers[len(_NUMBERS) :], strict=True))
        return DriveState(time_s, episode_return, progress, _OUTCOMES[int(outcome)], speed, telemetry)

    @property
    def ticks_late(self) -> int:
        """Physics ticks of this episode that ran more than a tick after they were due."""
        return int(self._numbers()[_NUMBERS.index("ticks_late")])

    @property
    def processor_s(self) -> float:
        """Processor time the game's process has used since this episode's clock was started, in seconds."""
        return self._numbers()[_NUMBERS.index("processor_s")]

    @property
    def controls_expired(self) -> int:
        """How often in this episode controls were let go of because no new ones came."""
        return int(self._numbers()[_NUMBERS.index("expired")])

    @property
    def peak_memory_mb(self) -> float | None:
        """The largest resident memory of the game's process in MB, since its start.

        None where the system does not tell (not Linux), or once the game has ended.
        """
        process = self._process
        return peak_memory_mb(process.pid) if process is not None and process.is_alive() else None

    def read_frame(self) -> Frame:
        """Return the newest picture; see :attr:`source`."""
        rings = self._shared()
        newest = rings.frames.read()
        assert newest is not None, "the game announces itself after its first picture"
        index, captured_ns, pixels = newest
        if clock_ns() - captured_ns > STALL_TIMEOUT_S * 1e9:
            raise GameError(
                f"the game has drawn nothing for {STALL_TIMEOUT_S:.0f} s, expected {self._arguments[2]:g} pictures a "
                "second: it hangs or was suspended. Start the drive again."
            )
        return Frame(pixels, captured_ns, index)

    def send_controls(self, controls: Controls, expiry_s: float = EXPIRY_S) -> None:
        """Hold these controls from the next tick on, for ``expiry_s`` at most; see :attr:`controller`."""
        values = (controls.steering, controls.throttle, controls.brake, expiry_s)
        self._shared().controls.write(values, clock_ns())

    def _numbers(self) -> list[float]:
        newest = self._shared().state.read()
        assert newest is not None, "the game announces itself after its first state"
        return [float(value) for value in newest[2]]

    def _shared(self) -> _SharedRings:
        """Return the shared memory of a game that is ready and alive."""
        process = self._process
        if process is None:
            raise GameError("the game is not running, expected to be used inside its `with` block.")
        if self._rings is None:
            self._layout = self._answer("layout")
            self._rings = _SharedRings(self._layout)
            self._command("attach", self._rings.name)
            self._answer("ready")
        if process.exitcode is not None:
            self._raise_failure()
        return self._rings

    def _command(self, name: str, argument: object = None) -> None:
        try:
            self._link.send((name, argument))
        except OSError:
            self._raise_failure()

    def _answer(self, expected: str) -> Any:
        try:
            if not self._link.poll(READY_TIMEOUT_S):
                raise GameError(
                    f"the game did not get ready within {READY_TIMEOUT_S:.0f} s, expected a few seconds. "
                    "Close other programs and start again."
                )
            name, argument = self._link.recv()
        except (EOFError, OSError):
            self._raise_failure()
        if name != expected:
            self._raise_failure(argument)
        return argument

    def _raise_failure(self, failure: tuple[str, str] | None = None) -> NoReturn:
        """Say why the game died: in its own words if it left any, or else by its exit code."""
        assert self._process is not None
        with suppress(EOFError, OSError):
            while failure is None and self._link.poll():
                name, argument = self._link.recv()
                failure = argument if name == "failed" else None
        if failure is not None:
            line, details = failure
            raise GameError(f"the game died: {line}") from RuntimeError(f"in the game's process:\n{details}")
        self._process.join(CLOSE_TIMEOUT_S)
        raise GameError(
            f"the game's process ended with exit code {self._process.exitcode}, expected it to run until the drive is "
            "over: something killed it, perhaps for lack of memory. Start the drive again."
        )


class _Source:
    """The game's pictures as a :class:`agent.capture.base.FrameSource`; the game outlives it.

    Attributes:
        state: How the drive stood when the newest picture was read, at most one tick after what the picture shows.
    """

    state: DriveState

    def __init__(self, game: RealTimeGame) -> None:
        self._game = game

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def read(self) -> Frame:
        frame = self._game.read_frame()
        self.state = self._game.state
        return frame


class _Controller:
    """The game's controls as a :class:`agent.controllers.base.Controller`; the game outlives it.

    Attributes:
        expiry_s: How long controls hold without new ones.
    """

    def __init__(self, game: RealTimeGame) -> None:
        self.expiry_s = EXPIRY_S
        self._game = game

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(GameError):  # a dead game needs no neutral, and the error that led here must not be hidden
            self.send(NEUTRAL)

    def send(self, controls: Controls) -> None:
        self._game.send_controls(controls, self.expiry_s)


class _ParentGoneError(Exception):
    """The agent closed the pipe, or died."""


def _run_game(
    link: "Connection[Any, Any]", make_simulator: Callable[[], Simulator], seed: int, frames_per_s: float
) -> None:
    """Run the game; the main function of its process."""
    for name in ("SIGINT", "SIGHUP"):  # a terminal's, for the agent: it ends the game, after it has sent neutral
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
    layout = _Layout(simulator.render().shape, tuple(simulator.state.telemetry))
    _tell(link, "layout", layout)
    _, name = _listen(link)
    rings = _SharedRings(layout, name)
    try:
        _Clockwork(link, simulator, rings, frames_per_s).run()
    finally:
        parent = multiprocessing.parent_process()
        rings.close(unlink=parent is not None and not parent.is_alive())


class _Clockwork:
    """The game's own main loop: commands, due ticks, a picture, sleep."""

    def __init__(
        self, link: "Connection[Any, Any]", simulator: Simulator, rings: _SharedRings, frames_per_s: float
    ) -> None:
        self._link = link
        self._simulator = simulator
        self._rings = rings
        self._tick_ns = simulator.tick_s * 1e9
        self._drawing_ns = 1e9 / frames_per_s
        self._prepare()

    def _prepare(self) -> None:
        """Stand at the start line with the clock stopped, and say so once there is a picture of it."""
        self._running = False
        self._ticks = 0
        self._ticks_late = 0
        self._expired = 0
        self._is_expired = True  # nothing is held yet
        self._drawings = 0
        self._started_ns = clock_ns()
        self._processor_started_s = time.process_time()
        self._publish_state()
        self._draw_if_due()
        _tell(self._link, "ready")

    def run(self) -> None:
        """Serve until the pipe is closed.

        Raises:
            _ParentGoneError: When it is.
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
        now_ns = clock_ns()  # once: physics slower than the clock must not keep pictures away for ever
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
            time.sleep(wait_s)  # to 0.1 ms; waiting on the pipe has a grain of 1 ms
        else:
            self._link.poll(wait_s)

    def _publish_state(self) -> None:
        state = self._simulator.state
        values = (
            state.time_s,
            state.episode_return,
            state.progress,
            _OUTCOMES.index(state.outcome),
            state.speed,
            self._ticks_late,
            time.process_time() - self._processor_started_s,
            self._expired,
            *state.telemetry.values(),
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
