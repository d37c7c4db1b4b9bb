"""What the commands share: options, loading the network, talking to the user."""

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.arguments import at_least_one, number, whole
from agent.contract.controls import Controls
from agent.contract.errors import EngineError, GameError, SpecError
from agent.contract.profile import Capture, GameProfile, Region
from agent.contract.spec import STEERING_THROTTLE_BRAKE, ModelSpec
from agent.games.registry import game_names
from agent.process import pin_to, raise_priority

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

    from agent.engines.base import Engine
    from agent.games.base import Simulator

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
RUNTIMES = tuple(name for name in ENGINES if name not in ("auto", "constant"))
EXIT_DONE, EXIT_ERROR, EXIT_FAULT, EXIT_INTERRUPTED = 0, 1, 3, 130

CONSTANT_CONTROLS = Controls(0.0, 0.1, 0.0)  # slowly straight on: tries out everything but the network
_MAX_SEED = 2**32 - 1
_MAX_RATE_HZ = 1000.0
_VIDEO_SUFFIXES = (".mp4", ".webp", ".gif")

ENDINGS = {
    "lap": "lap finished",
    "left": "left the field",
    "timeout": "not finished in time",
    "driving": "stopped on the way",
}


def say(text: str) -> None:
    """Write a result to standard output."""
    sys.stdout.write(text.rstrip("\n") + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Write progress or a problem to standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def say_json(report: dict[str, Any]) -> None:
    say(json.dumps(report, indent=2, allow_nan=False))


def add_command(
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


def add_engine_options(parser: argparse.ArgumentParser, game: bool = True) -> None:
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


def add_rate_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rate",
        type=control_rate,
        metavar="HZ",
        help="control rate in Hz (default: the weights' own, in real time lowered to what this machine can hold)",
    )


def add_processor_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("beside other programs")
    group.add_argument(
        "--high-priority",
        action="store_true",
        help="have the system prefer this program; on Linux it needs the right to",
    )
    group.add_argument(
        "--cores",
        type=cores,
        metavar="A,B",
        help="keep it on these processor cores, from 0 (Linux, Windows); give the game the others",
    )


def add_seed_start_option(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--seed-start", type=track_seed, default=0, metavar="S", help="first track; the others follow it (default: 0)"
    )


def add_json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text; units are in names")


def positive(text: str) -> float:
    value = number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def not_negative(text: str) -> float:
    value = number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def control_rate(text: str) -> float:
    value = positive(text)
    if value > _MAX_RATE_HZ:
        raise argparse.ArgumentTypeError(f"{text} Hz is more than the {_MAX_RATE_HZ:g} Hz any loop here can pace")
    return value


def cores(text: str) -> tuple[int, ...]:
    """Parse ``0,1``."""
    return tuple(dict.fromkeys(whole(part, 0, 4095) for part in text.split(",")))


def track_seed(text: str) -> int:
    return whole(text, 0, _MAX_SEED)


def video_path(text: str) -> Path:
    return _with_suffix(text, _VIDEO_SUFFIXES)


def png_path(text: str) -> Path:
    return _with_suffix(text, (".png",))


def _with_suffix(text: str, suffixes: tuple[str, ...]) -> Path:
    path = Path(text)
    if path.suffix.lower() not in suffixes:
        raise argparse.ArgumentTypeError(f"{text!r} should end in {' or '.join(suffixes)}")
    return path


def make_engine(arguments: argparse.Namespace, game: str) -> "Engine":
    """Load the network; ``game`` names the shipped weights where none are given."""
    name: str = arguments.engine
    threads: int | None = arguments.threads
    if name == "constant":
        from agent.engines.constant import ConstantEngine

        return ConstantEngine(ModelSpec(name="constant", backbone="none", game=game), CONSTANT_CONTROLS)
    folder = arguments.weights if arguments.weights is not None else shipped_weights(game)
    spec = ModelSpec.load(folder)
    if spec.outputs != STEERING_THROTTLE_BRAKE:
        raise SpecError(
            f"{folder} predicts {', '.join(spec.output_names)}, expected steering, throttle, brake in their ranges. "
            "Pass a model that drives with --weights."
        )
    if spec.game != game:
        note(f"{folder} was trained on {spec.game}, not on {game}: expect little")
    try:
        if name == "auto":
            from agent.engines.choice import choose_engine

            return choose_engine(spec, threads, lambda candidate: load_engine(candidate, folder, threads), note)
        return load_engine(name, folder, threads)
    except ImportError as exc:
        raise EngineError(
            f"the engine {name} cannot be imported ({exc}), expected its library to be installed. "
            "For onnxruntime, `pip install '.[onnxruntime]'`; for tensorflow, `pip install '.[training]'`; "
            "or choose another with --engine."
        ) from exc


def load_engine(name: str, folder: Path, threads: int | None) -> "Engine":
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


def shipped_weights(game: str) -> Path:
    """Return the folder below the current directory if there is one, or else the source checkout's."""
    folder = Path("model_weights") / game
    return folder if folder.exists() else Path(__file__).resolve().parents[2] / folder


def nearest_hold_ticks(rate_hz: float, simulator: "Simulator") -> int:
    """Return the whole number of physics ticks that comes closest to the rate's period; say so if it is not exact."""
    ticks = max(1, round(1.0 / (rate_hz * simulator.tick_s)))
    nearest_hz = 1.0 / (ticks * simulator.tick_s)
    if not math.isclose(nearest_hz, rate_hz, rel_tol=1e-6):
        note(
            f"{rate_hz:g} Hz is no whole number of the game's ticks of {simulator.tick_s * 1e3:g} ms: deciding every "
            f"{ticks}, at {nearest_hz:.4g} Hz"
        )
    return ticks


def settle_rate(asked_hz: float | None, engine: "Engine") -> tuple[float, float]:
    """Warm the network up beside the waiting, drawing game; return the rate to use and seconds a forward pass."""
    from agent.loop import sustainable_rate, warm_up

    inference_s = warm_up(engine)
    wanted_hz = asked_hz if asked_hz is not None else engine.spec.rate_hz
    rate_hz = sustainable_rate(wanted_hz, inference_s)
    if rate_hz == wanted_hz:
        return wanted_hz, inference_s
    found = f"a forward pass takes up to {inference_s * 1e3:.0f} ms here, good for {rate_hz:g} Hz"
    if asked_hz is not None:
        note(f"{found}; driving at {asked_hz:g} Hz all the same, as asked")
        return asked_hz, inference_s
    note(f"{found}: driving at that instead of the weights' own {wanted_hz:g} Hz (--rate HZ insists)")
    return rate_hz, inference_s


def claim_priority(arguments: argparse.Namespace) -> None:
    """Raise the priority if that is asked for; say so if it cannot be."""
    if arguments.high_priority and (problem := raise_priority()):
        note(f"{problem}; driving at normal priority")


def claim_cores(arguments: argparse.Namespace) -> None:
    """Keep to the cores that were asked for; say so if that cannot be."""
    if arguments.cores is not None and (problem := pin_to(arguments.cores)):
        note(f"{problem}; driving on any")


def region(text: str) -> Region:
    """Parse ``left,top,width,height`` in pixels."""
    parts = text.split(",")
    try:
        return Region(*map(int, parts))
    except (TypeError, ValueError, GameError):
        raise argparse.ArgumentTypeError(f"{text!r} is no region, expected left,top,width,height in pixels") from None


def add_capture_options(parser: argparse.ArgumentParser) -> None:
    """Add where to look, for a game in a window, instead of what its profile says."""
    group = parser.add_argument_group("games in a window", "what the game's profile says, unless given here")
    where = group.add_mutually_exclusive_group()
    where.add_argument("--window", metavar="TITLE", help="part of the window's title")
    where.add_argument("--monitor", type=at_least_one, metavar="N", help="a whole monitor instead, from 1")
    group.add_argument(
        "--region", type=region, metavar="L,T,W,H", help="left, top, width, height in pixels, inside of that"
    )


def where_to_look(arguments: argparse.Namespace, profile: GameProfile) -> Capture:
    """Return what to capture: the profile's, with what was given on the command line in its place."""
    capture = profile.capture or Capture()
    if arguments.window is not None:
        capture = replace(capture, window=arguments.window)
    elif arguments.monitor is not None:
        capture = Capture(None, arguments.monitor, capture.region)
    return capture if arguments.region is None else replace(capture, region=arguments.region)


def progress_bar(name: str, *columns: "ProgressColumn") -> "Progress":
    """Return a bar on standard error, further columns last; it shows nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    terminal = Console(stderr=True)
    parts = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), *columns)
    return Progress(name, *parts, console=terminal, disable=not terminal.is_terminal)


def exit_code(interrupted: bool, problems: Sequence[str], fault: str | None = None) -> int:
    """Return how a drive that began has ended; an output that was asked for and is not there makes it an error.

    Args:
        interrupted: Whether by Ctrl-C.
        problems: What failed beside the driving.
        fault: What the driving failed by.
    """
    if problems:
        more = f" ({len(problems) - 1} more above)" if len(problems) > 1 else ""
        note(f"error: an output of the drive failed: {problems[0]}{more}")
    if fault is not None:
        note(f"fault, controls neutral: {fault}")
        return EXIT_FAULT
    if interrupted:
        return EXIT_INTERRUPTED
    return EXIT_ERROR if problems else EXIT_DONE
