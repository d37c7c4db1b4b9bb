"""A simulator in its own process and on its own clock: the world does not wait for the agent.

::

    agent's process                      game's process
    source.read()      <-- frames ---    draw, at most ``frames_per_s`` times a second
    controller.send()  --- controls ->   advance one tick at every absolute deadline
    state              <-- state ----    after every tick
    start(), restart() --- pipe ----->   commands, read between ticks; a closed pipe ends the game

Frames, controls and state lie in shared memory; the newest counts, and neither side ever waits for the other. Controls
expire: if the agent hangs, is stopped or killed, the game sets neutral controls.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn, Self

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import GameError
from agent.contract.observation import Frame
from agent.controllers.base import EXPIRY_S
from agent.games.base import DriveState, Simulator
from agent.games.realtime.server import run_game
from agent.games.realtime.shared import NUMBERS, OUTCOMES, Layout, SharedRings
from agent.system.child import start_child
from agent.system.pacing import clock_ns
from agent.system.process import peak_memory_mb

FRAMES_PER_S = 50.0  # one picture a physics tick, as gymnasium's own window shows them
READY_TIMEOUT_S = 60.0  # importing the game and generating a track takes 1 to 2 s on an idle machine
STALL_TIMEOUT_S = 5.0  # drawing takes milliseconds: a game without a new picture for this long hangs
CLOSE_TIMEOUT_S = 2.0


class RealTimeGame:
    """A running game: ``with RealTimeGame(...) as game``, then ``game.start()`` and drive.

    Entering starts the process and returns at once, so that the network can be loaded meanwhile. Any call that needs
    the game first waits until it is ready. Until :meth:`start`, the game keeps drawing its starting position, but its
    clock stands still. However the block is left, process and shared memory are gone afterwards. If this process is
    killed, the game ends by itself.

    Args:
        make_simulator: Builds the game; called in its own process, so it must be a module-level function or class.
        seed: Track of the first episode.
        frames_per_s: The most pictures a second. Physics keeps its own rate: after a slow drawing, all ticks that are
            due run before the next drawing.

    Attributes:
        source: The game's pictures. ``captured_ns`` is the time of the state that they show, before the drawing.
        controller: The game's controls; leaving its context sends neutral.

    Raises:
        ValueError: If ``frames_per_s`` is not a positive number.
    """

    def __init__(self, make_simulator: Callable[[], Simulator], seed: int, frames_per_s: float = FRAMES_PER_S) -> None:
        if not (math.isfinite(frames_per_s) and frames_per_s > 0):
            raise ValueError(f"frames_per_s is {frames_per_s}, expected a positive number of frames a second")
        self.source = _Source(self)
        self.controller = _Controller(self)
        self._arguments = (make_simulator, seed, frames_per_s)
        self._waiting_on: int | None = seed
        self._process: BaseProcess | None = None
        self._link: Connection[Any, Any]
        self._layout: Layout
        self._track = ""
        self._rings: SharedRings | None = None

    def __enter__(self) -> Self:
        child = start_child(run_game, self._arguments, "game")
        self._link, self._process = child.link, child.process
        return self

    def __exit__(self, *exc_info: object) -> None:
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
        """Start the game's clock."""
        self._shared()
        self._waiting_on = None
        self._command("start")

    def restart(self, seed: int) -> None:
        """Put the car on the start of a track with neutral controls and a stopped clock, unless it is already there."""
        if seed == self._waiting_on:
            return
        self.send_controls(NEUTRAL)
        self._command("restart", seed)
        self._track = self._answer("ready")
        self._waiting_on = seed

    @property
    def state(self) -> DriveState:
        """The state of the drive, as of the newest tick."""
        numbers = self._numbers()
        time_s, episode_return, progress, outcome, speed, in_control = numbers[:6]
        layout = self._layout
        named = dict(zip((*layout.telemetry, *layout.figures), numbers[len(NUMBERS) :], strict=True))
        return DriveState(
            time_s,
            episode_return,
            progress,
            OUTCOMES[int(outcome)],
            speed,
            telemetry={name: named[name] for name in layout.telemetry},
            track=self._track,
            in_control=bool(in_control),
            figures={name: named[name] for name in layout.figures},
        )

    @property
    def ticks_late(self) -> int:
        """Physics ticks of this episode that ran more than one tick too late."""
        return int(self._numbers()[NUMBERS.index("ticks_late")])

    @property
    def processor_s(self) -> float:
        """Seconds of processor time that the game's process has used since this episode's clock was started."""
        return self._numbers()[NUMBERS.index("processor_s")]

    @property
    def controls_expired(self) -> int:
        """How often in this episode the controls expired because no new ones came."""
        return int(self._numbers()[NUMBERS.index("expired")])

    @property
    def peak_memory_mb(self) -> float | None:
        """The largest resident memory of the game's process in MB, since its start.

        None if the system does not report it (only Linux does), or once the game has ended.
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
        """Hold these controls from the next tick on, for at most ``expiry_s``; see :attr:`controller`."""
        self._shared().controls.write((*controls.values, expiry_s), clock_ns())

    def _numbers(self) -> list[float]:
        newest = self._shared().state.read()
        assert newest is not None, "the game announces itself after its first state"
        return [float(value) for value in newest[2]]

    def _shared(self) -> SharedRings:
        """Return the shared memory of a game that is ready and alive."""
        process = self._process
        if process is None:
            raise GameError("the game is not running, expected to be used inside its `with` block.")
        if self._rings is None:
            self._layout = self._answer("layout")
            self._rings = SharedRings(self._layout)
            self._command("attach", self._rings.name)
            self._track = self._answer("ready")
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
                    f"the game was not ready within {READY_TIMEOUT_S:.0f} s, expected a few seconds. "
                    "Close other programs and start again."
                )
            name, argument = self._link.recv()
        except (EOFError, OSError):
            self._raise_failure()
        if name != expected:
            self._raise_failure(argument)
        return argument

    def _raise_failure(self, failure: tuple[str, str] | None = None) -> NoReturn:
        """Raise an error that says why the game died: with its own message if there is one, else its exit code."""
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
        state: The state when the newest picture was read, at most one tick newer than the picture.
    """

    state: DriveState

    def __init__(self, game: RealTimeGame) -> None:
        self._game = game

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
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

    def __exit__(self, *exc_info: object) -> None:
        with suppress(GameError):  # a dead game needs no neutral controls, and must not hide the first error
            self.send(NEUTRAL)

    def send(self, controls: Controls) -> None:
        self._game.send_controls(controls, self.expiry_s)
