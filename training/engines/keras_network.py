"""The network as Keras builds it for training, with a model folder's weights."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from agent.contract.errors import EngineError, TrainingError
from agent.contract.observation import Observation
from agent.contract.spec import WEIGHTS_FILE, ModelSpec
from agent.engines.base import Prediction
from agent.engines.model_folder.opening import check_observation, open_model_folder
from training.network.build import build_network
from training.network.weights_file import load_weights


class TensorFlowEngine:
    """Runs the Keras network as one compiled TensorFlow function.

    No Keras file is deserialised: the network is built anew from the spec, and only the weights are read.

    Args:
        folder: The model: ``spec.json``, ``network.onnx``, ``weights.safetensors``.
        threads: CPU threads; None lets TensorFlow decide. TensorFlow takes it once for the whole process.

    Raises:
        SpecError: If the spec is missing, unreadable or inconsistent.
        WeightsError: If a file is missing, damaged, or disagrees with the spec.
        EngineError: If the backbone is not one of training's, Keras runs on another backend, or TensorFlow has started
            already with another number of threads.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        self._spec, model = _load(folder, threads)

        def run(observation: Any) -> Any:
            outputs = model(observation, training=False)
            return tf.concat([outputs[name] for name in self._spec.output_names], axis=1)

        shape = (1, *self._spec.observation_shape)
        self._run: Any = tf.function(run).get_concrete_function(tf.TensorSpec(shape, tf.uint8))

    @property
    def name(self) -> str:
        """``tensorflow``."""
        return "tensorflow"

    @property
    def spec(self) -> ModelSpec:
        """The description of the loaded weights."""
        return self._spec

    def infer(self, observation: Observation) -> Prediction:
        """Return one prediction.

        Raises:
            ValueError: If the observation is not uint8 of the spec's size.
            EngineError: If the engine is closed, or TensorFlow fails.
        """
        check_observation(self._spec, observation)
        if self._run is None:
            raise EngineError("the tensorflow engine is closed, expected an open one. Make a new one.")
        try:
            prediction: Prediction = self._run(tf.constant(observation[np.newaxis])).numpy()[0]
        except tf.errors.OpError as exc:
            raise EngineError(f"TensorFlow failed ({exc.message}). Use --engine openvino.") from exc
        return prediction

    def close(self) -> None:
        """Release the network's memory."""
        self._run = None


class KerasPredict:
    """``keras.Model.predict`` for every picture, as most code one finds does it.

    Arguments and errors are those of :class:`TensorFlowEngine`.
    """

    name = "keras-predict"

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        self.spec, self._model = _load(folder, threads)

    def infer(self, observation: Observation) -> Prediction:
        """Return one prediction.

        Raises:
            ValueError: If the observation is not uint8 of the spec's size.
            EngineError: If the engine is closed.
        """
        check_observation(self.spec, observation)
        if self._model is None:
            raise EngineError("the keras-predict engine is closed, expected an open one. Make a new one.")
        outputs = self._model.predict(observation[np.newaxis], verbose=0)
        return np.array([outputs[name][0, 0] for name in self.spec.output_names], np.float32)

    def close(self) -> None:
        """Release the network's memory."""
        self._model = None


def _load(folder: Path, threads: int | None) -> tuple[ModelSpec, Any]:
    if keras.backend.backend() != "tensorflow":
        raise EngineError(
            f"Keras runs on {keras.backend.backend()} in this process, expected TensorFlow. Unset KERAS_BACKEND, or "
            "use --engine openvino."
        )
    opened = open_model_folder(folder)
    spec = opened.spec
    if threads is not None:
        _limit_threads(threads)
    try:
        model = build_network(spec.backbone, spec.height_px, spec.width_px, spec.outputs, pictures=spec.pictures)
    except TrainingError as exc:
        raise EngineError(f"TensorFlow cannot run {folder}: {exc} Use --engine openvino.") from exc
    load_weights(model, folder / WEIGHTS_FILE, opened.weights)
    return spec, model


def _limit_threads(threads: int) -> None:
    if tf.config.threading.get_intra_op_parallelism_threads() == threads:
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError as exc:
        raise EngineError(
            f"TensorFlow is running already and cannot be limited to {threads} threads now. Set the number of threads "
            "with the first TensorFlow engine of the process."
        ) from exc
