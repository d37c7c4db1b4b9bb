"""``bench``: the speed of every stage and engine on this machine."""

import argparse
import functools
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.commands.numbers import at_least_one
from agent.commands.options import add_command, add_json_option, png_path
from agent.commands.wiring import EXIT_DONE, note, progress_bar, say_json, shipped_weights
from agent.contract.errors import EngineError
from agent.engines.registry import EngineEntry, find_engine, find_engines, load_engine
from agent.games.registry import find_game

if TYPE_CHECKING:
    from agent.engines.base import Engine


def add_to(commands: Any) -> None:
    """Add the command to the program's subcommands."""
    parser = add_command(
        commands,
        "bench",
        _run,
        "time every stage and every engine here, taking turns, and the machine's limit",
        "python -m agent bench --with-keras --plot bench.png",
    )
    parser.add_argument(
        "--weights", type=Path, metavar="DIR", help="model folder (default: the shipped model_weights/carracing)"
    )
    parser.add_argument(
        "--engines", type=_engines, metavar="A,B,C", help="which, separated by commas (default: all that run here)"
    )
    parser.add_argument(
        "--rounds", type=at_least_one, default=20, metavar="N", help="turns of 10 decisions an engine (default: 20)"
    )
    parser.add_argument(
        "--threads", type=at_least_one, metavar="N", help="processor threads of each (default: the engine's choice)"
    )
    parser.add_argument(
        "--beside-game", action="store_true", help="next to a real-time CarRacing, whose own rate is reported too"
    )
    parser.add_argument(
        "--with-keras",
        action="store_true",
        help="compare with keras.Model.predict and tf.function, which need TensorFlow",
    )
    parser.add_argument("--plot", type=png_path, metavar="FILE", help="draw the stages of every engine (.png)")
    add_json_option(parser)


def _run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from agent.engines.model_folder.opening import open_model_folder
    from agent.games.realtime.game import RealTimeGame
    from agent.measuring.bench import GAME_SEED, find_baselines, make_baseline, run_bench
    from agent.measuring.peak import multiply_adds

    if arguments.plot is not None and not find_spec("matplotlib"):  # before minutes of measuring
        raise EngineError("--plot needs matplotlib: `pip install '.[training]'`, or leave it out.")
    game = find_game("carracing")
    folder = arguments.weights if arguments.weights is not None else shipped_weights(game.name)
    spec, graph = open_model_folder(folder)
    threads: int | None = arguments.threads
    if arguments.engines is not None:
        entries = [find_engine(name) for name in arguments.engines]
    else:
        entries = [entry for entry in find_engines(note) if entry.needs_weights and entry.is_installed]
    baselines: tuple[EngineEntry, ...] = ()
    if arguments.with_keras and find_spec("tensorflow") is None:
        note("keras-predict and tf-function are left out: TensorFlow is not installed (`pip install '.[training]'`)")
    elif arguments.with_keras:
        baselines = find_baselines()
    engines: list[tuple[EngineEntry, Callable[[], Engine]]] = [
        *((entry, functools.partial(load_engine, entry.name, folder, threads)) for entry in entries),
        *((entry, functools.partial(make_baseline, entry.name, folder, threads)) for entry in baselines),
    ]

    def skip(reason: str) -> None:
        if arguments.engines is not None:
            raise EngineError(reason)
        note(reason)

    bar = progress_bar("turns")
    task = bar.add_task("turns", total=None)
    with ExitStack() as stack:
        running = None
        if arguments.beside_game:
            running = stack.enter_context(RealTimeGame(game.simulator_maker(), GAME_SEED))
            running.wait_until_ready()
        stack.enter_context(bar)
        report = run_bench(
            spec.name,
            multiply_adds(graph),
            engines,
            arguments.rounds,
            threads,
            running,
            [entry.name for entry in baselines],
            skip,
            lambda total: bar.update(task, advance=1, total=total),
        )
    if arguments.json:
        say_json(report.to_dict())
    else:
        console = Console(markup=False)
        for part in report.render():
            console.print(part, highlight=False)
    if arguments.plot is not None:
        report.plot(arguments.plot)
    return EXIT_DONE


def _engines(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        try:
            entry = find_engine(name)
        except EngineError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from None
        if not entry.needs_weights:
            raise argparse.ArgumentTypeError(f"{name!r} runs no network, expected engines that do")
    return names
