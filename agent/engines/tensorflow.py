"""The network on TensorFlow: slower than OpenVINO on a CPU, there to check it and to use a GPU that TensorFlow sees."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import tensorflow as tf
from onnx import helper, numpy_helper
from safetensors.numpy import load_file

from agent.contract.errors import EngineError
from agent.contract.observation import Observation
from agent.contract.spec import GRAPH_FILE, REWRITE_GRAPH, WEIGHTS_FILE, ModelSpec
from agent.engines.base import Prediction
from agent.engines.model_folder.opening import check_observation, open_model_folder

Array = npt.NDArray[Any]
Attributes = dict[str, Any]


class TensorFlowEngine:
    """Runs a model folder's network as one compiled TensorFlow function.

    The graph is ``network.onnx``, of which the few operations that ``training.exporting`` writes are understood: no
    Keras file is deserialised and no training code is needed.

    Args:
        folder: The model: ``spec.json``, ``network.onnx``, ``weights.safetensors``.
        threads: CPU threads; None lets TensorFlow decide. TensorFlow takes it once for the whole process.

    Raises:
        SpecError: If the spec is missing, unreadable or inconsistent.
        WeightsError: If a file is missing, damaged, or disagrees with the spec.
        EngineError: If the graph has an operation this engine does not know, or TensorFlow has started already with
            another number of threads.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        self._spec, graph_file = open_model_folder(folder)
        if threads is not None:
            _limit_threads(threads)
        graph = onnx.load(graph_file, load_external_data=False).graph
        weights = load_file(folder / WEIGHTS_FILE)

        def run(observation: Any) -> Any:
            return _interpret(graph, weights, observation)

        shape = (1, self._spec.height_px, self._spec.width_px, 3)
        try:
            self._run: Any = tf.function(run).get_concrete_function(tf.TensorSpec(shape, tf.uint8))
        except (tf.errors.OpError, ValueError, KeyError) as exc:
            raise EngineError(
                f"TensorFlow {tf.__version__} cannot build {folder / GRAPH_FILE} ({exc}). Use --engine openvino."
            ) from exc

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


def _interpret(graph: onnx.GraphProto, weights: dict[str, Array], observation: Any) -> Any:
    """Build the TensorFlow operations of the graph.

    Pictures stay in TensorFlow's NHWC order although the graph says NCHW: its one transposition of a picture is left
    out, and the operations below read their kernels and axes accordingly. What depends on weights alone is computed
    here, once, with numpy.
    """
    values: dict[str, Any] = {**weights, graph.input[0].name: observation}
    for node in graph.node:
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        inputs = [values[name] for name in node.input]
        folded = all(isinstance(value, np.ndarray) for value in inputs)
        operation = (_FOLDED if folded else _OPERATIONS).get(node.op_type)
        if operation is None:
            raise EngineError(
                f"the graph has the operation {node.op_type}, expected one of {', '.join(_OPERATIONS)}. "
                f"Use --engine openvino. {REWRITE_GRAPH}"
            )
        values[node.output[0]] = operation(attributes, *inputs)
    return values[graph.output[0].name]


def _convolve(attributes: Attributes, pictures: Any, kernel: Array, bias: Array | None = None) -> Any:
    strides = attributes.get("strides", [1, 1])
    dilations = attributes.get("dilations", [1, 1])
    padding = _padding(attributes)
    if attributes.get("group", 1) > 1:  # the exporter writes no groups but depthwise ones, I1HW
        filters = _lift(kernel.transpose(2, 3, 0, 1))
        outputs = tf.nn.depthwise_conv2d(pictures, filters, [1, *strides, 1], padding, dilations=dilations)
    else:  # OIHW
        filters = _lift(kernel.transpose(2, 3, 1, 0))
        outputs = tf.nn.conv2d(pictures, filters, strides, padding, dilations=dilations)
    return outputs if bias is None else tf.nn.bias_add(outputs, bias)


def _lift(weights: Array) -> Any:
    """Turn weights into a tensor that the compiled function refers to.

    Given as they are, they would become constants in the graph, which TensorFlow copies each time it rewrites it: the
    full network then held 2.1 GB instead of 1.0 GB and took 7 s to build instead of 3 s.
    """
    with tf.init_scope():
        return tf.constant(weights)


def _normalise(attributes: Attributes, pictures: Any, scale: Array, offset: Array, mean: Array, variance: Array) -> Any:
    return tf.compat.v1.nn.fused_batch_norm(
        pictures, scale, offset, mean, variance, epsilon=attributes["epsilon"], is_training=False
    )[0]


def _pool(attributes: Attributes, pictures: Any) -> Any:
    return tf.nn.max_pool2d(pictures, attributes["kernel_shape"], attributes["strides"], _padding(attributes))


def _pad(attributes: Attributes, pictures: Any, amounts: Array) -> Any:
    before, after = amounts.reshape(2, 4)[:, [0, 2, 3, 1]]
    return tf.pad(pictures, np.stack([before, after], axis=1))


def _padding(attributes: Attributes) -> str:
    return "SAME" if attributes.get("auto_pad") == b"SAME_UPPER" else "VALID"


def _dtype(attributes: Attributes) -> npt.DTypeLike:
    return helper.tensor_dtype_to_np_dtype(attributes["to"])


# Of weights and constants: numpy arrays in, numpy arrays out.
_FOLDED: dict[str, Callable[..., Array]] = {
    "Constant": lambda attributes: numpy_helper.to_array(attributes["value"]),
    "Cast": lambda attributes, array: array.astype(_dtype(attributes)),
    "Transpose": lambda attributes, array: array.transpose(attributes["perm"]),
}

# Of pictures (NHWC) and features.
_OPERATIONS: dict[str, Callable[..., Any]] = {
    "Transpose": lambda attributes, pictures: pictures,
    "Cast": lambda attributes, value: tf.cast(value, _dtype(attributes)),
    "Mul": lambda attributes, left, right: left * right,
    "Add": lambda attributes, left, right: left + right,
    "Relu": lambda attributes, value: tf.nn.relu(value),
    "Clip": lambda attributes, value, low, high: tf.clip_by_value(value, low, high),
    "Conv": _convolve,
    "BatchNormalization": _normalise,
    "MaxPool": _pool,
    "Pad": _pad,
    "GlobalAveragePool": lambda attributes, pictures: tf.reduce_mean(pictures, [1, 2]),
    "Flatten": lambda attributes, features: features,
    "Gemm": lambda attributes, features, kernel, bias: tf.matmul(features, _lift(kernel)) + bias,
    "Concat": lambda attributes, *values: tf.concat(values, attributes["axis"]),
}
