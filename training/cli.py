"""The trainer's command line: collect episodes, fit a network, export it."""

import argparse
import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from agent.arguments import at_least_one, number, whole
from agent.contract.errors import AgentError, GameError, TrainingError
from agent.contract.profile import Rectangle
from training.balancing.registry import RULE_NAMES
from training.buffers import CAPACITY
from training.config import HELD_OUT_SEED, STEPS
from training.courses import GAMES

if TYPE_CHECKING:
    from rich.progress import Progress

    from agent.games.base import Simulator

_BATCH_NORM_PICTURES = 384  # batch statistics over this many move the predictions of two estimates by little
_BATCH_NORM_BATCH = 16
_CALIBRATION_PICTURES = 192  # int8 ranges from 8 are too few, 128 are enough
_CHECK_PICTURES = 128


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 0 done, 1 an error told in one line, 2 bad usage, 130 interrupted."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    arguments.command_line = sys.argv[1:] if argv is None else list(argv)
    command: Callable[[argparse.Namespace], None] = arguments.command
    try:
        command(arguments)
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept, the same command goes on", file=sys.stderr)  # noqa: T201
        return 130
    except AgentError as exc:
        return _report_error(str(exc), arguments.verbose)
    except (OSError, SafetensorError) as exc:  # a disk may fill up, or a folder be read-only, at any write
        return _report_error(
            f"{exc}: a file could not be read or written, expected readable data and an --out with room. Free space or "
            "choose another folder; what was finished is kept.",
            arguments.verbose,
        )
    return 0


def _report_error(message: str, verbose: bool) -> int:
    if verbose:
        traceback.print_exc()
    print(f"error: {message}", file=sys.stderr)  # noqa: T201
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description="Make the weights that `python -m agent drive` runs.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=(
            "a whole training, from nothing to a driving car:\n"
            "  python -m training collect --out data/expert --episodes 60\n"
            "  python -m training fit --data data/expert --out runs/first --width 240 --height 135 --tracks 3\n"
            "  python -m training collect --out data/dagger --seed-start 2000 --weights runs/first/best\n"
            "  python -m training fit --data data/expert data/dagger --out runs/second --init runs/first/best\n"
            "  python -m agent evaluate --weights runs/second/best --tracks 20"
        ),
    )
    parser.add_argument("--verbose", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    collect = commands.add_parser("collect", help="record the expert's driving, or label the network's (DAgger)")
    collect.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the episodes go")
    collect.add_argument("--game", choices=GAMES, default="carracing", help="what to drive (default: carracing)")
    collect.add_argument(
        "--track",
        nargs="+",
        default=[],
        metavar="NAME",
        help="tracks of a game whose tracks have names; seeds take turns with them (default: all that are trained on)",
    )
    collect.add_argument("--episodes", type=at_least_one, default=20, metavar="N", help="tracks (default: 20)")
    collect.add_argument("--seed-start", type=_track, default=0, metavar="S", help="first track's seed (default: 0)")
    collect.add_argument(
        "--noise", type=_noise, default=1.0, metavar="X", help="disturbances: 0 none, 1 about one a second (default: 1)"
    )
    collect.add_argument("--weights", type=Path, metavar="DIR", help="DAgger: this model drives, the expert labels")
    collect.add_argument(
        "--expert-share", type=_share, default=0.0, metavar="X", help="DAgger: share the expert drives (default: 0)"
    )
    collect.add_argument(
        "--expert",
        default="",
        metavar="NAME",
        help="who labels, and drives without --weights; of supertuxkart: road, who keeps to the middle of the road "
        "(the default), or built-in, the game's own driver; other games have but one",
    )
    collect.add_argument(
        "--disguise",
        action="store_true",
        help="repaint supertuxkart's textures for every three episodes (a worker's share at a time), for roads that no "
        "track shows; the installed game stays as it is; 90 MB a worker beside the episodes",
    )
    collect.add_argument("--workers", type=at_least_one, default=2, metavar="N", help="processes (default: 2)")
    collect.set_defaults(command=_collect)

    balance = commands.add_parser(
        "balance",
        help="show what each balancing rule would feed, before training on it",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m training balance data/expert --out balance.png",
    )
    balance.add_argument("data", type=Path, nargs="+", metavar="DATA", help="folders with episodes, or episodes")
    balance.add_argument("--rule", choices=(*RULE_NAMES, "all"), default="all", help="which rule (default: all)")
    balance.add_argument("--out", type=Path, metavar="PNG", help="also draw the histograms into this file")
    balance.add_argument("--json", action="store_true", help="print JSON instead of tables")
    balance.set_defaults(command=_balance)

    fit = commands.add_parser(
        "fit",
        help="train a network; the same command goes on with an interrupted run",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m training fit --data data/expert --out runs/first --width 240 --height 135",
    )
    fit.add_argument("--data", type=Path, nargs="+", required=True, metavar="DIR", help="folders with episodes")
    fit.add_argument("--out", type=Path, required=True, metavar="DIR", help="the run's folder")
    fit.add_argument("--backbone", default="xception", metavar="NAME", help="network body (default: xception)")
    fit.add_argument(
        "--init", default="none", metavar="none|imagenet|DIR", help="start from a model or run folder (default: none)"
    )
    fit.add_argument("--width", type=at_least_one, default=480, metavar="PX", help="trained at (default: 480)")
    fit.add_argument("--height", type=at_least_one, default=270, metavar="PX", help="trained at (default: 270)")
    fit.add_argument("--batch", type=at_least_one, default=16, metavar="N", help="samples a step (default: 16)")
    fit.add_argument("--steps", type=at_least_one, default=2000, metavar="N", help="steps in all (default: 2000)")
    fit.add_argument("--steps-per-round", type=at_least_one, default=200, metavar="N", help="between checkpoints (200)")
    fit.add_argument("--learning-rate", type=_rate, default=1e-3, metavar="X", help="peak (default: 0.001)")
    fit.add_argument("--warmup-steps", type=at_least_one, default=100, metavar="N", help="steps to the peak (100)")
    fit.add_argument("--ema", type=_momentum, default=0.99, metavar="X", help="momentum of the averaged weights (0.99)")
    fit.add_argument(
        "--balance",
        choices=RULE_NAMES,
        default="none",
        help="what the network is fed: none, samples as they come; v1 to v4, samples balanced by their labels; "
        "reweight, labels weighted by how rare they are; `balance` shows each beforehand (default: none)",
    )
    fit.add_argument(
        "--step",
        choices=STEPS,
        default="joint",
        help="joint: all heads on one batch; helper: a batch and a helper model for each output (default: joint)",
    )
    fit.add_argument(
        "--buffer",
        type=at_least_one,
        default=CAPACITY,
        metavar="N",
        help=f"samples waiting to be drawn, for each feed; fewer where the data are (default: {CAPACITY})",
    )
    fit.add_argument("--game", default="carracing", help="profile of the game the episodes are of (default: carracing)")
    fit.add_argument("--no-auxiliary", action="store_true", help="do not predict telemetry during training")
    fit.add_argument("--no-flip", action="store_true", help="do not mirror pictures")
    fit.add_argument(
        "--colours",
        type=float,
        default=0.0,
        metavar="X",
        help="change light and colours, for roads that no episode shows: 0 not at all, 1 much (default: 0)",
    )
    fit.add_argument(
        "--freeze",
        default="",
        metavar="LAYER",
        help="keep this layer of the backbone and all before it as --init has them, which makes steps cheaper: add_2 "
        "is the end of Xception's entry flow, add_10 of its middle one (default: train all)",
    )
    fit.add_argument(
        "--importance",
        type=_importance,
        action="append",
        default=[],
        metavar="OUTPUT=X",
        help="what an output's loss counts against the others', after each was divided by how much its labels vary; "
        "repeatable; counts in the validation loss as well. Lower it for one whose few rare values drown the others "
        "(default: 1 for each)",
    )
    fit.add_argument(
        "--erase",
        type=_at_least_zero,
        default=0,
        metavar="N",
        help="paint up to N random rectangles over every picture, for roads that no episode shows (default: 0)",
    )
    fit.add_argument(
        "--mask",
        type=_mask,
        action="append",
        metavar="L,T,W,H",
        help="hide this part (fractions of the frame) instead of the game's own masks; repeatable; 'none': nothing",
    )
    fit.add_argument("--float32", action="store_true", help="compute in float32 (default: bfloat16 mixed)")
    fit.add_argument("--validation-episodes", type=at_least_one, default=2, metavar="N", help="never trained on (2)")
    fit.add_argument(
        "--tracks",
        type=_number_of_tracks,
        default=0,
        metavar="N",
        help="drive N tracks after a round and keep the best driver (default: 0)",
    )
    fit.add_argument(
        "--drive-every", type=at_least_one, default=1, metavar="N", help="rounds between drives (default: 1)"
    )
    fit.add_argument(
        "--patience",
        type=_at_least_zero,
        default=0,
        metavar="N",
        help="stop early after N drives in a row without a better return: on driving, not on loss; without --tracks "
        "after N rounds without a better validation loss (default: 0, never)",
    )
    fit.add_argument(
        "--seed", type=_seed, default=0, metavar="S", help="of order, flips and first weights (default: 0)"
    )
    fit.add_argument(
        "--keep-stages",
        action="store_true",
        help="keep the model of every round in DIR/stages, for `python -m agent film` (the full network: 48 MB each)",
    )
    together = fit.add_argument_group(
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
    fit.add_argument("--quiet", action="store_true", help="one line a round instead of a progress bar")
    fit.set_defaults(command=_fit)

    report = commands.add_parser(
        "report",
        help="lay the curves of several runs over each other, and list their last and best rounds",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m training report runs/*/ --out report.html --by seconds",
    )
    report.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders made by fit, finished or not")
    report.add_argument(
        "--out", type=_picture_or_page, metavar="FILE", help="also draw the curves into this .png or one-file .html"
    )
    report.add_argument(
        "--by",
        choices=("step", "samples", "seconds"),  # training.report.AXES
        default="step",
        help="what the curves are drawn over; seconds are those of training alone (default: step)",
    )
    report.add_argument("--json", action="store_true", help="print JSON instead of tables")
    report.set_defaults(command=_compare_runs)

    speed = commands.add_parser(
        "speed",
        help="time a training step here: plain, ours, and the helper step, taking turns",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m training speed --width 240 --height 135",
    )
    speed.add_argument("--backbone", default="xception", metavar="NAME", help="network body (default: xception)")
    speed.add_argument("--width", type=at_least_one, default=160, metavar="PX", help="of the pictures (default: 160)")
    speed.add_argument("--height", type=at_least_one, default=90, metavar="PX", help="of the pictures (default: 90)")
    speed.add_argument("--batch", type=at_least_one, default=8, metavar="N", help="samples a batch (default: 8)")
    speed.add_argument("--rounds", type=at_least_one, default=10, metavar="N", help="timed steps of each (default: 10)")
    speed.add_argument("--json", action="store_true", help="print JSON instead of a table")
    speed.set_defaults(command=_speed)

    export = commands.add_parser(
        "export", help="make int8 weights, average models, or write one at another picture size or under another name"
    )
    export.add_argument(
        "--weights",
        type=Path,
        required=True,
        nargs="+",
        metavar="DIR",
        help="model folder to start from; of several the mean of their weights, a folder named twice counting twice: "
        "where one was trained on from another, the mean may drive new roads as the first and known ones as the second",
    )
    export.add_argument(
        "--out", type=Path, metavar="DIR", help="model folder to write (needed unless --int8: then default --weights)"
    )
    export.add_argument(
        "--int8",
        action="store_true",
        help="quantise: write int8 weights beside the float ones, calibrated on pictures from --data",
    )
    export.add_argument(
        "--approve-int8",
        type=Path,
        metavar="FILE",
        help="let the int8 weights of --weights drive unasked: FILE is what `python -m agent compare FLOAT.json --with "
        "INT8.json --json` printed; refused unless they drive the same within 1 %%",
    )
    export.add_argument(
        "--data",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="folders with episodes: to measure BatchNorm statistics on (needed at another size, where old ones fail), "
        "and to calibrate int8 on",
    )
    export.add_argument("--width", type=at_least_one, metavar="PX", help="of the network's input (default: as it was)")
    export.add_argument("--height", type=at_least_one, metavar="PX", help="of the network's input (default: as it was)")
    export.add_argument("--name", metavar="NAME", help="name in the spec (default: that of --out)")
    export.set_defaults(command=_export)
    return parser


def _at_least_zero(text: str) -> int:
    return whole(text, 0)


def _number_of_tracks(text: str) -> int:
    return whole(text, 0, 10_000)


def _worker(text: str) -> int:
    return whole(text, 0)


def _seed(text: str) -> int:
    return whole(text, 0, 2**32 - 1)


def _track(text: str) -> int:
    return whole(text, 0, HELD_OUT_SEED - 1)  # those above are for judging


def _noise(text: str) -> float:
    return number(text, 0, 100)


def _share(text: str) -> float:
    return number(text, 0, 1)


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


def _picture_or_page(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in (".png", ".html"):
        raise argparse.ArgumentTypeError(f"{text!r} should end in .png or .html")
    return path


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


def _collect(arguments: argparse.Namespace) -> None:
    from training.collect import CollectConfig, collect

    config = CollectConfig(
        folder=arguments.out,
        seed_start=arguments.seed_start,
        episodes=arguments.episodes,
        noise=arguments.noise,
        weights=arguments.weights,
        expert_share=arguments.expert_share,
        workers=arguments.workers,
        game=arguments.game,
        tracks=tuple(arguments.track),
        expert=arguments.expert,
        disguise=arguments.disguise,
    )
    returns: list[float] = []
    with _progress_bar() as progress:
        task = progress.add_task("episodes", total=arguments.episodes)

        def done(seed: int, episode_return: float) -> None:
            returns.append(episode_return)
            progress.advance(task)
            if not progress.console.is_terminal:
                print(f"track {seed}: return {episode_return:.1f}", file=sys.stderr)  # noqa: T201

        paths = collect(config, done)
    progress_text = f"{len(paths)} episodes in {config.folder}, {len(returns)} of them new"
    mean = f", mean return of the new ones {sum(returns) / len(returns):.1f}" if returns else ""
    print(progress_text + mean)  # noqa: T201


def _balance(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from agent.contract.spec import STEERING_THROTTLE_BRAKE
    from training.balance_report import draw_report, print_report, read_labels, report_balance
    from training.samples import find_episodes

    paths = [
        path for entry in arguments.data for path in ([entry] if entry.suffix == ".parquet" else find_episodes([entry]))
    ]
    with _progress_bar() as progress:
        task = progress.add_task("episodes", total=len(paths))
        labels = read_labels(paths, lambda: progress.advance(task))
    rule_names = RULE_NAMES if arguments.rule == "all" else (arguments.rule,)
    report = report_balance(labels, STEERING_THROTTLE_BRAKE, rule_names, len(paths))
    if arguments.json:
        print(json.dumps(report.to_dict(), indent=2))  # noqa: T201
    else:
        print_report(report, Console(highlight=False))
    if arguments.out is not None:
        draw_report(report, arguments.out)
        _say(f"wrote {arguments.out}")


def _progress_bar() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _fit(arguments: argparse.Namespace) -> None:
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
    from training.config import FitConfig
    from training.distribution import ALONE, Team, local_team
    from training.fit import fit

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
        report = _say if team.is_first else _keep_silent
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
    progress = _progress_bar()
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


def _compare_runs(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from training.report import load_runs, print_report, to_dict, write_report

    runs = load_runs(arguments.runs)
    if arguments.out is not None:
        write_report(runs, arguments.out, arguments.by)
    if arguments.json:
        print(json.dumps(to_dict(runs), indent=2, allow_nan=False))  # noqa: T201
    else:
        print_report(runs, Console(highlight=False))
    if arguments.out is not None:
        _say(f"wrote {arguments.out}")


def _speed(arguments: argparse.Namespace) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    from rich.console import Console

    from training.speed import measure_steps, speed_table, speeds_to_dict

    speeds = measure_steps(arguments.backbone, arguments.height, arguments.width, arguments.batch, arguments.rounds)
    if arguments.json:
        print(json.dumps(speeds_to_dict(speeds), indent=2))  # noqa: T201
    else:
        title = f"{arguments.backbone}, {arguments.width} x {arguments.height}, batches of {arguments.batch}"
        Console().print(speed_table(speeds, title))


def _export(arguments: argparse.Namespace) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    if arguments.out is None and len(arguments.weights) > 1:
        raise AgentError(
            f"{len(arguments.weights)} folders of --weights to average, expected --out DIR for their mean."
        )
    if arguments.out is None and not arguments.int8 and arguments.approve_int8 is None:
        raise AgentError("nothing to write: expected --out DIR, or --int8 to quantise the folder of --weights itself.")
    for option in ("name", "width", "height"):
        if arguments.out is None and getattr(arguments, option) is not None:
            raise AgentError(f"--{option} is for a new folder, expected --out DIR beside it.")
    folder: Path = arguments.out or arguments.weights[0]
    if arguments.out is not None:
        _export_float(arguments)
    if arguments.int8:
        _export_int8(folder, arguments.data)
    if arguments.approve_int8 is not None:
        from training.quantize import approve_int8

        comparison = approve_int8(folder, arguments.approve_int8)
        print(f"int8 drives the same within 1 %: {comparison.difference:+.1f} over {comparison.tracks} tracks")  # noqa: T201


def _export_float(arguments: argparse.Namespace) -> None:
    from dataclasses import replace

    from agent.contract.spec import WEIGHTS_FILE, ModelSpec
    from training.export import export_model
    from training.fit import reestimate_batch_norm
    from training.network import build_network, load_average
    from training.samples import find_episodes, pick_pictures

    name = arguments.name or arguments.out.name
    originals: list[ModelSpec] = []
    for folder in arguments.weights:
        loaded = ModelSpec.load(folder)
        loaded.verify_files(folder, WEIGHTS_FILE)
        originals.append(replace(loaded, name=name, sha256={}, quantization=None))
        if originals[-1] != originals[0]:
            raise TrainingError(
                f"{folder} describes another network than {arguments.weights[0]} (backbone, outputs, picture, rate or "
                "game), expected the same for a mean. Average models of one training."
            )
    original = originals[0]
    spec = replace(
        original, width_px=arguments.width or original.width_px, height_px=arguments.height or original.height_px
    )
    if arguments.data is None and (spec.width_px, spec.height_px) != (original.width_px, original.height_px):
        raise TrainingError(
            f"{arguments.weights[0]} was made for {original.width_px} x {original.height_px} px; for {spec.width_px} x "
            f"{spec.height_px} px its BatchNorm statistics have to be measured anew. Pass episodes with --data."
        )
    model = build_network(spec.backbone, spec.height_px, spec.width_px, spec.outputs)
    load_average(model, [folder / WEIGHTS_FILE for folder in arguments.weights])
    if arguments.data is not None:
        pictures = pick_pictures(find_episodes(arguments.data), spec, _BATCH_NORM_PICTURES)
        starts = range(0, len(pictures), _BATCH_NORM_BATCH)
        reestimate_batch_norm(model, (pictures[start : start + _BATCH_NORM_BATCH] for start in starts))
    export_model(model, spec, arguments.out)
    print(f"{arguments.out}: {spec.backbone} at {spec.width_px} x {spec.height_px} px")  # noqa: T201


def _export_int8(folder: Path, data: list[Path] | None) -> None:
    from agent.contract.spec import ModelSpec
    from training.quantize import quantize_model
    from training.samples import find_episodes, pick_balanced_pictures, pick_pictures

    if data is None:
        raise AgentError("--int8 needs recorded pictures to measure ranges on, expected --data DIR with episodes.")
    spec = ModelSpec.load(folder)
    paths = find_episodes(data)
    if len(paths) < 2:
        raise TrainingError(
            f"{len(paths)} episode in --data, expected at least two: the first is checked on, the others are "
            "calibrated on. Record more (`python -m training collect`)."
        )
    checked = max(1, min(len(paths) // 10, 4))
    check = pick_pictures(paths[:checked], spec, _CHECK_PICTURES)
    calibration = pick_balanced_pictures(paths[checked:], spec, _CALIBRATION_PICTURES)
    report = quantize_model(folder, calibration, check, _say)
    quantization = report.spec.quantization
    assert quantization is not None
    for name in report.spec.output_names:
        mean, largest = quantization.mean_deviation[name], quantization.max_deviation[name]
        _say(f"{name}: differs from float32 by {mean:.4f} on average, {largest:.3f} at most, on {len(check)} pictures")
    if report.float_layers:
        _say(
            f"{len(report.float_layers)} of {report.convolutions} convolutions run in float on this machine: "
            f"{', '.join(report.float_layers)}"
        )
    print(f"{folder}: int8 weights, calibrated on {len(calibration)} pictures")  # noqa: T201


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
    from agent.engines.openvino import OpenVinoEngine
    from agent.evaluation import evaluate

    def drive(folder: Path) -> float:
        engine = OpenVinoEngine(folder)
        try:
            simulator = make_simulator()
            hold_ticks = max(1, round(1.0 / (engine.spec.rate_hz * simulator.tick_s)))
            report = evaluate(lambda: simulator, engine, tracks, hold_ticks)
        finally:
            engine.close()
        _say(
            "drove " + ", ".join(f"{track.track or track.seed}: {track.episode_return:.0f}" for track in report.tracks)
        )
        return report.mean

    return drive


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201
