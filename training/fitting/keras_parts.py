"""What a run adds to Keras: an optimizer that keeps an average beside the weights, and an estimate of the time."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
from safetensors.numpy import load_file, save_file

from training.fitting.config import FitConfig
from training.fitting.ending import describe_estimate


class Estimate(keras.callbacks.Callback):  # type: ignore[misc]
    """Says once how long the run will take, as soon as a few steps can be timed: the first may compile the network."""

    TIMED = 3

    def __init__(self, config: FitConfig, done: int, report: Callable[[str], None]) -> None:
        super().__init__()
        self._config, self._done, self._report = config, done, report
        self._started = 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == 0:
            self._started = time.monotonic()
        elif batch == self.TIMED:
            step_s = (time.monotonic() - self._started) / self.TIMED
            self._report(describe_estimate(self._config, self._done + batch + 1, step_s))


class AveragingAdamW(keras.optimizers.AdamW):  # type: ignore[misc]
    """AdamW whose moving average of the weights stays beside them.

    Keras calls ``finalize_variable_values`` at the end of every ``Model.fit`` and so replaces the weights by their
    average: a training in rounds would start each one from where the average, half a round behind, had come.
    """

    @classmethod
    def make(cls, learning_rate: Any, weight_decay: float, ema: float) -> Self:
        """Return the optimizer of every training.

        Args:
            learning_rate: A number or a schedule.
            weight_decay: AdamW's.
            ema: Momentum of the moving average; 0: there is none.
        """
        return cls(
            learning_rate,
            weight_decay=weight_decay,
            name="adamw",
            global_clipnorm=1.0,
            use_ema=ema > 0,
            ema_momentum=ema or 0.99,
            ema_overwrite_frequency=None,
        )

    def finalize_variable_values(self, var_list: Any) -> None:
        """Leave the weights alone."""

    def averages(self, variables: list[Any]) -> dict[str, Any]:
        """Return the average of each of the variables that the optimizer was built for, by path."""
        return {
            variable.path: average
            for variable, average in zip(variables, self._model_variables_moving_average, strict=True)
        }

    def fill(self, averaged: Any, model: Any) -> None:
        """Fill a second network with the weights of the trained one, or with their moving average if there is one."""
        values = {variable.path: variable for variable in model.variables}
        if self.use_ema:
            values |= self.averages(model.trainable_variables)
        for variable in averaged.variables:
            # Through NumPy: arrays that several processes share do not mix with arrays of one process.
            variable.assign(np.asarray(values[variable.path].numpy()))

    def save_to(self, path: Path) -> None:
        """Write all variables of the optimizer, the moving average included."""
        save_file({_key(index): np.asarray(each.numpy()) for index, each in enumerate(self.variables)}, path)

    def load_from(self, path: Path) -> None:
        """Read what :meth:`save_to` wrote.

        Raises:
            OSError, ValueError, KeyError, SafetensorError: If it is damaged, or was written by another optimizer.
        """
        tensors = load_file(path)
        for index, variable in enumerate(self.variables):
            variable.assign(tensors[_key(index)])


def _key(index: int) -> str:
    return f"{index:05d}"
