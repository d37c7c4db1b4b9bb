"""The helper step: each output has its own batch and helper model; all helpers share one network's variables."""

import time
from typing import Any

import keras

from agent.contract.errors import TrainingError
from training.data.samples import AUXILIARY


def check_backend() -> None:
    """Refuse the helper step where Keras does not run on TensorFlow, whose gradients it takes.

    Raises:
        TrainingError: If so.
    """
    if keras.backend.backend() != "tensorflow":
        raise TrainingError(
            f"the helper step needs TensorFlow, Keras runs on {keras.backend.backend()}. Train with --step joint, or "
            "set KERAS_BACKEND=tensorflow."
        )


class StepTimer(keras.callbacks.Callback):  # type: ignore[misc]
    """Measures the seconds a step takes in a round, but for the round's first step, which may compile the network."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start anew."""
        self._steps = 0
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count the step; the clock runs from the end of the first."""
        self._steps += 1
        if self._steps == 1:
            self._first = self._finish(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Stop the clock."""
        self._ended = self._finish(logs)

    @property
    def seconds_per_step(self) -> float:
        """Mean of the last round; of a round of one step, that step's own time."""
        if self._steps == 1:
            return self._ended - self._started
        return (self._ended - self._first) / (self._steps - 1)

    @staticmethod
    def _finish(logs: dict[str, Any] | None) -> float:
        """Return the time when the steps were done: some backends only queue them until a number is read."""
        for value in (logs or {}).values():
            float(value)
        return time.perf_counter()


class HelperTrained(keras.Model):  # type: ignore[misc]
    """A network whose training step runs one helper model for each output.

    A helper is the common part with one head; it shares the variables of this, the main model. One step takes a batch
    for each output (``Batches(batch_per_output=True)``), differentiates each helper's own loss on its own batch, sums
    the gradients over the shared variables and applies them to the main model once: the source's "custom model". So a
    step uses as many batches as there are outputs. The training-only head is trained on every batch, at an equal share
    of its weight.

    TensorFlow only, see ``check_backend``. Build it from a network's ``input`` and ``output``.
    """

    def prepare(self, loss_weights: dict[str, float], losses: dict[str, Any]) -> None:
        """Build the helpers.

        Args:
            loss_weights: By head, what its loss counts.
            losses: By head, its loss function of (true, predicted), without reduction over the batch.
        """
        self._loss_weights = loss_weights
        self._head_losses = losses  # Keras keeps another kind of loss in _losses
        self._names = [name for name in self.output if name != AUXILIARY]
        shared = {AUXILIARY: self.output[AUXILIARY]} if AUXILIARY in self.output else {}
        self.helpers = [keras.Model(self.input, {name: self.output[name]} | shared) for name in self._names]
        self._trackers = [keras.metrics.Mean(f"{name}_loss") for name in loss_weights]
        self._total = keras.metrics.Mean("loss")

    @property
    def metrics(self) -> list[Any]:
        """One mean loss a head and the weighted total, reset every round."""
        return [self._total, *self._trackers]

    def train_step(self, data: Any) -> dict[str, Any]:
        """Do one step on the outputs' batches, which follow one another in ``data``."""
        gradients, losses = self.summed_gradients(data)
        self.optimizer.apply(gradients, self.trainable_variables)
        self._total.update_state(sum(self._loss_weights[name] * loss for name, loss in losses.items()))
        for tracker, name in zip(self._trackers, self._loss_weights, strict=True):
            tracker.update_state(losses[name])
        return {metric.name: metric.result() for metric in self.metrics}

    def summed_gradients(self, data: Any) -> tuple[list[Any], dict[str, Any]]:
        """Return the sum of the helpers' gradients, by trainable variable of the main model, and each head's loss."""
        import tensorflow as tf

        pictures, targets, weights = data
        variables = [variable.value for variable in self.trainable_variables]
        parts = tf.split(pictures, len(self.helpers))
        by_name = {
            name: (tf.split(targets[name], len(self.helpers)), tf.split(weights[name], len(self.helpers)))
            for name in self._loss_weights
        }
        totals: list[Any] = [None] * len(variables)
        losses = dict.fromkeys(self._loss_weights, 0.0)
        for index, helper in enumerate(self.helpers):
            with tf.GradientTape() as tape:
                predicted = helper(parts[index], training=True)
                objective = 0.0
                for name, prediction in predicted.items():
                    true, weight = (by_name[name][kind][index] for kind in (0, 1))
                    share = 1 / len(self.helpers) if name == AUXILIARY else 1.0
                    loss = share * tf.reduce_mean(weight * self._head_losses[name](true, prediction))
                    losses[name] = losses[name] + loss
                    objective = objective + self._loss_weights[name] * loss
            for position, gradient in enumerate(tape.gradient(objective, variables)):
                if gradient is not None:
                    totals[position] = gradient if totals[position] is None else totals[position] + gradient
        return [
            tf.zeros_like(variable) if total is None else total
            for total, variable in zip(totals, variables, strict=True)
        ], losses
