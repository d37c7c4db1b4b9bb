"""What a run adds to Keras: an optimizer that keeps an average beside the weights, and an estimate of the time."""

import time
from collections.abc import Callable
from typing import Any

import keras

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

    def finalize_variable_values(self, var_list: Any) -> None:
        """Leave the weights alone."""

    def averages(self, variables: list[Any]) -> dict[str, Any]:
        """Return the average of each of the variables that the optimizer was built for, by path."""
        return {
            variable.path: average
            for variable, average in zip(variables, self._model_variables_moving_average, strict=True)
        }
