"""The training run: rounds of steps, each closed by a checkpoint, a validation and, if asked, a drive."""

import csv
import math
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from agent.contract.durable import replace_folder, replacing, restore_folder
from agent.contract.errors import TrainingError
from agent.contract.profile import GameProfile, Rectangle
from agent.contract.spec import ModelSpec, outputs_named
from training.data.advice import find_gaps
from training.data.finding import find_episodes
from training.exporting.export import export_model
from training.fitting.board import Board
from training.fitting.clips import name_clip
from training.fitting.config import LOG, FitConfig
from training.fitting.data import load_data
from training.fitting.distribution import ALONE, Team
from training.fitting.ending import describe_interrupted
from training.fitting.folder import copy_files, settle
from training.fitting.keras_parts import Estimate
from training.fitting.run import FitResult, Row, Run, is_stuck
from training.fitting.timing import Deadline, plan, recorded
from training.in_use import in_use
from training.network.build import build_network, freeze_backbone
from training.network.helper_step import check_backend

Drive = Callable[[Path], float]


def fit(
    config: FitConfig,
    profile: GameProfile,
    drive: Drive | None = None,
    report: Callable[[str], None] = print,
    verbose: int = 1,
    preprocessed: Callable[[int, int], None] | None = None,
    team: Team = ALONE,
) -> FitResult:
    """Train a network, or continue the run in ``config.out``.

    Args:
        config: All settings.
        profile: The game of the episodes.
        drive: Drives an exported model in closed loop, and returns its mean return; this decides which is the best.
        report: Receives one line at a time.
        verbose: Keras' progress bar: 0 none, 1 a bar, 2 a line for each round.
        preprocessed: Called with (done, total) as the episodes without a cache are preprocessed.
        team: Other processes with the same arguments, which train together with this one.

    Raises:
        TrainingError: If the data cannot be trained on, ``config.out`` holds a run with other settings, the Keras
            backend lacks the step, or a checkpoint cannot be written.
    """
    if config.step == "helper":
        check_backend()
    masks = profile.masks if config.masks is None else tuple(Rectangle(*mask) for mask in config.masks)
    spec = ModelSpec(
        name=config.name,
        backbone=config.backbone,
        game=profile.name,
        width_px=config.width_px,
        height_px=config.height_px,
        rate_hz=profile.rate_hz,
        outputs=outputs_named(config.outputs or profile.axes),
        masks=masks,
        stack=config.stack,
        region=None if profile.capture is None else str(profile.capture.region or ""),
    )
    if unknown := dict(config.importance).keys() - set(spec.output_names):
        raise TrainingError(
            f"there is no output {', '.join(sorted(unknown))} to give an importance to, expected one of "
            f"{', '.join(spec.output_names)}. Correct --importance."
        )
    # A mistake should be told before the folder is claimed. But with JAX, no process may compute anything before it
    # has joined the others, so there it is told afterwards.
    if config.freeze and team.count == 1:
        shape = (config.backbone, config.height_px, config.width_px)
        freeze_backbone(build_network(*shape, spec.outputs, pictures=spec.pictures), config.freeze)
    team.check(config.batch_size)
    with in_use(config.out, "trained in", ours=True) if team.is_first else nullcontext():
        return _train(config, spec, profile, drive, report, verbose, preprocessed, team)


def _train(
    config: FitConfig,
    spec: ModelSpec,
    profile: GameProfile,
    drive: Drive | None,
    report: Callable[[str], None],
    verbose: int,
    preprocessed: Callable[[int, int], None] | None,
    team: Team,
) -> FitResult:
    started_s = time.monotonic()
    paths = find_episodes(config.data, report, profile.name)
    known = recorded(config) if config.minutes else config
    if team.is_first:
        settle(known or config, paths, report)
    training, validation = load_data(config, paths, spec, report, preprocessed)
    for gap in find_gaps(training, spec.rate_hz, config.flip and bool(profile.mirrored)):
        report(f"look at the data: {gap}")
    make_run = partial(Run, spec=spec, profile=profile, training=training, validation=validation, team=team)
    is_planned = known is None
    if known is None:
        report(f"timing a few steps, to see how many fit into {config.minutes:g} minutes")
        known = plan(
            config,
            make_run,
            lambda run, folder: export_model(run.averaged, spec, Path(folder)),
            started_s,
            len(training),
        )
        settle(known, paths, report)
    config = known
    run = make_run(config)
    history = run.resume()
    restore_folder(config.out / "best")
    if not team.is_first:
        return run.help_train(history)
    board = Board(config.out / "tensorboard", int(history[-1]["step"]) if history else 0)
    if history:
        _write_log(config.out / LOG, history)  # a kill may have come between the checkpoint and the log
        report(f"going on after round {len(history)} of {config.rounds}")
    report(f"feeding by rule {config.balance} from {run.describe_buffers()}")
    if not history and not is_planned:
        _prove_export(run)
    is_over = len(history) >= config.rounds
    if not is_over and not config.minutes and min(config.steps, config.steps_per_round) > Estimate.TIMED:
        report(f"how long it takes is told after {Estimate.TIMED + 1} steps")
    deadline = Deadline(config, started_s, sum(row["seconds"] for row in history))
    try:
        _do_rounds(config, run, history, board, drive, report, verbose, deadline)
    except KeyboardInterrupt as exc:
        report(describe_interrupted(config, history, isinstance(exc, _InterruptedAndBetter)))
        raise
    board.close()
    team.part_ways()
    return FitResult(config.out / "best", history, run.mean_loss)


def _prove_export(run: Run) -> None:
    """Export the network once before it has learnt anything: the first round, after which it counts, may take an hour.

    Raises:
        TrainingError: If it cannot be exported.
    """
    with TemporaryDirectory(prefix="hoodcam-export-") as folder:
        export_model(run.averaged, run.spec, Path(folder))


def _do_rounds(
    config: FitConfig,
    run: Run,
    history: list[Row],
    board: Board,
    drive: Drive | None,
    report: Callable[[str], None],
    verbose: int,
    deadline: Deadline,
) -> None:
    """Do the remaining rounds; append each one's figures to the history after its checkpoint is written."""
    first = len(history)
    best = max((row["score"] for row in history if not math.isnan(row["score"])), default=-math.inf)
    for index in range(len(history), config.rounds):
        if is_stuck(config, history):
            what = "return" if drive is not None else "validation loss"
            stopped = f"stopping early after round {index} of {config.rounds}"
            report(f"{stopped}: no better {what} within --patience {config.patience}")
            break
        if deadline.is_over():
            report(f"{config.minutes:g} minutes are over after round {index} of {config.rounds}")
            break
        started = time.monotonic()
        try:
            row = run.train_round(index, board, verbose, report if index == first else None)
        except KeyboardInterrupt:
            if _keep_part(config, run, best, drive, report):
                raise _InterruptedAndBetter from None
            raise
        row["seconds"] = time.monotonic() - started
        run.average()
        row |= run.validate()
        export_model(run.averaged, run.spec, config.out / "last")
        if config.keep_stages:
            replace_folder(config.out / "stages" / f"{row['step']:06.0f}", partial(copy_files, config.out / "last"))
        driven = math.nan
        if drive is not None and ((index + 1) % config.drive_every == 0 or index + 1 == config.rounds):
            driven = drive(config.out / "last")
            with suppress(OSError):  # it is for the page alone
                name_clip(config.out, row["step"])
        row["return"] = driven
        row["score"] = driven if drive is not None else -row["validation_loss"]
        if row["score"] > best:
            best = row["score"]
            replace_folder(config.out / "best", partial(copy_files, config.out / "last"))
        run.save([*history, row])
        history.append(row)
        _write_log(config.out / LOG, history)
        board.log("round", row)
        report(_describe(index + 1, config.rounds, row, run.spec.output_names))


class _InterruptedAndBetter(KeyboardInterrupt):
    """Ctrl-C in a round whose network was kept as the best one."""


def _keep_part(config: FitConfig, run: Run, best: float, drive: Drive | None, report: Callable[[str], None]) -> bool:
    """Keep the network of an interrupted round as ``best`` if it validates better; return whether it does.

    The checkpoint stays as it is. In a run that is judged by driving, nothing is kept: a drive takes too long for
    somebody who pressed Ctrl-C.
    """
    if drive is not None:
        return False
    report("interrupted: seeing whether the network is better than the one that is kept (Ctrl-C again: leave it)")
    run.average()
    score = -run.validate()["validation_loss"]
    is_better = math.isfinite(score) and score > best
    if is_better:
        export_model(run.averaged, run.spec, config.out / "last")
        replace_folder(config.out / "best", partial(copy_files, config.out / "last"))
        report(f"it is better: {config.out / 'best'} is what was learnt up to now (validation loss {-score:.3g})")
    return is_better


def _write_log(path: Path, history: list[Row]) -> None:
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[-1]))
        writer.writeheader()
        writer.writerows({key: row.get(key, math.nan) for key in history[-1]} for row in history)


def _describe(round_: int, rounds: int, row: Row, names: tuple[str, ...]) -> str:
    correlations = ", ".join(f"{name} {row[f'{name}_correlation']:.3f}" for name in names)
    driven = "" if math.isnan(row["return"]) else f" | return {row['return']:.0f}"
    return (
        f"round {round_}/{rounds} | step {row['step']:.0f} | {row['seconds']:.0f} s | loss {row['loss']:.3f} | "
        f"validation {row['validation_loss']:.3f} | correlation {correlations}{driven}"
    )
