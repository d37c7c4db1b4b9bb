"""How fast every stage and every engine is here, measured in turns so that a busy moment hits them all.

::

    this process                         one process an engine, and one a precision of arithmetic
    interleave()  --- passes --->        DrivePass: capture -> preprocess -> infer -> map -> send, each stage timed
                  <-- seconds ---        PeakPass: a chain of convolutions that does nothing but multiply and add

Only one of them works at a time; the others wait on their pipes. A process of its own is what makes the start-up and
the memory of an engine known.
"""

import gc
import itertools
import os
import time
from collections.abc import Callable, ItemsView, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self

import numpy as np
import numpy.typing as npt

from agent.contract.controls import Controls
from agent.contract.errors import AgentError, EngineError
from agent.contract.observation import Frame
from agent.contract.preprocess import preprocess
from agent.controllers.memory import MemoryController
from agent.engines.base import Engine
from agent.engines.registry import EngineEntry, EngineRequest
from agent.measuring.bench_report import SCREEN_HEIGHT_PX, SCREEN_WIDTH_PX, BenchReport, summarise
from agent.measuring.peak import PEAK_MULTIPLY_ADDS, PRECISIONS, PeakPass
from agent.system.child import Child, start_child
from agent.system.pacing import clock_ns
from agent.system.plugins import find_plugins, load_plugin
from agent.system.process import age_s, peak_memory_mb

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from agent.games.realtime.game import RealTimeGame

PASSES = 10
"""Timed passes of an engine's turn."""
GAME_SEED = 0
"""Track of the game beside the engines."""

_BASELINES = "hoodcam.baselines"  # group of entry points: the name of a baseline, and what makes it from a model folder
_START_TIMEOUT_S = 300.0  # Keras needs 11 s on an idle machine
_CLOSE_TIMEOUT_S = 5.0
_GAME_ALONE_S = 2.0
_EPISODE_S = 10.0  # the game's own limit is 20 s, and a turn takes 2 s at most

Pass = Callable[[], Sequence[float]]
"""Does something once and returns the seconds of each of its stages."""
Turn = npt.NDArray[np.float64]
"""float64, shape (passes, stages): seconds."""


class DrivePass:
    """One decision from a full screen, as the drive makes it: call it for the seconds of each of ``STAGES``.

    The capture is a stand-in: a copy of 1280 x 720 pixels, BGRA, as a screen capture hands them over. The controls go
    to a controller in memory.

    Args:
        engine: What runs the network.
        clock: In nanoseconds.
    """

    def __init__(self, engine: Engine, clock: Callable[[], int] = clock_ns) -> None:
        self._engine = engine
        self._clock = clock
        shape = (SCREEN_HEIGHT_PX, SCREEN_WIDTH_PX, 4)
        self._screen = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        self._controller = MemoryController(remembered=1)  # or the memory of a long run would grow by what it keeps

    def __call__(self) -> tuple[float, ...]:
        """Make one decision.

        Raises:
            AgentError: If the engine fails or predicts nonsense.
        """
        clock = self._clock
        started_ns = clock()
        frame = Frame(self._screen.copy(), started_ns)
        captured_ns = clock()
        observation = preprocess(frame, self._engine.spec)
        preprocessed_ns = clock()
        prediction = self._engine.infer(observation)
        inferred_ns = clock()
        controls = Controls.from_prediction(prediction, self._engine.spec.output_names).clip().arbitrate()
        mapped_ns = clock()
        self._controller.send(controls)
        times = (started_ns, captured_ns, preprocessed_ns, inferred_ns, mapped_ns, clock())
        return tuple((end - begin) / 1e9 for begin, end in itertools.pairwise(times))


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

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
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


def interleave(
    workers: Sequence[Worker],
    rounds: int,
    passes: int = PASSES,
    around_turn: Callable[[str, Callable[[], Turn]], Turn] = lambda name, take_turn: take_turn(),
    on_turn: Callable[[], None] = lambda: None,
) -> dict[str, Turn]:
    """Let the workers take turns: A, B, C, A, B, C, ...

    Args:
        workers: At least one, each named differently.
        rounds: Turns of each.
        passes: Of one turn.
        around_turn: Calls the turn it is given, whose worker's name it gets too, and returns what it returned.
        on_turn: Called after every turn.

    Returns:
        All passes of each worker, by name, in order.

    Raises:
        ValueError: If there is nothing to do.
    """
    if not workers or rounds < 1 or passes < 1:
        raise ValueError(f"{len(workers)} workers, {rounds} rounds, {passes} passes: expected at least one of each")
    turns: dict[str, list[Turn]] = {worker.name: [] for worker in workers}
    for _ in range(rounds):
        for worker in workers:
            turns[worker.name].append(around_turn(worker.name, partial(worker.measure, passes)))
            on_turn()
    return {name: np.concatenate(parts) for name, parts in turns.items()}


class GameBeside:
    """A real-time game whose own rate is watched while others take turns.

    Args:
        game: Open, on the track ``GAME_SEED``. Its car stands still; its episode is started anew between turns, before
            its time is up.
        clock: In nanoseconds.
    """

    def __init__(self, game: "RealTimeGame", clock: Callable[[], int] = clock_ns) -> None:
        self._game = game
        self._clock = clock
        self._started = False
        self._frames: dict[str, int] = {}
        self._elapsed_s: dict[str, float] = {}

    def watch(self, name: str, take_turn: Callable[[], Turn]) -> Turn:
        """Take a turn, and count the pictures that the game draws meanwhile."""
        state = self._game.state
        if not self._started or state.outcome != "driving" or state.time_s > _EPISODE_S:
            self._game.restart(GAME_SEED)
            self._game.start()
            self._started = True
        first, started_ns = self._game.source.read().index, self._clock()
        turn = take_turn()
        last, ended_ns = self._game.source.read().index, self._clock()
        self._frames[name] = self._frames.get(name, 0) + last - first
        self._elapsed_s[name] = self._elapsed_s.get(name, 0.0) + (ended_ns - started_ns) / 1e9
        return turn

    def frames_per_s(self) -> dict[str, float]:
        """Return the game's pictures a second by the name of who took turns beside it."""
        return {name: frames / self._elapsed_s[name] for name, frames in self._frames.items()}


def find_baselines() -> tuple[EngineEntry, ...]:
    """Return the installed baselines: what running the network the usual way costs.

    They belong to training, which the agent works without and never imports: entry points of the group
    ``hoodcam.baselines``, each naming an :class:`EngineEntry`.

    Raises:
        EngineError: If there are none, or one cannot be loaded.
    """
    entries = tuple(replace(load_plugin(each, EngineEntry, EngineError), name=name) for name, each in _baselines())
    if not entries:
        raise EngineError(
            "there is nothing installed to compare with: the installation is older than this checkout, or there is "
            "none. Repeat `pip install -e '.[training]'`."
        )
    return entries


def make_baseline(name: str, folder: Path, threads: int | None) -> Engine:
    """Load a baseline.

    Raises:
        ImportError: If its library is not installed.
        AgentError: If it is not installed, or the model folder is damaged.
    """
    return load_plugin(dict(_baselines())[name], EngineEntry, EngineError).load(EngineRequest(folder, threads))


def _baselines() -> "ItemsView[str, EntryPoint]":
    return find_plugins(_BASELINES).items()


def make_drive_pass(make_engine: Callable[[], Engine]) -> DrivePass:
    """Load an engine and make its pass; called in a worker's process."""
    return DrivePass(make_engine())


def run_bench(
    model: str,
    network_multiply_adds: int,
    engines: Sequence[tuple[EngineEntry, Callable[[], Engine]]],
    rounds: int,
    threads: int | None = None,
    game: "RealTimeGame | None" = None,
    baselines: Sequence[str] = (),
    on_skip: Callable[[str], None] = lambda reason: None,
    on_turn: Callable[[int], None] = lambda total: None,
) -> BenchReport:
    """Start every engine, let them take turns, and sum up.

    Args:
        model: Name of the weights, for the report.
        network_multiply_adds: Of one forward pass.
        engines: Each with what makes it, importable in another process.
        rounds: Turns of each.
        threads: That the peak is measured on: those the engines were told to use.
        game: Open, to run beside them.
        baselines: Names of those engines that the others are compared with.
        on_skip: Told why, for each engine that cannot be had here.
        on_turn: Called after every turn with the number of turns there will be.

    Raises:
        EngineError: If no engine can be had, or one fails in mid-run.
        GameError: If the game dies.
    """
    skipped: dict[str, str] = {}
    with ExitStack() as stack:
        workers: dict[str, WorkerProcess] = {}
        for entry, make_engine in engines:
            try:
                worker = WorkerProcess(entry.name, partial(make_drive_pass, make_engine))
                workers[entry.name] = stack.enter_context(worker)
            except EngineError as exc:
                skipped[entry.name] = str(exc)
                on_skip(str(exc))
        if not workers:
            raise EngineError(
                "no engine is left to measure, expected at least one that runs here. See the lines above."
            )
        peaks: dict[str, WorkerProcess] = {}
        for precision in PRECISIONS:
            with suppress(EngineError):  # this processor lacks it
                worker = WorkerProcess(f"peak {precision}", partial(PeakPass, precision, threads))
                peaks[precision] = stack.enter_context(worker)
        everyone = [*workers.values(), *peaks.values()]
        total = rounds * len(everyone)
        rates: dict[str, float] = {}
        if game is None:
            turns = interleave(everyone, rounds, on_turn=lambda: on_turn(total))
        else:
            beside = GameBeside(game)
            beside.watch("alone", _wait)
            turns = interleave(everyone, rounds, around_turn=beside.watch, on_turn=lambda: on_turn(total))
            rates = beside.frames_per_s()
    peak_per_s = {
        precision: PEAK_MULTIPLY_ADDS / float(turns[worker.name].min()) for precision, worker in peaks.items()
    }
    return BenchReport(
        model=model,
        multiply_adds=network_multiply_adds,
        peak_per_s=peak_per_s,
        rounds=rounds,
        passes=PASSES,
        threads=threads,
        engines=tuple(
            summarise(
                entry,
                turns[entry.name],
                workers[entry.name].startup_s,
                workers[entry.name].peak_memory_mb,
                network_multiply_adds,
                peak_per_s,
                rates.get(entry.name),
            )
            for entry, _ in engines
            if entry.name in workers
        ),
        baselines=tuple(baselines),
        skipped=skipped,
        game_alone_frames_per_s=rates.get("alone"),
    )


def _wait() -> Turn:
    time.sleep(_GAME_ALONE_S)
    return np.zeros((1, 1))
