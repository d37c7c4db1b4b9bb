"""Measures the speed of every stage and engine in turn, so that a busy moment of the machine affects all of them.

::

    this process                         one process an engine, and one a precision of arithmetic
    interleave()  --- passes --->        DrivePass: capture -> preprocess -> infer -> map -> send, each stage timed
                  <-- seconds ---        PeakPass: a chain of convolutions that does nothing but multiply and add

Only one of them works at a time; the others wait on their pipes. Each engine has its own process, so that its start-up
time and memory can be measured.
"""

import itertools
import time
from collections.abc import Callable, ItemsView, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agent.contract.controls import Controls
from agent.contract.errors import EngineError
from agent.contract.observation import Frame
from agent.contract.preprocess import preprocess
from agent.controllers.memory import MemoryController
from agent.engines.base import Engine
from agent.engines.registry import EngineEntry, EngineRequest
from agent.measuring.bench_report import SCREEN_HEIGHT_PX, SCREEN_WIDTH_PX, BenchReport, EngineTimes, summarise
from agent.measuring.peak import PEAK_MULTIPLY_ADDS, PRECISIONS, PeakPass
from agent.measuring.workers import Turn, Worker, WorkerProcess
from agent.system.pacing import clock_ns
from agent.system.plugins import find_plugins, load_plugin

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from agent.games.realtime.game import RealTimeGame

PASSES = 10
"""Timed passes in one turn of an engine."""
GAME_SEED = 0
"""Track of the game beside the engines."""

_BASELINES = "hoodcam.baselines"  # group of entry points: each has a baseline's name and makes it from a model folder
_GAME_ALONE_S = 2.0
_EPISODE_S = 10.0  # the game's own limit is 20 s, and a turn takes 2 s at most


class DrivePass:
    """One decision from a full screen, as in a drive. A call returns the seconds of each of ``STAGES``.

    The capture is a stand-in: a copy of 1280 x 720 pixels, BGRA, like those of a screen capture. The controls go to a
    controller in memory.

    Args:
        engine: Runs the network.
        clock: Time in nanoseconds.
    """

    def __init__(self, engine: Engine, clock: Callable[[], int] = clock_ns) -> None:
        self._engine = engine
        self._clock = clock
        shape = (SCREEN_HEIGHT_PX, SCREEN_WIDTH_PX, 4)
        self._screen = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        self._controller = MemoryController(remembered=1)  # otherwise the memory of a long run would grow

    def __call__(self) -> tuple[float, ...]:
        """Make one decision.

        Raises:
            AgentError: If the engine fails or its prediction is invalid.
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


def interleave(
    workers: Sequence[Worker],
    rounds: int,
    passes: int = PASSES,
    around_turn: Callable[[str, Callable[[], Turn]], Turn] = lambda name, take_turn: take_turn(),
    on_turn: Callable[[], None] = lambda: None,
) -> dict[str, Turn]:
    """Let the workers take turns: A, B, C, A, B, C, ...

    Args:
        workers: At least one, each with a different name.
        rounds: Turns of each worker.
        passes: Passes in one turn.
        around_turn: Called with a worker's name and its turn; runs the turn and returns its result.
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
    """A real-time game whose own rate is measured while others take turns.

    Args:
        game: Open, on the track ``GAME_SEED``. Its car stands still; its episode is restarted between turns, before its
            time is up.
        clock: Time in nanoseconds.
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
        """Return the game's pictures a second by the name of the worker that took turns beside it."""
        return {name: frames / self._elapsed_s[name] for name, frames in self._frames.items()}


def find_baselines() -> tuple[EngineEntry, ...]:
    """Return the installed baselines: the usual ways of running the network.

    They belong to training, which the agent does not need and never imports. They are entry points of the group
    ``hoodcam.baselines``, each of which names an :class:`EngineEntry`.

    Raises:
        EngineError: If there are none, or one cannot be loaded.
    """
    entries = tuple(replace(load_plugin(each, EngineEntry, EngineError), name=name) for name, each in _baselines())
    if not entries:
        raise EngineError(
            "no baseline is installed to compare with: the installation is missing or older than this checkout. "
            "Repeat `pip install -e '.[training]'`."
        )
    return entries


def make_baseline(name: str, folder: Path, threads: int | None) -> Engine:
    """Load a baseline.

    Raises:
        ImportError: If its library is not installed.
        AgentError: If the baseline is not installed, or the model folder is damaged.
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
    """Start every engine, let them take turns, and summarise the results.

    Args:
        model: Name of the weights, for the report.
        network_multiply_adds: Multiply-adds of one forward pass.
        engines: Each engine with a function that makes it and can be imported in another process.
        rounds: Turns of each engine.
        threads: Threads for measuring the peak: the number that the engines were told to use.
        game: An open game to run beside them.
        baselines: Names of the engines that the others are compared with.
        on_skip: Called with the reason for each engine that cannot run here.
        on_turn: Called after every turn with the number of all turns.

    Raises:
        EngineError: If no engine can run here, or one fails during the run.
        GameError: If the game dies.
    """
    skipped: dict[str, str] = {}
    with ExitStack() as stack:
        workers = _open_workers(engines, stack, skipped, on_skip)
        peaks = _open_peaks(threads, stack)
        everyone = [*workers.values(), *peaks.values()]
        turned = partial(on_turn, rounds * len(everyone))
        rates: dict[str, float] = {}
        if game is None:
            turns = interleave(everyone, rounds, on_turn=turned)
        else:
            beside = GameBeside(game)
            beside.watch("alone", _wait)
            turns = interleave(everyone, rounds, around_turn=beside.watch, on_turn=turned)
            rates = beside.frames_per_s()
    peak_per_s = {name: PEAK_MULTIPLY_ADDS / float(turns[worker.name].min()) for name, worker in peaks.items()}

    def times(entry: EngineEntry) -> EngineTimes:
        own, worker, rate = turns[entry.name], workers[entry.name], rates.get(entry.name)
        return summarise(entry, own, worker.startup_s, worker.peak_memory_mb, network_multiply_adds, peak_per_s, rate)

    return BenchReport(
        model=model,
        multiply_adds=network_multiply_adds,
        peak_per_s=peak_per_s,
        rounds=rounds,
        passes=PASSES,
        threads=threads,
        engines=tuple(times(entry) for entry, _ in engines if entry.name in workers),
        baselines=tuple(baselines),
        skipped=skipped,
        game_alone_frames_per_s=rates.get("alone"),
    )


def _open_workers(
    engines: Sequence[tuple[EngineEntry, Callable[[], Engine]]],
    stack: ExitStack,
    skipped: dict[str, str],
    on_skip: Callable[[str], None],
) -> dict[str, WorkerProcess]:
    """Start every engine that can run here; the others go into ``skipped`` with the reason."""
    workers: dict[str, WorkerProcess] = {}
    for entry, make_engine in engines:
        try:
            worker = WorkerProcess(entry.name, partial(make_drive_pass, make_engine))
            workers[entry.name] = stack.enter_context(worker)
        except EngineError as exc:
            skipped[entry.name] = str(exc)
            on_skip(str(exc))
    if not workers:
        raise EngineError("no engine is left to measure, expected at least one that runs here. See the lines above.")
    return workers


def _open_peaks(threads: int | None, stack: ExitStack) -> dict[str, WorkerProcess]:
    """Start a worker for each precision of this processor, to measure its arithmetic."""
    peaks: dict[str, WorkerProcess] = {}
    for precision in PRECISIONS:
        with suppress(EngineError):  # this processor lacks the precision
            worker = WorkerProcess(f"peak {precision}", partial(PeakPass, precision, threads))
            peaks[precision] = stack.enter_context(worker)
    return peaks


def _wait() -> Turn:
    time.sleep(_GAME_ALONE_S)
    return np.zeros((1, 1))
