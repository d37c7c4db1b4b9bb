"""``bench``: the speed of every stage and engine on this machine."""

import functools
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING

from agent.commands.options import JSON, Command, Invocation
from agent.commands.wiring import EXIT_DONE, note, progress_bar, say_json
from agent.contract.errors import EngineError
from agent.engines.registry import EngineEntry, find_engine, find_engines, load_engine
from agent.games.registry import find_game
from agent.sessions.opening import shipped_weights
from agent.settings.bench import BenchSettings

if TYPE_CHECKING:
    from agent.engines.base import Engine


def _run(settings: BenchSettings, invocation: Invocation) -> int:
    from rich.console import Console

    from agent.engines.model_folder.opening import open_model_folder
    from agent.games.realtime.game import RealTimeGame
    from agent.measuring.bench import GAME_SEED, find_baselines, make_baseline, run_bench

    if settings.plot is not None and not find_spec("matplotlib"):  # before minutes of measuring
        raise EngineError("--plot needs matplotlib: `pip install '.[training]'`, or leave it out.")
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

    bar = progress_bar("turns")
    task = bar.add_task("turns", total=None)
    with ExitStack() as stack:
        running = None
        if settings.beside_game:
            running = stack.enter_context(RealTimeGame(game.simulator_maker(), GAME_SEED))
            running.wait_until_ready()
        stack.enter_context(bar)
        report = run_bench(
            model.spec.name,
            model.multiply_adds,
            engines,
            settings.rounds,
            threads,
            running,
            [entry.name for entry in baselines],
            skip,
            lambda total: bar.update(task, advance=1, total=total),
        )
    if invocation.json:
        say_json(report.to_dict())
    else:
        console = Console(markup=False)
        for part in report.render():
            console.print(part, highlight=False)
    if settings.plot is not None:
        report.plot(settings.plot)
    return EXIT_DONE


COMMAND = Command(
    name="bench",
    summary="time every stage and every engine here, taking turns, and the best that OpenVINO reaches",
    settings=BenchSettings,
    run=_run,
    example="python -m agent bench --with-keras --plot bench.png",
    json=JSON,
)
