"""``fit``: train a network."""

import argparse
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.commands.numbers import at_least_one, number, whole
from agent.contract.errors import AgentError, GameError, TrainingError
from agent.contract.profile import Rectangle
from training.commands.common import progress_bar, tell
from training.data.balancing.registry import RULE_NAMES
from training.data.buffers import CAPACITY
from training.fitting.config import STEPS

if TYPE_CHECKING:
    from agent.games.base import Simulator


def add_to(commands: Any) -> None:
    """Add the command to the program's subcommands."""
    parser = commands.add_parser(
        "fit",
        help="train a network; the same command goes on with an interrupted run",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m training fit --data data/expert --out runs/first --width 240 --height 135",
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="DIR", help="folders with episodes")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the run's folder")
    parser.add_argument("--backbone", default="xception", metavar="NAME", help="network body (default: xception)")
    parser.add_argument(
        "--init", default="none", metavar="none|imagenet|DIR", help="start from a model or run folder (default: none)"
    )
    parser.add_argument("--width", type=at_least_one, default=480, metavar="PX", help="trained at (default: 480)")
    parser.add_argument("--height", type=at_least_one, default=270, metavar="PX", help="trained at (default: 270)")
    parser.add_argument("--batch", type=at_least_one, default=16, metavar="N", help="samples a step (default: 16)")
    parser.add_argument("--steps", type=at_least_one, default=2000, metavar="N", help="steps in all (default: 2000)")
    parser.add_argument(
        "--steps-per-round", type=at_least_one, default=200, metavar="N", help="between checkpoints (200)"
    )
    parser.add_argument("--learning-rate", type=_rate, default=1e-3, metavar="X", help="peak (default: 0.001)")
    parser.add_argument("--warmup-steps", type=at_least_one, default=100, metavar="N", help="steps to the peak (100)")
    parser.add_argument(
        "--ema", type=_momentum, default=0.99, metavar="X", help="momentum of the averaged weights (0.99)"
    )
    parser.add_argument(
        "--balance",
        choices=RULE_NAMES,
        default="none",
        help="what the network is fed: none, samples as they come; v1 to v4, samples balanced by their labels; "
        "reweight, labels weighted by how rare they are; `balance` shows each beforehand (default: none)",
    )
    parser.add_argument(
        "--step",
        choices=STEPS,
        default="joint",
        help="joint: all heads on one batch; helper: a batch and a helper model for each output (default: joint)",
    )
    parser.add_argument(
        "--buffer",
        type=at_least_one,
        default=CAPACITY,
        metavar="N",
        help=f"samples waiting to be drawn, for each feed; fewer where the data are (default: {CAPACITY})",
    )
    parser.add_argument(
        "--game", default="carracing", help="profile of the game the episodes are of (default: carracing)"
    )
    parser.add_argument("--no-auxiliary", action="store_true", help="do not predict telemetry during training")
    parser.add_argument("--no-flip", action="store_true", help="do not mirror pictures")
    parser.add_argument(
        "--colours",
        type=float,
        default=0.0,
        metavar="X",
        help="change light and colours, for roads that no episode shows: 0 not at all, 1 much (default: 0)",
    )
    parser.add_argument(
        "--freeze",
        default="",
        metavar="LAYER",
        help="keep this layer of the backbone and all before it as --init has them, which makes steps cheaper: add_2 "
        "is the end of Xception's entry flow, add_10 of its middle one (default: train all)",
    )
    parser.add_argument(
        "--importance",
        type=_importance,
        action="append",
        default=[],
        metavar="OUTPUT=X",
        help="what an output's loss counts against the others', after each was divided by how much its labels vary; "
        "repeatable; counts in the validation loss as well. Lower it for one whose few rare values drown the others "
        "(default: 1 for each)",
    )
    parser.add_argument(
        "--erase",
        type=_at_least_zero,
        default=0,
        metavar="N",
        help="paint up to N random rectangles over every picture, for roads that no episode shows (default: 0)",
    )
    parser.add_argument(
        "--mask",
        type=_mask,
        action="append",
        metavar="L,T,W,H",
        help="hide this part (fractions of the frame) instead of the game's own masks; repeatable; 'none': nothing",
    )
    parser.add_argument("--float32", action="store_true", help="compute in float32 (default: bfloat16 mixed)")
    parser.add_argument("--validation-episodes", type=at_least_one, default=2, metavar="N", help="never trained on (2)")
    parser.add_argument(
        "--tracks",
        type=_number_of_tracks,
        default=0,
        metavar="N",
        help="drive N tracks after a round and keep the best driver (default: 0)",
    )
    parser.add_argument(
        "--drive-every", type=at_least_one, default=1, metavar="N", help="rounds between drives (default: 1)"
    )
    parser.add_argument(
        "--patience",
        type=_at_least_zero,
        default=0,
        metavar="N",
        help="stop early after N drives in a row without a better return: on driving, not on loss; without --tracks "
        "after N rounds without a better validation loss (default: 0, never)",
    )
    parser.add_argument(
        "--seed", type=_seed, default=0, metavar="S", help="of order, flips and first weights (default: 0)"
    )
    parser.add_argument(
        "--keep-stages",
        action="store_true",
        help="keep the model of every round in DIR/stages, for `python -m agent film` (the full network: 48 MB each)",
    )
    together = parser.add_argument_group(
        "several processes",
        "share out every batch to N processes; needs JAX. Across machines it pays; on one it is for trying out: the "
        "processes share its cores, and each would claim every graphics card",
    )
    together.add_argument(
        "--workers",
        type=at_least_one,
        default=1,
        metavar="N",
        help="how many; without --worker all are started here (default: 1)",
    )
    together.add_argument(
        "--worker",
        type=_worker,
        metavar="I",
        help="across machines: repeat the command on each with its number, from 0, and one shared --out",
    )
    together.add_argument(
        "--coordinator", metavar="HOST:PORT", help="across machines: where worker 0 is found by the others"
    )
    parser.add_argument("--quiet", action="store_true", help="one line a round instead of a progress bar")
    parser.set_defaults(command=_run)


def _at_least_zero(text: str) -> int:
    return whole(text, 0)


def _number_of_tracks(text: str) -> int:
    return whole(text, 0, 10_000)


def _worker(text: str) -> int:
    return whole(text, 0)


def _seed(text: str) -> int:
    return whole(text, 0, 2**32 - 1)


def _rate(text: str) -> float:
    value = number(text, 0, 1)
    if value in (0, 1):
        raise argparse.ArgumentTypeError(f"{text} is out of range, expected a number between 0 and 1")
    return value


def _momentum(text: str) -> float:
    value = number(text, 0, 1)
    if value == 1:
        raise argparse.ArgumentTypeError("1 would never move the average, expected a momentum below 1")
    return value


def _importance(text: str) -> tuple[str, float]:
    output, _, value = text.partition("=")
    try:
        return output, number(value, 0.0)
    except argparse.ArgumentTypeError as exc:
        raise argparse.ArgumentTypeError(f"{text} is not OUTPUT=NUMBER, such as throttle=0.1 ({exc})") from None


def _mask(text: str) -> tuple[float, float, float, float] | None:
    if text == "none":
        return None
    try:
        left, top, width, height = (float(part) for part in text.split(","))
        Rectangle(left, top, width, height)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not LEFT,TOP,WIDTH,HEIGHT in fractions of the frame") from None
    except GameError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None
    return left, top, width, height


def _run(arguments: argparse.Namespace) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notes are not ours
    if arguments.workers > 1:
        if find_spec("jax") is None:
            raise TrainingError("--workers needs JAX, which is not installed: `pip install '.[jax]'`.")
        os.environ.setdefault("KERAS_BACKEND", "jax")
    if (arguments.worker is None) != (arguments.coordinator is None):
        raise TrainingError("--worker and --coordinator go together: which process this is, and where worker 0 is.")
    if arguments.worker is not None and arguments.workers < 2:
        raise TrainingError("--worker says which of several processes this is: say how many with --workers.")

    from agent.games.registry import find_game
    from training.fitting.config import FitConfig
    from training.fitting.distribution import ALONE, Team, local_team
    from training.fitting.fit import fit

    game = find_game(arguments.game)
    if arguments.tracks and game.make_simulator is None:
        raise TrainingError(f"--tracks drives a game that waits, and {game.name} waits for nobody: leave it out.")
    config = FitConfig(
        data=tuple(arguments.data),
        out=arguments.out,
        name=arguments.game,
        backbone=arguments.backbone,
        init=_weights_file(arguments.init),
        width_px=arguments.width,
        height_px=arguments.height,
        batch_size=arguments.batch,
        steps=arguments.steps,
        steps_per_round=arguments.steps_per_round,
        learning_rate=arguments.learning_rate,
        warmup_steps=arguments.warmup_steps,
        ema=arguments.ema,
        freeze=arguments.freeze,
        auxiliary=not arguments.no_auxiliary,
        masks=None if arguments.mask is None else tuple(mask for mask in arguments.mask if mask is not None),
        flip=not arguments.no_flip,
        colours=arguments.colours,
        erase=arguments.erase,
        importance=tuple(sorted(arguments.importance)),
        bfloat16=not arguments.float32,
        validation_episodes=arguments.validation_episodes,
        tracks=arguments.tracks,
        drive_every=arguments.drive_every,
        patience=arguments.patience,
        balance=arguments.balance,
        step=arguments.step,
        buffer_size=arguments.buffer,
        keep_stages=arguments.keep_stages,
        seed=arguments.seed,
    )
    drive = _closed_loop(game.simulator_maker(), config.driven_tracks) if config.tracks else None
    with ExitStack() as stack:
        team = ALONE
        if arguments.worker is not None:
            team = Team(arguments.worker, arguments.workers, arguments.coordinator)
        elif arguments.workers > 1:
            team = stack.enter_context(local_team(arguments.workers, arguments.command_line))
        preprocessed = stack.enter_context(_preprocessing_bar()) if team.is_first else None
        report = tell if team.is_first else _keep_silent
        result = fit(config, game.profile, drive, report, 2 if arguments.quiet else 1, preprocessed, team)
    if not team.is_first:
        return
    last = {key: value for key, value in result.history[-1].items() if math.isfinite(value)}
    print(json.dumps({"model": str(result.model), "last": last}))  # noqa: T201


def _keep_silent(line: str) -> None:
    pass


@contextmanager
def _preprocessing_bar() -> Iterator[Callable[[int, int], None]]:
    """Lend a function that shows (done, total) as a bar, which is gone before Keras draws its own."""
    progress = progress_bar()
    task = progress.add_task("episodes")

    def preprocessed(done: int, total: int) -> None:
        if done == 0:
            progress.start()
        progress.update(task, completed=done, total=total)
        if done == total:
            progress.stop()

    try:
        yield preprocessed
    finally:
        progress.stop()


def _weights_file(init: str) -> str:
    """Accept a model or run folder where a weights file is meant."""
    if init in ("none", "imagenet"):
        return init
    path = Path(init)
    for candidate in (path, path / "weights.safetensors", path / "best" / "weights.safetensors"):
        if candidate.is_file():
            return str(candidate)
    raise AgentError(f"--init {init} holds no weights.safetensors. Pass a model folder, a run folder or the file.")


def _closed_loop(make_simulator: "Callable[[], Simulator]", tracks: range) -> Callable[[Path], float]:
    """Return a function that drives an exported model over the validation tracks and returns the mean return."""
    from agent.engines.registry import load_engine
    from agent.policies.network import NetworkPolicy
    from agent.sessions.evaluation import evaluate

    def drive(folder: Path) -> float:
        policy = NetworkPolicy(load_engine("openvino", folder))
        try:
            simulator = make_simulator()
            hold_ticks = max(1, round(1.0 / (policy.spec.rate_hz * simulator.tick_s)))
            report = evaluate(lambda: simulator, policy, tracks, hold_ticks)
        finally:
            policy.close()
        tell(
            "drove " + ", ".join(f"{track.track or track.seed}: {track.episode_return:.0f}" for track in report.tracks)
        )
        return report.mean

    return drive
