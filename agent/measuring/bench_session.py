"""Times engines and stages, from settings to a report: what ``python -m agent bench`` does."""

import functools
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec

from agent.contract.errors import EngineError, MeasurementError
from agent.engines.base import Engine
from agent.engines.model_folder.opening import open_model_folder
from agent.engines.registry import EngineEntry, find_engine, find_engines, load_engine
from agent.games.realtime.game import RealTimeGame
from agent.games.registry import find_game
from agent.measuring.bench import GAME_SEED, find_baselines, make_baseline, run_bench
from agent.measuring.bench_report import BenchReport
from agent.sessions.opening import Note, ignore, shipped_weights
from agent.settings.bench import BenchSettings


def measure_engines(
    settings: BenchSettings, progress: Callable[[int], None] = lambda turns: None, note: Note = ignore
) -> BenchReport:
    """Time every stage of every engine in turn; the caller draws the report.

    Args:
        settings: Which engines, how often, and beside which game.
        progress: Called after every turn with the number of all turns.
        note: Called with one line for everything that is left out.

    Raises:
        EngineError: If an engine that was asked for cannot run here, or matplotlib is missing for the plot.
        AgentError: If the model or the game cannot be loaded.
    """
    if settings.plot is not None and not find_spec("matplotlib"):  # checked before minutes of measuring
        raise MeasurementError("--plot needs matplotlib: `pip install '.[training]'`, or leave it out.")
    game = find_game("carracing")
    folder = settings.weights if settings.weights is not None else shipped_weights(game.name)
    model = open_model_folder(folder)
    threads: int | None = settings.threads
    if settings.engines is not None:
        entries = [find_engine(name) for name in settings.engines]
    else:
        entries = [entry for entry in find_engines(note) if entry.needs_weights and entry.is_installed]
    baselines: tuple[EngineEntry, ...] = ()
    if settings.with_keras and find_spec("tensorflow") is None:
        note("keras-predict and tf-function are left out: TensorFlow is not installed (`pip install '.[training]'`)")
    elif settings.with_keras:
        baselines = find_baselines()
    engines: list[tuple[EngineEntry, Callable[[], Engine]]] = [
        *((entry, functools.partial(load_engine, entry.name, folder, threads)) for entry in entries),
        *((entry, functools.partial(make_baseline, entry.name, folder, threads)) for entry in baselines),
    ]

    def skip(reason: str) -> None:
        if settings.engines is not None:
            raise EngineError(reason)
        note(reason)

    with ExitStack() as stack:
        running = None
        if settings.beside_game:
            running = stack.enter_context(RealTimeGame(game.simulator_maker(), GAME_SEED))
            running.wait_until_ready()
        return run_bench(
            model.spec.name,
            model.multiply_adds,
            engines,
            settings.rounds,
            threads,
            running,
            [entry.name for entry in baselines],
            skip,
            progress,
        )
