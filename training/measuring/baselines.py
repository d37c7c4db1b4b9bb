"""The network run the usual ways, for `python -m agent bench --with-keras` to compare with."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from agent.contract.observation import Observation
from agent.contract.spec import WEIGHTS_FILE, ModelSpec
from agent.engines.base import Prediction
from training.network.build import build_network
from training.network.weights_file import load_weights


class KerasPredict:
    """``keras.Model.predict`` for every picture, as most code one finds does it.

    Args:
        folder: The model.
        threads: Processor threads; None lets TensorFlow decide.

    Raises:
        SpecError: If the spec is missing, unreadable or inconsistent.
        WeightsError: If the weights are missing, damaged, or of another network.
    """

    name = "keras-predict"

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        self.spec, self._model = _load(folder, threads)

    def infer(self, observation: Observation) -> Prediction:
        """Return one prediction."""
        return _in_order(self.spec, self._model.predict(observation[np.newaxis], verbose=0))

    def close(self) -> None:
        """Do nothing: the process ends anyway."""


class TensorFlowFunction:
    """The Keras network as a ``tf.function`` compiled for one picture.

    Arguments and errors are those of :class:`KerasPredict`.
    """

    name = "tf-function"

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        self.spec, model = _load(folder, threads)

        def call(observation: Any) -> Any:
            return model(observation, training=False)

        shape = (1, self.spec.height_px, self.spec.width_px, 3)
        self._run = tf.function(call).get_concrete_function(tf.TensorSpec(shape, tf.uint8))

    def infer(self, observation: Observation) -> Prediction:
        """Return one prediction."""
        outputs = self._run(tf.constant(observation[np.newaxis]))
        return _in_order(self.spec, {name: value.numpy() for name, value in outputs.items()})

    def close(self) -> None:
        """Do nothing: the process ends anyway."""


def _load(folder: Path, threads: int | None) -> tuple[ModelSpec, Any]:
    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    spec = ModelSpec.load(folder)
    spec.verify_files(folder, WEIGHTS_FILE)
    model = build_network(spec.backbone, spec.height_px, spec.width_px, spec.outputs)
    load_weights(model, folder / WEIGHTS_FILE)
    return spec, model


def _in_order(spec: ModelSpec, outputs: dict[str, Any]) -> Prediction:
    return np.array([outputs[name][0, 0] for name in spec.output_names], np.float32)
