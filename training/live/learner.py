"""The network of a live training between two rounds: steps on what arrives, judged, kept, and thrown back."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError

from agent.contract.durable import find_folder, replace_folder
from agent.contract.errors import TrainingError
from agent.contract.observation import Observation
from agent.contract.profile import Rectangle
from agent.contract.spec import ModelSpec
from training.data.augment import flip_picture, flip_signs
from training.data.buffers import EncodedSample
from training.data.samples import decode
from training.exporting.export import export_model
from training.fitting.keras_parts import AveragingAdamW
from training.fitting.metrics import OutputMetrics, measure_outputs
from training.fitting.run import LEAST_VARIANCE, reestimate_batch_norm
from training.live.config import LiveSettings
from training.network.build import build_network
from training.network.weights_file import load_weights, save_weights

CHECKPOINT = "checkpoint"
"""In a run's folder: what the trainer goes on from."""
_SLOWER = 0.5  # the learning rate after a round that was thrown away
_JUDGED = 256  # pictures at most, spread over all that is held out

Weights = list[npt.NDArray[Any]]


class LossError(TrainingError):
    """The loss is not a number any more."""


class Learner:
    """The network, its optimizer and its average.

    Args:
        settings: The run's.
        spec: Of the network.
        mirrored: Parts of the picture to mirror in a flip; empty never flips.

    Attributes:
        round: Rounds done.
        steps: Steps done.
    """

    def __init__(self, settings: LiveSettings, spec: ModelSpec, mirrored: Sequence[Rectangle]) -> None:
        keras.utils.set_random_seed(settings.seed)
        self.round = self.steps = 0
        self._settings = settings
        self._spec = spec
        self._mirrored = tuple(mirrored)
        self._signs = flip_signs(spec.output_names)
        self._slowed = 1.0
        init = settings.init if settings.init in ("none", "imagenet") else Path(settings.init)
        build = partial(build_network, settings.backbone, spec.height_px, spec.width_px, spec.outputs)
        self.model: Any = build(init=init, fast_layers=True)
        self._optimizer = AveragingAdamW.make(settings.learning_rate, weight_decay=1e-4, ema=settings.ema)
        self.model.compile(
            optimizer=self._optimizer,
            loss=dict.fromkeys(spec.output_names, keras.losses.mean_squared_error),
        )
        self._optimizer.build(self.model.trainable_variables)
        self.averaged: Any = build()
        self._handed: Weights | None = None

    @property
    def folder(self) -> Path:
        """Of the checkpoint."""
        return self._settings.folder / CHECKPOINT

    @property
    def learning_rate(self) -> float:
        """Of the next step: warmed up, then falling with the root of the steps."""
        warm = min(1.0, (self.steps + 1) / self._settings.warmup_steps)
        return self._settings.learning_rate * self._slowed * warm / math.sqrt(1.0 + self.steps / 500.0)

    def step(self, batch: list[EncodedSample], scales: npt.NDArray[np.float32]) -> dict[str, float]:
        """Do one step; return the loss of each output, each divided by that output's variance.

        Args:
            batch: What is learnt from.
            scales: Variance of each output's labels.

        Raises:
            LossError: If a loss is not a number.
        """
        pictures = np.stack([decode(sample.picture) for sample in batch])
        labels = np.stack([sample.labels for sample in batch])
        if self._mirrored:
            rng = np.random.default_rng([self._settings.seed, self.steps])
            for row in np.flatnonzero(rng.random(len(batch)) < 0.5):
                flip_picture(pictures[row], self._mirrored)
                labels[row] *= self._signs
        names = self._spec.output_names
        targets = {name: labels[:, k : k + 1] for k, name in enumerate(names)}
        weights = {
            name: np.full(len(batch), 1.0 / max(scale, LEAST_VARIANCE), np.float32)
            for name, scale in zip(names, scales, strict=True)
        }
        self._optimizer.learning_rate = self.learning_rate
        told = self.model.train_on_batch(pictures, targets, weights, return_dict=True)
        self.steps += 1
        losses = (
            {name: float(told[f"{name}_loss"]) for name in names} if len(names) > 1 else {names[0]: float(told["loss"])}
        )
        if not all(math.isfinite(loss) for loss in losses.values()):
            raise LossError(f"the loss became {losses} in round {self.round + 1}, expected a number")
        return losses

    def begin_round(self) -> None:
        """Start the losses' means anew."""
        self.model.reset_metrics()

    def average(self, batches: Iterable[list[EncodedSample]]) -> None:
        """Give the second copy the moving average of the weights, with statistics of its own over these batches."""
        self._optimizer.fill(self.averaged, self.model)
        pictures = (np.stack([decode(sample.picture) for sample in batch]) for batch in batches)
        reestimate_batch_norm(self.averaged, pictures)

    def judge(
        self, held_out: Sequence[EncodedSample], scales: npt.NDArray[np.float32]
    ) -> tuple[dict[str, float], float | None]:
        """Judge the averaged network by what is held out, beside the weights handed over last.

        Args:
            held_out: Samples that nothing learnt from; may be empty.
            scales: Variance of each output's labels.

        Returns:
            ``validation_loss`` (the sum over the outputs, each divided by its variance) and each output's metrics;
            NaN without samples. The other is the validation loss of what was handed over; None if nothing was.
        """
        names = self._spec.output_names
        if not held_out:
            keys = [f"{name}_{each.name}" for name in names for each in fields(OutputMetrics)]
            return dict.fromkeys(["validation_loss", *keys], math.nan), None
        chosen = [held_out[k] for k in np.unique(np.linspace(0, len(held_out) - 1, _JUDGED).astype(int))]
        labels = np.stack([sample.labels for sample in chosen])
        metrics = measure_outputs(self._predict(chosen), labels, names)
        row = {"validation_loss": _loss(metrics, scales)}
        row |= {f"{name}_{key}": value for name, each in metrics.items() for key, value in asdict(each).items()}
        if self._handed is None:
            return row, None
        own = self.averaged.get_weights()
        self.averaged.set_weights(self._handed)
        before = _loss(measure_outputs(self._predict(chosen), labels, names), scales)
        self.averaged.set_weights(own)
        return row, before

    def remember_handed_over(self) -> None:
        """Compare later weights with these."""
        self._handed = self.averaged.get_weights()

    def answer(self, observation: Observation) -> tuple[float, ...]:
        """Return what the averaged network says to a picture."""
        predicted = self.averaged(observation[np.newaxis], training=False)
        return tuple(float(keras.ops.convert_to_numpy(predicted[name])[0, 0]) for name in self._spec.output_names)

    def export(self, folder: Path) -> None:
        """Write the averaged network as a model folder."""
        export_model(self.averaged, self._spec, folder)

    def save(self) -> None:
        """Replace the checkpoint.

        Raises:
            TrainingError: If it cannot be written; the last one is kept.
        """

        def write(folder: Path) -> None:
            save_weights(self.model, folder / "weights.safetensors")
            self._optimizer.save_to(folder / "optimizer.safetensors")
            state = {"round": self.round, "steps": self.steps, "slowed": self._slowed}
            (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")

        try:
            replace_folder(self.folder, write)
        except (OSError, SafetensorError) as exc:
            raise TrainingError(
                f"the checkpoint of round {self.round} could not be written to {self.folder} ({exc}); the one before "
                "it is kept. Free space: the next round tries again."
            ) from exc

    def resume(self) -> bool:
        """Go on from the checkpoint; return whether there is one.

        Raises:
            TrainingError: If it is damaged, or of another network.
        """
        folder = find_folder(self.folder)
        if folder is None:
            return False
        try:
            state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            load_weights(self.model, folder / "weights.safetensors")
            self._optimizer.load_from(folder / "optimizer.safetensors")
            self.round, self.steps = int(state["round"]), int(state["steps"])
            self._slowed = float(state["slowed"])
        except (OSError, ValueError, KeyError, SafetensorError) as exc:
            raise TrainingError(
                f"the checkpoint in {folder} is damaged ({exc}). Delete it: the training begins anew with the samples "
                "that are stored."
            ) from exc
        return True

    def throw_back(self) -> None:
        """Throw this round away: go on from the last checkpoint, more slowly; from the beginning without one."""
        if not self.resume():
            fresh = type(self)(self._settings, self._spec, self._mirrored)
            self.__dict__.update(fresh.__dict__)
        self._slowed *= _SLOWER

    def _predict(self, samples: Sequence[EncodedSample]) -> npt.NDArray[np.float32]:
        """Return the averaged network's predictions: float32, shape (samples, outputs)."""
        predictions = []
        for start in range(0, len(samples), 32):
            pictures = np.stack([decode(sample.picture) for sample in samples[start : start + 32]])
            predicted = self.averaged(pictures, training=False)
            columns = [keras.ops.convert_to_numpy(predicted[name]) for name in self._spec.output_names]
            predictions.append(np.concatenate(columns, axis=1))
        return np.concatenate(predictions)


def _loss(metrics: dict[str, OutputMetrics], scales: npt.NDArray[np.float32]) -> float:
    return float(sum(m.rmse**2 / max(scale, LEAST_VARIANCE) for m, scale in zip(metrics.values(), scales, strict=True)))
