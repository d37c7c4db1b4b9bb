"""The driver's command line: wiring, errors to exit codes, and the only talk with the user.

Nothing heavy is imported until a command needs it, so that ``--help`` and usage errors are instant.
"""

import argparse
import functools
import itertools
import json
import logging
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.arguments import at_least_one, number, whole
from agent.contract.controls import Controls
from agent.contract.errors import AgentError, EngineError, SpecError
from agent.contract.spec import STEERING_THROTTLE_BRAKE, ModelSpec
from agent.games.registry import Game, find_expert, find_game, game_names
from agent.pacing import clock_ns
from agent.process import age_s, peak_memory_mb

if TYPE_CHECKING:
    from agent.engines.base import Engine
    from agent.evaluation import TrackResult
    from agent.games.base import Simulator
    from agent.games.realtime import RealTimeGame
    from agent.live import Lap
    from agent.observers.base import TickObserver
    from agent.pacing import TickStats
    from agent.replay import ReplayReport

ENGINES = (
    "auto",
    "openvino",
    "openvino-bf16",
    "openvino-int8",
    "onnxruntime",
    "onnxruntime-int8",
    "onnxruntime-cuda",
    "onnxruntime-directml",
    "onnxruntime-coreml",
    "tensorflow",
    "constant",
)
_RUNTIMES = tuple(name for name in ENGINES if name not in ("auto", "constant"))
EXIT_DONE, EXIT_ERROR, EXIT_INTERRUPTED = 0, 1, 130

_CONSTANT_CONTROLS = Controls(0.0, 0.1, 0.0)  # slowly straight on: tries out everything but the network
_MAX_SEED = 2**32 - 1
_MAX_RATE_HZ = 1000.0
_VIDEO_SUFFIXES = (".mp4", ".webp", ".gif")

_ENDINGS = {
    "lap": "lap finished",
    "left": "left the field",
    "timeout": "not finished in time",
    "driving": "stopped on the way",
}

_EXAMPLES = """\
examples:
  python -m agent drive                                   one lap of CarRacing with the shipped weights
  python -m agent evaluate --tracks 100 --seed-start 0    mean return over 100 tracks, the game waiting
  python -m agent record --episodes 5 --out episodes      record the network's driving
  python -m agent replay episodes/carracing-0.parquet     the network over a recording, against what was recorded
  python -m agent bench --with-keras                      every engine's speed here, against Keras' own

exit codes: 0 done; 1 an error, told in one line; 2 bad usage; 130 interrupted (Ctrl-C), controls neutral
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; the process's own if None.

    Returns:
        0 done, 1 an error, 130 interrupted. For bad usage argparse raises ``SystemExit(2)``.
    """
    started_ns = _started_ns(argv)
    arguments = _parser().parse_args(argv)
    arguments.started_ns = started_ns
    _set_up_logging(arguments.verbose)
    try:
        command: Callable[[argparse.Namespace], int] = arguments.command
        return command(arguments)
    except AgentError as exc:
        if arguments.verbose:
            traceback.print_exc()
        _note(f"error: {exc}")
        return EXIT_ERROR
    except KeyboardInterrupt:
        _note("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain again on its way out
        return EXIT_ERROR


def _started_ns(argv: Sequence[str] | None) -> int | None:
    """Return when the program was started, Python and its imports included; None where the system does not tell.

    With arguments of its own, ``main`` is called inside another program, and the call is the start.
    """
    if argv is not None:
        return clock_ns()
    age = age_s()
    return None if age is None else clock_ns() - round(age * 1e9)


def _set_up_logging(verbose: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("agent")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING)


def _say(text: str) -> None:
    """Write a result to standard output."""
    sys.stdout.write(text.rstrip("\n") + "\n")
    sys.stdout.flush()


def _note(text: str) -> None:
    """Write progress or a problem to standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _say_json(report: dict[str, Any]) -> None:
    _say(json.dumps(report, indent=2, allow_nan=False))


# --- the arguments ----------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m agent",
        description="Drives games from what a camera sees: one forward pass of a network, a virtual gamepad.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EXAMPLES,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    drive = _add_command(
        commands,
        "drive",
        _drive,
        "drive in real time, the game running beside the agent",
        "python -m agent drive --laps 3 --video lap.mp4",
    )
    _add_engine_options(drive)
    _add_rate_option(drive)
    drive.add_argument("--seed", type=_seed, default=0, metavar="S", help="track of the first lap (default: 0)")
    length = drive.add_mutually_exclusive_group()
    length.add_argument(
        "--laps", type=at_least_one, metavar="N", help="tracks to drive, one after the other (default: 1; see below)"
    )
    length.add_argument("--seconds", type=_positive, metavar="T", help="drive for T seconds, lap after lap, instead")
    drive.add_argument("--record", type=Path, metavar="DIR", help="record one episode a lap into this folder")
    drive.add_argument(
        "--video",
        type=_video,
        metavar="FILE",
        help="film the drive: .mp4, or animated .webp or .gif (625 ticks at most); several laps become FILE-SEED",
    )
    drive.add_argument(
        "--show-input", type=_png, metavar="FILE", help="write the exact picture the network gets (.png), every second"
    )
    drive.add_argument("--dry-run", action="store_true", help="everything but the controls: the car stands still")
    _add_json_option(drive)
    drive.epilog = "A lap ends when it is finished, the car has left the field or the game's 20 s are up.\n" + str(
        drive.epilog
    )

    evaluate = _add_command(
        commands,
        "evaluate",
        _evaluate,
        "drive many tracks and sum up: mean, spread, worst",
        "python -m agent evaluate --tracks 100 --seed-start 500000 --json",
    )
    _add_engine_options(evaluate)
    _add_rate_option(evaluate)
    evaluate.add_argument("--tracks", type=at_least_one, default=10, metavar="N", help="number of tracks (default: 10)")
    _add_seed_start_option(evaluate)
    evaluate.add_argument(
        "--real-time",
        action="store_true",
        help="let the game run on its own clock (default: it waits for every decision, the same on every machine)",
    )
    evaluate.add_argument("--video", type=Path, metavar="DIR", help="film every track into this folder (.mp4)")
    _add_json_option(evaluate)

    film = _add_command(
        commands,
        "film",
        _film_models,
        "film several models on one track, side by side: the stages of a training, say",
        "python -m agent film runs/mine/stages/* --seed 7 --out stages.webp",
    )
    film.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="model folders, in the film's order")
    film.add_argument("--game", default="carracing", help="what to drive (default: carracing)")
    film.add_argument(
        "--out",
        type=_video,
        required=True,
        metavar="FILE",
        help="the film: .mp4, or .webp or .gif (625 pictures at most)",
    )
    film.add_argument("--seed", type=_seed, default=0, metavar="S", help="the track (default: 0)")
    film.add_argument("--seconds", type=_positive, default=20.0, metavar="N", help="game time at most (default: 20)")
    film.add_argument("--scale", type=_positive, default=0.25, metavar="X", help="of each picture (default: 0.25)")
    film.add_argument("--every", type=at_least_one, default=1, metavar="N", help="keep every N-th picture (default: 1)")
    film.add_argument("--engine", choices=ENGINES, default="auto", help="what runs the networks (default: auto)")
    film.add_argument("--threads", type=at_least_one, metavar="N", help="processor threads for each")

    compare = _add_command(
        commands,
        "compare",
        _compare,
        "compare two drivers on the tracks that both drove, with a confidence interval",
        "python -m agent compare float.json --with int8.json",
    )
    compare.add_argument("first", type=Path, nargs="+", metavar="FIRST", help="what `evaluate --json` printed")
    compare.add_argument(
        "--with", dest="second", type=Path, nargs="+", required=True, metavar="SECOND", help="the other driver's"
    )
    _add_json_option(compare)

    record = _add_command(
        commands,
        "record",
        _record,
        "record episodes of the network or the expert driving, the game waiting",
        "python -m agent record --driver expert --episodes 5 --seed-start 10 --out episodes",
    )
    _add_engine_options(record)
    record.add_argument(
        "--driver",
        choices=("policy", "expert"),
        default="policy",
        help="who drives: policy, the network; or expert, a program that reads the track instead of the picture, for "
        "which the engine options are without effect (default: policy)",
    )
    record.add_argument("--episodes", type=at_least_one, default=1, metavar="N", help="number of tracks (default: 1)")
    _add_seed_start_option(record)
    record.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for GAME-SEED.parquet")

    replay = _add_command(
        commands,
        "replay",
        _replay,
        "run the network over a recording: errors, correlations, stage times",
        "python -m agent replay episodes/carracing-0.parquet --reference before.json",
    )
    replay.add_argument("episode", type=Path, metavar="EPISODE", help="a .parquet, or a .recording left by a kill")
    _add_engine_options(replay, game=False)
    reference = replay.add_mutually_exclusive_group()
    reference.add_argument(
        "--reference", type=Path, metavar="FILE", help="compare with these predictions; exit 1 where they differ"
    )
    reference.add_argument(
        "--write-reference", type=Path, metavar="FILE", help="store the predictions for later comparisons"
    )
    replay.add_argument(
        "--tolerance",
        type=_not_negative,
        metavar="X",
        help="largest accepted difference of any output, in the outputs' own units (default: 0.001 where the engine "
        "computes in float32, 0.02 in bfloat16, 0.1 in int8)",
    )
    _add_json_option(replay)

    bench = _add_command(
        commands,
        "bench",
        _bench,
        "time every stage and every engine here, taking turns, and the machine's limit",
        "python -m agent bench --with-keras --plot bench.png",
    )
    bench.add_argument(
        "--weights", type=Path, metavar="DIR", help="model folder (default: the shipped model_weights/carracing)"
    )
    bench.add_argument(
        "--engines", type=_engines, metavar="A,B,C", help="which, separated by commas (default: all that run here)"
    )
    bench.add_argument(
        "--rounds", type=at_least_one, default=20, metavar="N", help="turns of 10 decisions an engine (default: 20)"
    )
    bench.add_argument(
        "--threads", type=at_least_one, metavar="N", help="processor threads of each (default: the engine's choice)"
    )
    bench.add_argument(
        "--beside-game", action="store_true", help="next to a real-time CarRacing, whose own rate is reported too"
    )
    bench.add_argument(
        "--with-keras",
        action="store_true",
        help="compare with keras.Model.predict and tf.function, which need TensorFlow",
    )
    bench.add_argument("--plot", type=_png, metavar="FILE", help="draw the stages of every engine (.png)")
    _add_json_option(bench)
    return parser


def _add_command(
    commands: Any, name: str, command: Callable[[argparse.Namespace], int], summary: str, example: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=command)
    parser.add_argument("--verbose", action="store_true", help="show details, and the traceback of an error")
    return parser


def _add_engine_options(parser: argparse.ArgumentParser, game: bool = True) -> None:
    if game:
        names = ", ".join(game_names())
        parser.add_argument("--game", default="carracing", help=f"what to drive: {names} (default: carracing)")
    parser.add_argument(
        "--weights", type=Path, metavar="DIR", help="model folder (default: the shipped model_weights/GAME)"
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="what runs the network: auto is the fastest that runs here, measured once and remembered, int8 only where "
        "driving has shown it to be as good; constant runs none and rolls slowly straight on (default: auto)",
    )
    parser.add_argument(
        "--threads",
        type=at_least_one,
        metavar="N",
        help="processor threads for the network (default: the engine's choice)",
    )


def _add_rate_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rate",
        type=_rate,
        metavar="HZ",
        help="control rate in Hz (default: the weights' own, in real time lowered to what this machine can hold)",
    )


def _add_seed_start_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seed-start", type=_seed, default=0, metavar="S", help="first track; the others follow it (default: 0)"
    )


def _add_json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text; units are in names")


def _positive(text: str) -> float:
    value = number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _not_negative(text: str) -> float:
    value = number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def _rate(text: str) -> float:
    value = _positive(text)
    if value > _MAX_RATE_HZ:
        raise argparse.ArgumentTypeError(f"{text} Hz is more than the {_MAX_RATE_HZ:g} Hz any loop here can pace")
    return value


def _engines(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    if unknown := [name for name in names if name not in _RUNTIMES]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is no engine, expected some of {', '.join(_RUNTIMES)}")
    return names


def _seed(text: str) -> int:
    return whole(text, 0, _MAX_SEED)


def _video(text: str) -> Path:
    return _with_suffix(text, _VIDEO_SUFFIXES)


def _png(text: str) -> Path:
    return _with_suffix(text, (".png",))


def _with_suffix(text: str, suffixes: tuple[str, ...]) -> Path:
    path = Path(text)
    if path.suffix.lower() not in suffixes:
        raise argparse.ArgumentTypeError(f"{text!r} should end in {' or '.join(suffixes)}")
    return path


# --- what the commands share ------------------------------------------------------------------------------------------


def _make_engine(arguments: argparse.Namespace, game: str) -> "Engine":
    """Load the network; ``game`` names the shipped weights where none are given."""
    name: str = arguments.engine
    threads: int | None = arguments.threads
    if name == "constant":
        from agent.engines.constant import ConstantEngine

        return ConstantEngine(ModelSpec(name="constant", backbone="none", game=game), _CONSTANT_CONTROLS)
    folder = arguments.weights if arguments.weights is not None else _shipped_weights(game)
    spec = ModelSpec.load(folder)
    if spec.outputs != STEERING_THROTTLE_BRAKE:
        raise SpecError(
            f"{folder} predicts {', '.join(spec.output_names)}, expected steering, throttle, brake in their ranges. "
            "Pass a model that drives with --weights."
        )
    if spec.game != game:
        _note(f"{folder} was trained on {spec.game}, not on {game}: expect little")
    if name == "auto":
        from agent.engines.choice import choose_engine

        return choose_engine(spec, threads, lambda candidate: _load_engine(candidate, folder, threads), _note)
    try:
        return _load_engine(name, folder, threads)
    except ImportError as exc:
        raise EngineError(
            f"the engine {name} cannot be imported ({exc}), expected its library to be installed. "
            "For onnxruntime, `pip install '.[onnxruntime]'`; for tensorflow, `pip install '.[training]'`; "
            "or choose another with --engine."
        ) from exc


def _load_engine(name: str, folder: Path, threads: int | None) -> "Engine":
    if name == "tensorflow":
        # Read once, at the import: TensorFlow greets with a page of notes on the processor and on GPUs it lacks.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        from agent.engines.tensorflow import TensorFlowEngine

        return TensorFlowEngine(folder, threads)
    if name.startswith("onnxruntime"):
        from agent.engines.onnxruntime import DEVICES, OnnxRuntimeEngine

        device = next((known for known in DEVICES if name.endswith(known)), DEVICES[0])
        return OnnxRuntimeEngine(folder, "int8" if name.endswith("-int8") else "f32", threads, device)

    from agent.engines.openvino import OpenVinoEngine

    if name == "openvino-bf16":
        return OpenVinoEngine(folder, "bf16", threads)
    return OpenVinoEngine(folder, "int8" if name == "openvino-int8" else "f32", threads)


def _shipped_weights(game: str) -> Path:
    """Return the folder below the current directory if there is one, or else the source checkout's."""
    folder = Path("model_weights") / game
    return folder if folder.exists() else Path(__file__).resolve().parents[1] / folder


def _hold_ticks(rate_hz: float, simulator: "Simulator") -> int:
    """Return the whole number of physics ticks that comes closest to the rate's period; say so if it is not exact."""
    ticks = max(1, round(1.0 / (rate_hz * simulator.tick_s)))
    nearest_hz = 1.0 / (ticks * simulator.tick_s)
    if not math.isclose(nearest_hz, rate_hz, rel_tol=1e-6):
        _note(
            f"{rate_hz:g} Hz is no whole number of the game's ticks of {simulator.tick_s * 1e3:g} ms: deciding every "
            f"{ticks}, at {nearest_hz:.4g} Hz"
        )
    return ticks


def _settle_rate(asked_hz: float | None, engine: "Engine") -> tuple[float, float]:
    """Warm the network up beside the waiting, drawing game; return the rate to use and seconds a forward pass."""
    from agent.loop import sustainable_rate, warm_up

    inference_s = warm_up(engine)
    wanted_hz = asked_hz if asked_hz is not None else engine.spec.rate_hz
    rate_hz = sustainable_rate(wanted_hz, inference_s)
    if rate_hz == wanted_hz:
        return wanted_hz, inference_s
    found = f"a forward pass takes up to {inference_s * 1e3:.0f} ms here, good for {rate_hz:g} Hz"
    if asked_hz is not None:
        _note(f"{found}; driving at {asked_hz:g} Hz all the same, as asked")
        return asked_hz, inference_s
    _note(f"{found}: driving at that instead of the weights' own {wanted_hz:g} Hz (--rate HZ insists)")
    return rate_hz, inference_s


def _exit_code(interrupted: bool, problems: Sequence[str]) -> int:
    """Return how a finished drive ends; an output that was asked for and is not there makes it an error."""
    if problems:
        more = f" ({len(problems) - 1} more above)" if len(problems) > 1 else ""
        _note(f"error: an output of the drive failed: {problems[0]}{more}")
    if interrupted:
        return EXIT_INTERRUPTED
    return EXIT_ERROR if problems else EXIT_DONE


# --- drive ------------------------------------------------------------------------------------------------------------


def _drive(arguments: argparse.Namespace) -> int:
    from agent.games.realtime import RealTimeGame
    from agent.live import drive_laps

    game = find_game(arguments.game)
    seeds: Iterable[int] = itertools.count(arguments.seed)
    if arguments.seconds is None:
        seeds = itertools.islice(seeds, arguments.laps or 1)
    controller = None
    if arguments.dry_run:
        from agent.controllers.memory import MemoryController

        controller = MemoryController()
    laps: list[Lap] = []
    files: dict[int, list[Path]] = {}  # by seed
    interrupted = False
    with (
        RealTimeGame(game.make_simulator, arguments.seed) as running,  # starts up while the network is being loaded
        closing(_make_engine(arguments, game.name)) as engine,
    ):
        running.wait_until_ready()
        rate_hz, inference_s = _settle_rate(arguments.rate, engine)

        def observers_for(seed: int, stats: "TickStats") -> "list[TickObserver]":
            files[seed] = []
            return _drive_observers(arguments, running, engine, rate_hz, seed, stats, files[seed])

        try:
            for lap in drive_laps(running, engine, rate_hz, seeds, controller, observers_for, arguments.seconds):
                laps.append(lap)
                if not arguments.json:
                    _say(_describe_lap(lap, files[lap.seed]))
        except KeyboardInterrupt:
            interrupted = True
        if arguments.json:
            _say_json(_drive_report(arguments, running, engine, rate_hz, inference_s, laps, files, interrupted))
    returns = _returns(laps)
    if not arguments.json and len(returns) > 1:
        _say(f"{len(returns)} laps: mean return {sum(returns) / len(returns):.1f}, minimum {min(returns):.1f}")
    return _exit_code(interrupted, [problem for lap in laps for problem in lap.summary.problems])


def _returns(laps: "list[Lap]") -> list[float]:
    """Return the returns of the laps that came to their end, or else of the one that was cut short."""
    ended = [lap for lap in laps if lap.state.outcome != "driving"]
    return [lap.state.episode_return for lap in ended or laps]


def _left_behind(lap: "Lap", files: list[Path]) -> list[Path]:
    """Return which of a lap's files are its own and not an earlier drive's, left alone by a failure."""
    problems = lap.summary.problems
    return [path for path in files if path.exists() and not any(path.name in problem for problem in problems)]


def _drive_observers(
    arguments: argparse.Namespace,
    running: "RealTimeGame",
    engine: "Engine",
    rate_hz: float,
    seed: int,
    stats: "TickStats",
    files: list[Path],
) -> "list[TickObserver]":
    """Return the side jobs of a lap; the files that they will have left behind are appended to ``files``."""
    from agent.observers.status import StatusLine

    observers: list[TickObserver] = [StatusLine(stats)]
    if arguments.record is not None:
        from agent.contract.episode import EpisodeHeader
        from agent.observers.episode_writer import EpisodeRecorder

        def telemetry() -> tuple[float | None, dict[str, float]]:
            state = running.source.state
            return state.speed, state.telemetry

        # With the time of day, because two drives on one track are two recordings.
        path = arguments.record / f"{arguments.game}-{seed}-{time.strftime('%Y%m%d-%H%M%S')}.parquet"
        header = EpisodeHeader(arguments.game, f"policy:{engine.spec.name}", rate_hz, seed)
        observers.append(EpisodeRecorder(path, header, telemetry))
        files.append(path)
    if arguments.video is not None:
        from agent.observers.video import VideoWriter

        film: Path = arguments.video
        several_laps = arguments.seconds is not None or (arguments.laps or 1) > 1
        if several_laps:
            film = film.with_stem(f"{film.stem}-{seed}")
        observers.append(VideoWriter(film, rate_hz))
        files.append(film)
    if arguments.show_input is not None:
        from agent.observers.show_input import ShowInput

        observers.append(ShowInput(arguments.show_input))
        files.append(arguments.show_input)
    return observers


def _describe_lap(lap: "Lap", files: list[Path]) -> str:
    state = lap.state
    stats = lap.summary.stats
    timing = stats.summarise()
    lines = [
        f"track {lap.seed}: return {state.episode_return:.1f}, {_ENDINGS[state.outcome]} after {state.time_s:.1f} s, "
        f"{state.progress:.0%} of the track",
        f"  {timing.rate_hz:.2f} Hz of {1 / timing.period_s:g} Hz | period {timing.interval_mean_s * 1e3:.2f} ± "
        f"{timing.interval_sd_s * 1e3:.2f} ms | latency p50 {timing.latency_p50_s * 1e3:.0f} ms, "
        f"p99 {timing.latency_p99_s * 1e3:.0f} ms | missed {stats.missed}/{stats.deadlines}",
    ]
    lines += [f"  wrote {path}" for path in _left_behind(lap, files)]
    return "\n".join(lines + [f"  {problem}" for problem in lap.summary.problems])


def _drive_report(
    arguments: argparse.Namespace,
    running: "RealTimeGame",
    engine: "Engine",
    rate_hz: float,
    inference_s: float,
    laps: "list[Lap]",
    files: dict[int, list[Path]],
    interrupted: bool,
) -> dict[str, Any]:
    from agent.live import overall_timing

    report: dict[str, Any] = {
        "game": arguments.game,
        "model": engine.spec.name,
        "engine": engine.name,
        "rate_asked_hz": arguments.rate if arguments.rate is not None else engine.spec.rate_hz,
        "rate_used_hz": rate_hz,
        "inference_s": inference_s,
        "interrupted": interrupted,
        "peak_memory_mb": peak_memory_mb(),
        "game_peak_memory_mb": running.peak_memory_mb,
    }
    if laps:
        report |= {
            "process_start_to_first_decision_s": _startup_s(arguments, laps[0].first_decision_ns),
            "return": sum(_returns(laps)) / len(_returns(laps)),
            "outcome": laps[-1].state.outcome,
            "timing": overall_timing(laps),
        }
    rows = [lap.to_dict() | {"files": [str(path) for path in _left_behind(lap, files[lap.seed])]} for lap in laps]
    return {**report, "laps": rows}


def _startup_s(arguments: argparse.Namespace, first_decision_ns: int | None) -> float | None:
    if first_decision_ns is None or arguments.started_ns is None:
        return None
    started_ns: int = arguments.started_ns
    return (first_decision_ns - started_ns) / 1e9


# --- evaluate ---------------------------------------------------------------------------------------------------------


def _evaluate(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from agent.evaluation import EvaluationReport

    game = find_game(arguments.game)
    seeds = range(arguments.seed_start, arguments.seed_start + arguments.tracks)
    results: list[TrackResult] = []
    facts: dict[str, Any] = {"real_time": arguments.real_time, "interrupted": False}
    terminal = Console(stderr=True)
    bar = Progress(
        "tracks",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[mean]}"),
        console=terminal,
        disable=not terminal.is_terminal,
    )
    task = bar.add_task("tracks", total=len(seeds), mean="")

    def count(result: "TrackResult") -> None:
        results.append(result)
        mean = sum(track.episode_return for track in results) / len(results)
        bar.update(task, advance=1, mean=f"mean {mean:.1f}, last {result.episode_return:.1f}")
        if not terminal.is_terminal:
            done = f"{len(results)} of {len(seeds)}, mean {mean:.1f}"
            _note(f"track {result.seed}: return {result.episode_return:.1f} ({done})")

    run = _evaluate_in_real_time if arguments.real_time else _evaluate_in_lockstep
    with ExitStack() as stack:
        engine = stack.enter_context(closing(_make_engine(arguments, game.name)))
        stack.enter_context(bar)
        try:
            run(arguments, game, engine, seeds, count, facts)
        except KeyboardInterrupt:
            facts["interrupted"] = True
        if not results:
            raise KeyboardInterrupt
        model, engine_name = engine.spec.name, engine.name
    report = EvaluationReport(model, engine_name, game.name, 1.0 / facts["rate_used_hz"], tuple(results))
    if arguments.json:
        _say_json({**report.to_dict(), **facts, "peak_memory_mb": peak_memory_mb()})
    else:
        Console().print(report.table())
        for track in results:
            for problem in track.problems:
                _say(f"track {track.seed}: {problem}")
    return _exit_code(facts["interrupted"], [problem for track in results for problem in track.problems])


def _evaluate_in_lockstep(
    arguments: argparse.Namespace,
    game: Game,
    engine: "Engine",
    seeds: range,
    count: "Callable[[TrackResult], None]",
    facts: dict[str, Any],
) -> None:
    from agent.evaluation import evaluate

    simulator = game.make_simulator()
    hold_ticks = _hold_ticks(arguments.rate if arguments.rate is not None else engine.spec.rate_hz, simulator)
    rate_hz = 1.0 / (hold_ticks * simulator.tick_s)
    facts["rate_used_hz"] = rate_hz

    def observers_for(seed: int) -> "list[TickObserver]":
        return _film(arguments, seed, rate_hz)

    evaluate(lambda: simulator, engine, seeds, hold_ticks, count, observers_for)


def _evaluate_in_real_time(
    arguments: argparse.Namespace,
    game: Game,
    engine: "Engine",
    seeds: range,
    count: "Callable[[TrackResult], None]",
    facts: dict[str, Any],
) -> None:
    from agent.evaluation import track_result
    from agent.games.realtime import RealTimeGame
    from agent.live import drive_laps, overall_timing

    with RealTimeGame(game.make_simulator, seeds[0]) as running:
        running.wait_until_ready()
        rate_hz, facts["inference_s"] = _settle_rate(arguments.rate, engine)
        facts["rate_used_hz"] = rate_hz

        def observers_for(seed: int, stats: "TickStats") -> "list[TickObserver]":
            return _film(arguments, seed, rate_hz)

        laps = []
        for lap in drive_laps(running, engine, rate_hz, seeds, observers_for=observers_for):
            if lap.state.outcome == "driving":
                continue  # interrupted: no result, and the next round says so
            laps.append(lap)
            facts["timing"] = overall_timing(laps)
            count(track_result(lap.seed, lap.state, lap.summary, lap.mean_speed))


def _film(arguments: argparse.Namespace, seed: int, rate_hz: float) -> "list[TickObserver]":
    if arguments.video is None:
        return []
    from agent.observers.video import VideoWriter

    return [VideoWriter(arguments.video / f"{arguments.game}-{seed}.mp4", rate_hz)]


def _film_models(arguments: argparse.Namespace) -> int:
    from agent.film import drive_for_film, side_by_side
    from agent.observers.video import ANIMATION_FRAMES, FilmFile

    game = find_game(arguments.game)
    folders = [folder.resolve() for folder in arguments.models]
    same_names = len({folder.name for folder in folders}) < len(folders)
    films = []
    with closing(game.make_simulator()) as simulator, ExitStack() as stack:
        rates_hz = {ModelSpec.load(folder).rate_hz for folder in folders}
        if len(rates_hz) > 1:
            listed = ", ".join(f"{rate:g}" for rate in sorted(rates_hz))
            raise SpecError(f"the models decide at {listed} Hz, expected one rate for one film. Film them apart.")
        hold_ticks = _hold_ticks(rates_hz.pop(), simulator)
        rate_hz = 1.0 / (hold_ticks * simulator.tick_s)
        pictures = arguments.seconds * rate_hz / arguments.every
        if arguments.out.suffix.lower() != ".mp4" and pictures > ANIMATION_FRAMES:
            raise AgentError(
                f"up to {pictures:.0f} pictures, an animated one holds {ANIMATION_FRAMES}. Film fewer --seconds, keep "
                "only --every 2nd, or write an .mp4."
            )
        film = stack.enter_context(FilmFile(arguments.out, rate_hz / arguments.every))
        for folder in folders:
            arguments.weights = folder
            caption = f"{folder.parent.name}/{folder.name}" if same_names else folder.name
            with closing(_make_engine(arguments, game.name)) as engine:
                films.append(
                    drive_for_film(
                        simulator, engine, arguments.seed, hold_ticks, caption, arguments.scale, arguments.seconds
                    )
                )
            state = simulator.state
            _say(f"{folder}: {state.outcome} after {state.time_s:.1f} s, return {state.episode_return:.1f}")
        for picture in side_by_side(films, arguments.every):
            film.write(picture)
    return EXIT_DONE


# --- record and replay ------------------------------------------------------------------------------------------------


def _compare(arguments: argparse.Namespace) -> int:
    from agent.comparison import compare_reports, load_report

    sides = arguments.first, arguments.second
    comparison = compare_reports(*([load_report(path) for path in side] for side in sides))
    if arguments.json:
        _say(comparison.to_json().rstrip())
    else:
        from rich.console import Console

        Console().print(comparison.table())
    return 0


def _record(arguments: argparse.Namespace) -> int:
    from agent.recording import ExpertEngine, record_episodes

    game = find_game(arguments.game)
    seeds = range(arguments.seed_start, arguments.seed_start + arguments.episodes)
    with closing(game.make_simulator()) as simulator, ExitStack() as stack:
        engine: Engine
        if arguments.driver == "expert":
            engine = ExpertEngine(find_expert()(simulator), simulator)
        else:
            engine = stack.enter_context(closing(_make_engine(arguments, game.name)))
        hold_ticks = _hold_ticks(engine.spec.rate_hz, simulator)
        for path, state in record_episodes(simulator, engine, seeds, hold_ticks, arguments.out):
            _say(f"{path}: return {state.episode_return:.1f}, {_ENDINGS[state.outcome]} after {state.time_s:.1f} s")
    return EXIT_DONE


def _replay(arguments: argparse.Namespace) -> int:
    from agent.contract.episode import Episode
    from agent.replay import compare_with_reference, replay, save_reference

    episode = Episode.open(arguments.episode)
    if episode.recovered:
        _note(episode.recovered)
    with closing(_make_engine(arguments, episode.header.game)) as engine:
        report = replay(episode, engine)
        spec = engine.spec
    if arguments.write_reference is not None:
        save_reference(arguments.write_reference, report, spec)
    comparison = None
    if arguments.reference is not None:
        comparison = compare_with_reference(arguments.reference, report, arguments.tolerance)
    if arguments.json:
        compared = None if comparison is None else {"passed": comparison.passed, **asdict(comparison)}
        _say_json({**json.loads(report.to_json()), "comparison": compared})
    else:
        _say(_describe_replay(report))
        if comparison is not None:
            _say(comparison.message)
    return EXIT_DONE if comparison is None or comparison.passed else EXIT_ERROR


def _describe_replay(report: "ReplayReport") -> str:
    lines = [f"{report.episode}: {len(report.predictions)} frames, engine {report.engine}"]
    for name, output in report.outputs.items():
        correlation = "undefined" if output.correlation is None else f"{output.correlation:.3f}"
        lines.append(
            f"  {name}: mean error {output.mean_absolute_error:.4f}, largest {output.max_error:.4f} "
            f"(frame {output.max_error_row}), correlation {correlation}"
        )
    stages = ", ".join(f"{name} {stage.median_ms:.2f} / {stage.p99_ms:.2f}" for name, stage in report.stages.items())
    return "\n".join([*lines, f"  ms per frame, median / p99: {stages}"])


# --- bench ------------------------------------------------------------------------------------------------------------


def _bench(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from agent.arithmetic import multiply_adds
    from agent.bench import GAME_SEED, baseline_names, make_baseline, run_bench
    from agent.engines.model_folder import open_model_folder
    from agent.games.realtime import RealTimeGame

    if arguments.plot is not None and not find_spec("matplotlib"):  # before minutes of measuring
        raise EngineError("--plot needs matplotlib: `pip install '.[training]'`, or leave it out.")
    game = find_game("carracing")
    folder = arguments.weights if arguments.weights is not None else _shipped_weights(game.name)
    spec, graph = open_model_folder(folder)
    threads: int | None = arguments.threads
    names = arguments.engines if arguments.engines is not None else _installed_engines()
    engines = {name: functools.partial(_load_engine, name, folder, threads) for name in names}
    baselines: tuple[str, ...] = ()
    if arguments.with_keras and find_spec("tensorflow") is None:
        _note("keras-predict and tf-function are left out: TensorFlow is not installed (`pip install '.[training]'`)")
    elif arguments.with_keras:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # inherited by the processes; see _load_engine
        os.environ["KERAS_BACKEND"] = "tensorflow"  # or Keras would be timed on what else the user trains with
        baselines = baseline_names()
        engines |= {name: functools.partial(make_baseline, name, folder, threads) for name in baselines}

    def skip(reason: str) -> None:
        if arguments.engines is not None:
            raise EngineError(reason)
        _note(reason)

    terminal = Console(stderr=True)
    bar = Progress(
        "turns",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=terminal,
        disable=not terminal.is_terminal,
    )
    task = bar.add_task("turns", total=None)
    with ExitStack() as stack:
        running = None
        if arguments.beside_game:
            running = stack.enter_context(RealTimeGame(game.make_simulator, GAME_SEED))
            running.wait_until_ready()
        stack.enter_context(bar)
        report = run_bench(
            spec.name,
            multiply_adds(graph),
            engines,
            arguments.rounds,
            threads,
            running,
            baselines,
            skip,
            lambda total: bar.update(task, advance=1, total=total),
        )
    if arguments.json:
        _say_json(report.to_dict())
    else:
        console = Console(markup=False)
        for part in report.render():
            console.print(part, highlight=False)
    if arguments.plot is not None:
        report.plot(arguments.plot)
    return EXIT_DONE


def _installed_engines() -> list[str]:
    """Return what runs a network here, as far as the installed packages tell."""
    names = [name for name in _RUNTIMES if not name.startswith("onnxruntime") and find_spec(name.partition("-")[0])]
    if find_spec("onnxruntime"):
        from agent.engines.onnxruntime import available_devices

        others = [f"onnxruntime-{device}" for device in available_devices() if device != "cpu"]
        names += ["onnxruntime", "onnxruntime-int8", *others]
    return names
