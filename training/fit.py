"""The training run: rounds of steps, each closed by a checkpoint, a validation and, if asked, a drive."""

import csv
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import MISSING, asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from agent.contract.errors import TrainingError
from agent.contract.profile import GameProfile, Rectangle
from agent.contract.spec import ModelSpec
from training.balancing.registry import balancing_rule
from training.board import Board
from training.buffers import make_buffers
from training.checkpoint import find_folder, replace_folder
from training.config import LOG, SETTINGS, FitConfig
from training.dataset import Batches
from training.distribution import ALONE, Team
from training.export import export_model
from training.metrics import measure_outputs
from training.network import AUXILIARY, build_network, freeze_backbone, load_weights, save_weights
from training.samples import Samples, decode, find_episodes, load_samples, preprocess_episodes
from training.steps import HelperTrained, StepTimer, check_backend

CHECKPOINT = "checkpoint"

CO_PRESSED = 0.1
"""Throttle and brake both predicted above this count as pressed together."""
_POLL_S = 0.1

LEAST_VARIANCE = 0.015
"""An output that varies less counts as if it varied so much.

CarRacing's brake, the rarest that was ever trained well, has 0.0158. SuperTuxKart's throttle has 0.003: its one moment
in 300 without it then makes a loss a hundred times all others, which the clipped gradient of that step consists of, and
steering is not learnt (small network, 600 steps of 64: 0.214 of 0.207 where throttle and brake count so, 0.180 where
they do not)."""

Row = dict[str, float]
Drive = Callable[[Path], float]


@dataclass(frozen=True, slots=True)
class FitResult:
    """How a run ended.

    Attributes:
        model: Folder of the exported model: the best driver, or the lowest validation loss where nothing was driven.
        history: One row a round, the columns of ``log.csv``: steps, losses, metrics, closed-loop return (NaN where not
            driven), and the cost: ``seconds`` is the whole round, ``training_seconds`` without validation and drive,
            ``seconds_per_step`` without the first step either, which may compile the network.
    """

    model: Path
    history: list[Row]


def fit(
    config: FitConfig,
    profile: GameProfile,
    drive: Drive | None = None,
    report: Callable[[str], None] = print,
    verbose: int = 1,
    preprocessed: Callable[[int, int], None] | None = None,
    team: Team = ALONE,
) -> FitResult:
    """Train a network, or go on with the run that ``config.out`` holds.

    Args:
        config: All settings.
        profile: The game the episodes come from.
        drive: Drives an exported model in closed loop and returns its mean return; it then decides what is exported.
        report: Receives one line at a time.
        verbose: Keras' progress bar: 0 none, 1 a bar, 2 a line a round.
        preprocessed: Called with (done, total) as the episodes without a cache are preprocessed.
        team: Other processes that were given the same arguments and train together with this one.

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
        masks=masks,
    )
    if unknown := dict(config.importance).keys() - set(spec.output_names):
        raise TrainingError(
            f"there is no output {', '.join(sorted(unknown))} to give an importance to, expected one of "
            f"{', '.join(spec.output_names)}. Correct --importance."
        )
    # A slip is to be told before the folder is claimed for it; of several processes JAX wants none to compute before it
    # has joined the others, so there it is told afterwards.
    if config.freeze and team.count == 1:
        freeze_backbone(build_network(config.backbone, config.height_px, config.width_px, spec.outputs), config.freeze)
    team.check(config.batch_size)
    if team.is_first:
        _claim_folder(config)
    training, validation = _load(config, spec, report, preprocessed)
    run = _Run(config, spec, profile, training, validation, team)
    history = run.resume()
    if not team.is_first:
        return run.help_train(history)
    board = Board(config.out / "tensorboard", int(history[-1]["step"]) if history else 0)
    if history:
        _write_log(config.out / LOG, history)  # a kill may have come between the checkpoint and the log
        report(f"going on after round {len(history)} of {config.rounds}")
    report(f"feeding by rule {config.balance} from {run.describe_buffers()}")
    best = max((row["score"] for row in history if not math.isnan(row["score"])), default=-math.inf)
    for index in range(len(history), config.rounds):
        if _is_stuck(config, history):
            what = "return" if drive is not None else "validation loss"
            stopped = f"stopping early after round {index} of {config.rounds}"
            report(f"{stopped}: no better {what} within --patience {config.patience}")
            break
        started = time.monotonic()
        row = run.train_round(index, board, verbose)
        row["seconds"] = time.monotonic() - started
        run.average()
        row |= run.validate()
        export_model(run.averaged, run.spec, config.out / "last")
        if config.keep_stages:
            replace_folder(config.out / "stages" / f"{row['step']:06.0f}", partial(_copy_files, config.out / "last"))
        driven = math.nan
        if drive is not None and ((index + 1) % config.drive_every == 0 or index + 1 == config.rounds):
            driven = drive(config.out / "last")
        row["return"] = driven
        row["score"] = driven if drive is not None else -row["validation_loss"]
        if row["score"] > best:
            best = row["score"]
            replace_folder(config.out / "best", partial(_copy_files, config.out / "last"))
        history.append(row)
        run.save(history)
        _write_log(config.out / LOG, history)
        board.log("round", row)
        report(_describe(index + 1, config.rounds, row, spec.output_names))
    board.close()
    team.part_ways()
    return FitResult(config.out / "best", history)


class _Run:
    """The network, its optimizer and its data between two checkpoints.

    Attributes:
        spec: Of the exported model.
        model: The network that is trained.
        averaged: A second copy, which ``average`` fills: what is validated, driven and exported.
    """

    def __init__(
        self,
        config: FitConfig,
        spec: ModelSpec,
        profile: GameProfile,
        training: Samples,
        validation: Samples,
        team: Team,
    ) -> None:
        keras.utils.set_random_seed(config.seed)
        keras.mixed_precision.set_dtype_policy("mixed_bfloat16" if config.bfloat16 else "float32")
        self._config = config
        self._training = training
        self._validation = validation
        self._mirrored = profile.mirrored if config.flip else ()
        self._auxiliary = training.auxiliary_names if config.auxiliary else ()
        self._team = team
        self._together = team.join()
        self.spec = spec
        feeds = balancing_rule(config.balance).feeds(training.labels, spec.outputs)
        self._buffers = make_buffers(feeds, config.seed, config.buffer_size)
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0,
            decay_steps=max(1, config.steps - config.warmup_steps),
            warmup_target=config.learning_rate,
            warmup_steps=config.warmup_steps,
            alpha=0.02,
        )
        losses: dict[str, Any] = {output.name: keras.losses.mean_squared_error for output in spec.outputs}
        importance = dict.fromkeys(spec.output_names, 1.0) | dict(config.importance)
        scales = zip(spec.output_names, loss_scales(training.labels), strict=True)
        self._loss_weights = {name: importance[name] / float(scale) for name, scale in scales}
        weights = dict(self._loss_weights)
        if self._auxiliary:
            losses[AUXILIARY] = _known_squared_error
            known = training.auxiliary[~np.isnan(training.auxiliary)]
            weights[AUXILIARY] = config.auxiliary_weight / max(1e-4, float(known.var()))
        build = partial(
            build_network,
            config.backbone,
            config.height_px,
            config.width_px,
            spec.outputs,
            auxiliary=self._auxiliary,
            fast_layers=True,
        )
        with self._together():
            self._optimizer = _AveragingAdamW(
                schedule,
                weight_decay=config.weight_decay,
                name="adamw",
                global_clipnorm=1.0,
                use_ema=config.ema > 0,
                ema_momentum=config.ema or 0.99,
                ema_overwrite_frequency=None,
            )
            self.model: Any = build(init=config.init if config.init in ("none", "imagenet") else Path(config.init))
            if config.freeze:
                freeze_backbone(self.model, config.freeze)
            if config.step == "helper":
                self.model = HelperTrained(self.model.input, self.model.output, name=self.model.name)
                self.model.prepare(weights, losses)
                self.model.compile(optimizer=self._optimizer)
            else:
                self.model.compile(optimizer=self._optimizer, loss=losses, loss_weights=weights)
            self._optimizer.build(self.model.trainable_variables)
        self.averaged: Any = build()
        if config.freeze:
            freeze_backbone(self.averaged, config.freeze)

    def help_train(self, history: list[Row]) -> FitResult:
        """Do this process's part of the rounds; what they are worth is read from the first process's checkpoints."""
        while len(history) < self._config.rounds and not _is_stuck(self._config, history):
            self.train_round(len(history), None, verbose=0)
            history = _wait_for_round(self._config, len(history) + 1)
        self._team.part_ways()
        return FitResult(self._config.out / "best", history)

    def train_round(self, index: int, board: Board | None, verbose: int) -> Row:
        """Do one round of steps and return its mean training losses and what it cost; ``board`` gets the curves."""
        config = self._config
        steps = min(config.steps_per_round, config.steps - index * config.steps_per_round)
        batches, timer = self._batches(index, self._team), StepTimer()
        started = time.monotonic()
        with self._together():
            fitted = self.model.fit(
                batches,
                steps_per_epoch=steps,
                epochs=1,
                shuffle=False,
                verbose=verbose,
                callbacks=[timer] if board is None else [timer, board],
            )
        seconds = time.monotonic() - started
        losses = {name: float(values[-1]) for name, values in fitted.history.items()}
        if not all(math.isfinite(value) for value in losses.values()):
            raise TrainingError(
                f"the loss became {losses} in round {index + 1}. Start again with a lower --learning-rate; the last "
                f"checkpoint in {config.out} is from before."
            )
        if board is not None:
            labels, weights = batches.fed(index * config.steps_per_round, steps)
            for k, output in enumerate(self.spec.outputs):
                board.log_histogram(f"fed/{output.name}", labels[:, k], weights[:, k], (output.low, output.high))
        cost = {
            "training_seconds": seconds,
            "seconds_per_step": timer.seconds_per_step,
            "samples": float(steps * batches.samples_a_step),
            "samples_per_second": batches.samples_a_step / timer.seconds_per_step,
            "learning_rate": float(keras.ops.convert_to_numpy(self._optimizer.learning_rate)),
        }
        return {"step": float(index * config.steps_per_round + steps)} | losses | cost

    def average(self) -> None:
        """Give the second copy the moving average of the weights (or the weights), with batch statistics of its own."""
        values = {variable.path: variable for variable in self.model.variables}
        if self._config.ema > 0:
            values |= self._optimizer.averages(self.model.trainable_variables)
        for variable in self.averaged.variables:
            # By way of NumPy: what several processes hold together does not mix with what one holds by itself.
            variable.assign(np.asarray(values[variable.path].numpy()))
        batches = self._batches(1 << 20, ALONE)
        reestimate_batch_norm(self.averaged, (batches[k][0] for k in range(24)))

    def validate(self) -> Row:
        """Predict the validation samples and compare."""
        count = len(self._validation)
        chosen = np.arange(0, count, max(1, count // 200))  # neighbouring frames say the same
        names = self._validation.output_names
        rows = []
        for start in range(0, len(chosen), 16):
            indices = chosen[start : start + 16]
            pictures = np.stack([decode(self._validation.pictures[k]) for k in indices])
            predicted = self.averaged(pictures, training=False)
            rows.append(np.concatenate([keras.ops.convert_to_numpy(predicted[name]) for name in names], axis=1))
        predictions = np.concatenate(rows)
        metrics = measure_outputs(predictions, self._validation.labels[chosen], names)
        loss = sum(metrics[name].rmse ** 2 * self._loss_weights[name] for name in names)
        flat = {f"{name}_{key}": value for name, m in metrics.items() for key, value in asdict(m).items()}
        if {"throttle", "brake"} <= set(names):
            pressed = predictions[:, [names.index("throttle"), names.index("brake")]] > CO_PRESSED
            flat["co_pressed"] = float(pressed.all(axis=1).mean())
        return {"validation_loss": loss} | flat

    def describe_buffers(self) -> str:
        """Return what the buffers hold, in words."""
        return ", ".join(f"a buffer of {buffer.capacity} for {buffer.feed.name}" for buffer in self._buffers)

    def save(self, history: list[Row]) -> None:
        """Replace the checkpoint.

        Raises:
            TrainingError: If it cannot be written, such as on a full disk; the last one is then kept.
            WeightsError: If a weight is not finite.
        """

        def write(folder: Path) -> None:
            save_weights(self.model, folder / "weights.safetensors")
            save_file(self._optimizer_tensors(), folder / "optimizer.safetensors")
            rows = [{key: None if math.isnan(value) else value for key, value in row.items()} for row in history]
            (folder / "history.json").write_text(json.dumps(rows, allow_nan=False))

        try:
            replace_folder(self._config.out / CHECKPOINT, write)
        except (OSError, SafetensorError) as exc:
            raise TrainingError(
                f"the checkpoint of round {len(history)} could not be written to {self._config.out / CHECKPOINT} "
                f"({exc}); the one before it is kept. Free space, then repeat the command: it goes on from there."
            ) from exc

    def resume(self) -> list[Row]:
        """Load the checkpoint if there is one and return the rounds done so far."""
        folder = find_folder(self._config.out / CHECKPOINT)
        if folder is None:
            return []
        try:
            history = _read_history(folder)
            load_weights(self.model, folder / "weights.safetensors")
            tensors = load_file(folder / "optimizer.safetensors")
            for index, variable in enumerate(self._optimizer.variables):
                variable.assign(tensors[f"{index:05d}"])
        except (OSError, ValueError, KeyError, AttributeError, SafetensorError) as exc:
            raise TrainingError(
                f"the checkpoint in {folder} is damaged or of another version ({exc}). Restore it, or delete the run's "
                "folder and start again."
            ) from exc
        return history

    def _optimizer_tensors(self) -> dict[str, npt.NDArray[Any]]:
        return {
            f"{index:05d}": np.asarray(variable.numpy()) for index, variable in enumerate(self._optimizer.variables)
        }

    def _batches(self, round_: int, team: Team) -> Batches:
        config = self._config
        return Batches(
            self._training,
            self._buffers,
            config.batch_size,
            config.steps_per_round,
            batch_per_output=config.step == "helper",
            mirrored=self._mirrored,
            colours=config.colours,
            erase=config.erase,
            auxiliary=bool(self._auxiliary),
            seed=config.seed,
            round_=round_,
            team=team,
        )


class _AveragingAdamW(keras.optimizers.AdamW):  # type: ignore[misc]
    """AdamW whose moving average of the weights stays beside them.

    Keras calls ``finalize_variable_values`` at the end of every ``Model.fit`` and so replaces the weights by their
    average: a training in rounds would start each one from where the average, half a round behind, had come.
    """

    def finalize_variable_values(self, var_list: Any) -> None:
        """Leave the weights alone."""

    def averages(self, variables: list[Any]) -> dict[str, Any]:
        """Return the average of each of the variables that the optimizer was built for, by path."""
        return {
            variable.path: average
            for variable, average in zip(variables, self._model_variables_moving_average, strict=True)
        }


def loss_scales(labels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return what each output's squared error is divided by: its variance, which makes 1.0 no better than the mean.

    Otherwise braking, rare and small, would count for nothing.

    Args:
        labels: Of the training samples, float32, shape (samples, outputs).

    Returns:
        float32, shape (outputs,), at least :data:`LEAST_VARIANCE`.
    """
    scales: npt.NDArray[np.float32] = np.maximum(labels.var(axis=0), np.float32(LEAST_VARIANCE))
    return scales


def reestimate_batch_norm(model: Any, pictures: Iterator[npt.NDArray[np.uint8]]) -> None:
    """Replace the moving statistics of every BatchNormalization but frozen ones by plain means over the given batches.

    The moving averages lag behind the weights (and are meaningless for averaged ones, or at another picture size):
    after a short training the network drives well in training mode and badly in inference mode.
    """
    normalisations = (layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization))
    layers = [layer for layer in normalisations if layer.trainable]
    momenta = [layer.momentum for layer in layers]
    for count, batch in enumerate(pictures):
        for layer in layers:
            layer.momentum = count / (count + 1)  # the running mean of all batches so far
        model(batch, training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def _known_squared_error(true: Any, predicted: Any) -> Any:
    """Mean squared error over the telemetry that is known (not NaN)."""
    known = keras.ops.logical_not(keras.ops.isnan(true))
    error = keras.ops.where(known, predicted - keras.ops.where(known, true, 0.0), 0.0)
    return keras.ops.mean(keras.ops.square(error), axis=-1)


def _read_history(checkpoint: Path) -> list[Row]:
    rows = json.loads((checkpoint / "history.json").read_text())
    return [{key: math.nan if value is None else value for key, value in row.items()} for row in rows]


def _is_stuck(config: FitConfig, history: list[Row]) -> bool:
    return bool(config.patience) and _scores_since_best(history) >= config.patience


def _scores_since_best(history: list[Row]) -> int:
    """Return how many scores have come after the best one."""
    scores = [row["score"] for row in history if not math.isnan(row["score"])]
    return len(scores) - 1 - scores.index(max(scores)) if scores else 0


def _wait_for_round(config: FitConfig, rounds: int) -> list[Row]:
    """Return the history once a checkpoint with so many rounds is there."""
    while True:
        folder = find_folder(config.out / CHECKPOINT)
        try:
            history = [] if folder is None else _read_history(folder)
        except OSError:  # replaced at this moment
            history = []
        if len(history) >= rounds:
            return history
        time.sleep(_POLL_S)


def _load(
    config: FitConfig,
    spec: ModelSpec,
    report: Callable[[str], None],
    preprocessed: Callable[[int, int], None] | None,
) -> tuple[Samples, Samples]:
    paths = find_episodes(config.data)
    if not 0 < config.validation_episodes < len(paths):
        raise TrainingError(
            f"{len(paths)} episodes, {config.validation_episodes} of them for validation: expected at least one for "
            "each. Record more (`python -m training collect`) or lower --validation-episodes."
        )
    report(f"preprocessing {len(paths)} episodes (cached beside them)")
    caches = preprocess_episodes(paths, spec, config.driven_tracks, preprocessed)
    validation = load_samples(caches[: config.validation_episodes], spec)
    training = load_samples(caches[config.validation_episodes :], spec)
    report(
        f"{len(training)} samples from {training.episodes} episodes ({training.size_bytes / 1e6:.0f} MB encoded), "
        f"{len(validation)} for validation"
    )
    return training, validation


def _claim_folder(config: FitConfig) -> None:
    """Write the run's settings, or refuse a folder that holds a run with others."""
    path = config.out / SETTINGS
    config.out.mkdir(parents=True, exist_ok=True)
    if path.exists():
        ours = json.loads(config.to_json())
        try:
            # A run begun by an earlier version did without the settings added since: what their defaults do.
            added = {entry.name: entry.default for entry in fields(FitConfig) if entry.default is not MISSING}
            theirs = json.loads(json.dumps(added)) | json.loads(path.read_text())
        except (ValueError, TypeError) as exc:
            raise TrainingError(f"{path} is damaged ({exc}). Restore it or choose another --out.") from exc
        differing = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
        if differing:
            raise TrainingError(
                f"{config.out} holds a run with other settings ({', '.join(differing)}). Choose another --out, or "
                f"repeat the command recorded in {path} to go on with it."
            )
    partial = path.with_suffix(".partial")
    partial.write_text(config.to_json())
    os.replace(partial, path)


def _copy_files(source: Path, target: Path) -> None:
    for path in source.iterdir():
        shutil.copyfile(path, target / path.name)


def _write_log(path: Path, history: list[Row]) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[-1]))
        writer.writeheader()
        writer.writerows({key: row.get(key, math.nan) for key in history[-1]} for row in history)
    partial.replace(path)


def _describe(round_: int, rounds: int, row: Row, names: tuple[str, ...]) -> str:
    correlations = ", ".join(f"{name} {row[f'{name}_correlation']:.3f}" for name in names)
    driven = "" if math.isnan(row["return"]) else f" | return {row['return']:.0f}"
    return (
        f"round {round_}/{rounds} | step {row['step']:.0f} | {row['seconds']:.0f} s | loss {row['loss']:.3f} | "
        f"validation {row['validation_loss']:.3f} | correlation {correlations}{driven}"
    )
