"""The state of one training run: network, optimizer, losses."""

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError

from agent.contract.controls import YIELDING_AXES
from agent.contract.durable import find_folder, replace_folder
from agent.contract.episodes.columns import one_line
from agent.contract.errors import TrainingError
from agent.contract.profile import GameProfile
from agent.contract.spec import ModelSpec
from training.data.balancing.registry import balancing_rule
from training.data.buffers import make_buffers
from training.data.dataset import Batches
from training.data.fed import Fed
from training.data.samples import AUXILIARY, Samples
from training.fitting.board import Board
from training.fitting.config import FitConfig
from training.fitting.distribution import ALONE, Team
from training.fitting.folder import CHECKPOINT
from training.fitting.keras_parts import AveragingAdamW, Estimate
from training.fitting.metrics import measure_outputs
from training.network.build import build_network, freeze_backbone
from training.network.helper_step import HelperTrained, StepTimer
from training.network.weights_file import load_weights, save_weights

CO_PRESSED = 0.1
"""Throttle and brake (or two other axes of which one yields) count as pressed together if both exceed this."""
_POLL_S = 0.1

LEAST_VARIANCE = 0.015
"""The smallest variance that an output's loss is divided by.

CarRacing's brake has 0.0158, the smallest variance of any output that was learnt well. SuperTuxKart's throttle has
0.003: one sample in 300 is without throttle. Divided by 0.003, the loss of that sample is a hundred times that of all
others together. After clipping, its step's gradient is almost entirely that sample's, and steering is not learnt.
(Small network, 600 steps of 64: the steering's mean squared error is 0.214 with that division and 0.180 without;
predicting the mean gives 0.207.)"""

Row = dict[str, float]


@dataclass(frozen=True, slots=True)
class FitResult:
    """How a run ended.

    Attributes:
        model: Folder of the exported model: of the network that drove best or, without drives, had the lowest
            validation loss.
        history: One row for each round, with the columns of ``log.csv``: steps, losses, metrics, the return of the
            drive (NaN without one), and times. ``seconds`` is the whole round; ``training_seconds`` leaves out
            validation and drive; ``seconds_per_step`` also leaves out the first step, which may compile the network.
        mean_loss: Validation loss of a network that always predicts the mean of the training labels; NaN if unknown.
    """

    model: Path
    history: list[Row]
    mean_loss: float = math.nan


class Run:
    """The network, its optimizer and its data, for one training run.

    Attributes:
        spec: The spec of the exported model.
        model: The network that is trained.
        averaged: A second network, which ``average`` fills. It is validated, driven and exported.
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
            pictures=spec.pictures,
        )
        with self._together():
            self._optimizer = _make_optimizer(config)
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
        """Do this process's part of the rounds; the history is read from the first process's checkpoints."""
        while len(history) < self._config.rounds and not is_stuck(self._config, history):
            self.train_round(len(history), None, verbose=0)
            history = _wait_for_round(self._config, len(history) + 1)
        self._team.part_ways()
        return FitResult(self._config.out / "best", history)

    @property
    def mean_loss(self) -> float:
        """Validation loss of a network that always predicts the mean of the training labels."""
        errors = np.mean(np.square(self._validation.labels - self._training.labels.mean(axis=0)), axis=0)
        names = self._validation.output_names
        return float(sum(self._loss_weights[name] * error for name, error in zip(names, errors, strict=True)))

    def train_round(
        self, index: int, board: Board | None, verbose: int, report: Callable[[str], None] | None = None
    ) -> Row:
        """Do one round of steps; return its mean training losses, and the time that it took.

        Args:
            index: Number of the round, from 0.
            board: Receives the curves.
            verbose: Keras' progress bar: 0 none, 1 a bar, 2 a line for each round.
            report: Receives one line, after a few steps: how long the run will take.
        """
        config = self._config
        steps = min(config.steps_per_round, config.steps - index * config.steps_per_round)
        batches, timer = self._batches(index, self._team), StepTimer()
        callbacks: list[Any] = [timer] if board is None else [timer, board]
        if report is not None:
            callbacks.append(Estimate(config, index * config.steps_per_round, report))
        started = time.monotonic()
        with self._together():
            fitted = self.model.fit(
                batches,
                steps_per_epoch=steps,
                epochs=1,
                shuffle=False,
                verbose=verbose,
                callbacks=callbacks,
            )
        seconds = time.monotonic() - started
        losses = {name: float(values[-1]) for name, values in fitted.history.items()}
        if not all(math.isfinite(value) for value in losses.values()):
            raise TrainingError(
                f"the loss became {losses} in round {index + 1}. Start again with a lower --learning-rate; the last "
                f"checkpoint in {config.out} is from before that round."
            )
        if board is not None:
            labels, weights = batches.fed(index * config.steps_per_round, steps)
            for k, output in enumerate(self.spec.outputs):
                board.log_histogram(f"fed/{output.name}", labels[:, k], weights[:, k], (output.low, output.high))
            fed = Fed(self.spec.outputs)
            fed.add(labels, weights)
            with suppress(OSError):  # the page shows the one before
                fed.write(config.out, board.step)
        cost = {
            "training_seconds": seconds,
            "seconds_per_step": timer.seconds_per_step,
            "samples": float(steps * batches.samples_a_step),
            "samples_per_second": batches.samples_a_step / timer.seconds_per_step,
            "learning_rate": float(keras.ops.convert_to_numpy(self._optimizer.learning_rate)),
        }
        return {"step": float(index * config.steps_per_round + steps)} | losses | cost

    def average(self) -> None:
        """Fill the second network with the weights, or their moving average, and measure its batch statistics."""
        self._optimizer.fill(self.averaged, self.model)
        batches = self._batches(1 << 20, ALONE)
        reestimate_batch_norm(self.averaged, (batches[k][0] for k in range(24)))

    def validate(self) -> Row:
        """Return the losses and metrics of the second network on the validation samples."""
        count = len(self._validation)
        chosen = np.arange(0, count, max(1, count // 200))  # neighbouring frames are nearly the same
        names = self._validation.output_names
        rows = []
        for start in range(0, len(chosen), 16):
            indices = chosen[start : start + 16]
            observations = np.stack([self._validation.observation(k) for k in indices])
            predicted = self.averaged(observations, training=False)
            rows.append(np.concatenate([keras.ops.convert_to_numpy(predicted[name]) for name in names], axis=1))
        predictions = np.concatenate(rows)
        metrics = measure_outputs(predictions, self._validation.labels[chosen], names)
        loss = sum(metrics[name].rmse ** 2 * self._loss_weights[name] for name in names)
        flat = {f"{name}_{key}": value for name, m in metrics.items() for key, value in asdict(m).items()}
        pairs = [pair for pair in YIELDING_AXES if set(pair) <= set(names)]
        if pairs:
            pressed = predictions > CO_PRESSED
            both = [pressed[:, names.index(name)] & pressed[:, names.index(other)] for name, other in pairs]
            flat["co_pressed"] = float(np.any(both, axis=0).mean())
        return {"validation_loss": loss} | flat

    def describe_buffers(self) -> str:
        """Return a description of the buffers."""
        return ", ".join(f"a buffer of {buffer.capacity} for {buffer.feed.name}" for buffer in self._buffers)

    def save(self, history: list[Row]) -> None:
        """Replace the checkpoint.

        Raises:
            TrainingError: If it cannot be written, such as on a full disk; the last one is then kept.
            WeightsError: If a weight is not finite.
        """

        def write(folder: Path) -> None:
            save_weights(self.model, folder / "weights.safetensors")
            self._optimizer.save_to(folder / "optimizer.safetensors")
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
            self._optimizer.load_from(folder / "optimizer.safetensors")
        except (OSError, ValueError, KeyError, AttributeError, SafetensorError) as exc:
            raise TrainingError(
                f"the checkpoint in {folder} is damaged or of another version ({one_line(exc)}). Restore it, or delete "
                "the run's folder and start again."
            ) from exc
        return history

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
            part=team.part,
        )


def _make_optimizer(config: FitConfig) -> AveragingAdamW:
    """Return AdamW whose rate warms up and then falls along a cosine; it also averages the weights, if asked to."""
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0,
        decay_steps=max(1, config.steps - config.warmup_steps),
        warmup_target=config.learning_rate,
        warmup_steps=config.warmup_steps,
        alpha=0.02,
    )
    return AveragingAdamW.make(schedule, config.weight_decay, config.ema)


def loss_scales(labels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return what each output's squared error is divided by: the variance of its labels.

    So predicting the mean has a loss of 1.0, except where :data:`LEAST_VARIANCE` is the divisor.

    Without this, braking, which is rare and weak, would hardly count.

    Args:
        labels: Labels of the training samples, float32, shape (samples, outputs).

    Returns:
        float32, shape (outputs,), at least :data:`LEAST_VARIANCE`.
    """
    scales: npt.NDArray[np.float32] = np.maximum(labels.var(axis=0), np.float32(LEAST_VARIANCE))
    return scales


def reestimate_batch_norm(model: Any, pictures: Iterator[npt.NDArray[np.uint8]]) -> None:
    """Give every BatchNormalization that is not frozen plain means over these batches for its moving statistics.

    Moving statistics lag behind the weights. For averaged weights, or at another picture size, they mean nothing. After
    a short training, a network with them drives well in training mode and badly in inference mode.
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
    """Return the mean squared error over the known telemetry (not NaN)."""
    known = keras.ops.logical_not(keras.ops.isnan(true))
    error = keras.ops.where(known, predicted - keras.ops.where(known, true, 0.0), 0.0)
    return keras.ops.mean(keras.ops.square(error), axis=-1)


def _read_history(checkpoint: Path) -> list[Row]:
    rows = json.loads((checkpoint / "history.json").read_text())
    return [{key: math.nan if value is None else value for key, value in row.items()} for row in rows]


def is_stuck(config: FitConfig, history: list[Row]) -> bool:
    return bool(config.patience) and _scores_since_best(history) >= config.patience


def _scores_since_best(history: list[Row]) -> int:
    """Return the number of scores after the best one."""
    scores = [row["score"] for row in history if not math.isnan(row["score"])]
    return len(scores) - 1 - scores.index(max(scores)) if scores else 0


def _wait_for_round(config: FitConfig, rounds: int) -> list[Row]:
    """Wait for a checkpoint with this many rounds; return its history."""
    while True:
        folder = find_folder(config.out / CHECKPOINT)
        try:
            history = [] if folder is None else _read_history(folder)
        except OSError:  # it is being replaced
            history = []
        if len(history) >= rounds:
            return history
        time.sleep(_POLL_S)
