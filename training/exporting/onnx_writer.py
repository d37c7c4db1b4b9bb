"""The Keras network as an ONNX graph."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from agent.contract.errors import TrainingError
from agent.contract.spec import WEIGHTS_FILE, ModelSpec

_ONNX_OPSET = 17
_ONNX_IR = 8  # the version of the release with opset 17, which older runtimes can read
# By safetensors' names.
_ONNX_TYPES = {"F16": TensorProto.FLOAT16, "F32": TensorProto.FLOAT, "I8": TensorProto.INT8, "U8": TensorProto.UINT8}


def external_tensors(weights: Path, location: str) -> dict[str, TensorProto]:
    """Describe the tensors of a safetensors file as ONNX tensors whose data are in that file.

    Args:
        weights: The file.
        location: The file's name beside the graph that refers to it.
    """
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensor = TensorProto(name=name, dims=entry["shape"], data_type=_ONNX_TYPES[entry["dtype"]])
        tensor.data_location = TensorProto.EXTERNAL
        place = {"location": location, "offset": 8 + length + begin, "length": end - begin}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        tensors[name] = tensor
    return tensors


def build_graph(model: Any, spec: ModelSpec, weights: Path) -> ModelProto:
    writer = _GraphWriter(weights)
    channels_first = writer.node("Transpose", ["observation"], perm=[0, 3, 1, 2])
    pixels = writer.node("Cast", [channels_first], to=TensorProto.FLOAT)
    # A model with the wanted outputs only: Keras leaves out what the head for training needs.
    heads = keras.Model(model.inputs, [model.output[name] for name in spec.output_names])
    predictions = writer.model(heads, [pixels])
    writer.nodes.append(helper.make_node("Concat", predictions, ["controls"], axis=1))
    observation = helper.make_tensor_value_info("observation", TensorProto.UINT8, [1, *spec.observation_shape])
    controls = helper.make_tensor_value_info("controls", TensorProto.FLOAT, [1, len(spec.outputs)])
    graph = helper.make_graph(
        writer.nodes, spec.backbone, [observation], [controls], list(writer.initializers.values())
    )
    opset = helper.make_opsetid("", _ONNX_OPSET)
    return helper.make_model(graph, producer_name="hoodcam", opset_imports=[opset], ir_version=_ONNX_IR)


class _GraphWriter:
    """Translates a Keras functional graph, layer by layer, to ONNX nodes in NCHW order.

    Attributes:
        nodes: In execution order.
        initializers: Tensors by their key in the weights file; the data stay in that file.
    """

    def __init__(self, weights: Path) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}
        self._tensors = external_tensors(weights, WEIGHTS_FILE)
        self._outputs: set[str] = set()

    def model(self, model: Any, inputs: list[str], prefix: str = "") -> list[str]:
        """Translate a functional model with these input values, and return the names of its outputs."""
        values = {id(tensor): value for tensor, value in zip(model.inputs, inputs, strict=True)}
        for depth in sorted(model._nodes_by_depth, reverse=True):
            for node in model._nodes_by_depth[depth]:
                if node.is_input:
                    continue
                arguments = [values[id(tensor)] for tensor in node.input_tensors]
                layer = node.operation
                if isinstance(layer, keras.Model):
                    results = self.model(layer, arguments, f"{prefix}{layer.name}/")
                else:
                    rank = len(node.input_tensors[0].shape)
                    results = [_translate(self, layer, f"{prefix}{layer.name}", arguments, rank)]
                values |= {id(tensor): value for tensor, value in zip(node.outputs, results, strict=True)}
        return [values[id(tensor)] for tensor in model.outputs]

    def node(self, op: str, inputs: list[str], name: str = "", **attributes: Any) -> str:
        """Append a node and return its output's name. A name that is taken, by a layer called twice, gets a number."""
        output = f"{name or op}_{len(self.nodes)}" if not name or name in self._outputs else name
        self._outputs.add(output)
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def constant(self, value: Any, dtype: type[np.generic]) -> str:
        """Append a small constant of the architecture; it is not one of the weights."""
        return self.node("Constant", [], value=numpy_helper.from_array(np.array(value, dtype)))

    def weight(self, key: str, permutation: list[int] | None = None) -> str:
        """Refer to a tensor of the weights file, as float32 and with its axes permuted."""
        if key not in self.initializers:
            self.initializers[key] = self._tensors[key]
        name = key
        if self.initializers[key].data_type != TensorProto.FLOAT:
            name = self.node("Cast", [name], to=TensorProto.FLOAT)
        return name if permutation is None else self.node("Transpose", [name], perm=permutation)


def _translate(writer: _GraphWriter, layer: Any, path: str, inputs: list[str], rank: int) -> str:
    """Append the nodes of one layer and return its output's name.

    Args:
        writer: Where to append them.
        layer: A Keras layer without layers inside.
        path: The layer's key in the weights file.
        inputs: Names of its input values.
        rank: Number of axes of the first input.
    """
    for kind, translate in _TRANSLATIONS.items():
        if isinstance(layer, kind):
            _require(layer, getattr(layer, "data_format", "channels_last") == "channels_last", "channels_first")
            return translate(writer, layer, path, inputs, rank)
    raise TrainingError(
        f"layer {layer.name!r} is a {type(layer).__name__}, which cannot be exported; the layers that can be are "
        f"{', '.join(kind.__name__ for kind in _TRANSLATIONS)}. Use those, or add this one to "
        "training/exporting/onnx_writer.py."
    )


def _require(layer: Any, fulfilled: bool, what: str) -> None:
    if not fulfilled:
        raise TrainingError(
            f"layer {layer.name!r} ({type(layer).__name__}) uses {what}, which cannot be exported. Build the network "
            "without it, or add this setting to training/exporting/onnx_writer.py."
        )


def _identity(writer: _GraphWriter, layer: Any, path: str, inputs: list[str], rank: int) -> str:
    return inputs[0]


def _rescaling(writer: _GraphWriter, layer: Any, path: str, inputs: list[str], rank: int) -> str:
    _require(layer, np.ndim(layer.scale) == 0 and np.ndim(layer.offset) == 0, "a scale or offset for each channel")
    scaled = writer.node("Mul", [inputs[0], writer.constant(layer.scale, np.float32)])
    return writer.node("Add", [scaled, writer.constant(layer.offset, np.float32)], path)


def _conv(writer: _GraphWriter, layer: Any, path: str, inputs: list[str], rank: int) -> str:
    _require(layer, layer.groups == 1, "groups")
    kernel = writer.weight(f"{path}/kernel", [3, 2, 0, 1])  # HWIO to OIHW
    output = writer.node("Conv", [inputs[0], kernel, *_bias(writer, layer, path)], path, **_window(layer))
    return _activate(writer, layer, output)


def _depthwise_conv(writer: _GraphWriter, layer: Any, path: str, inputs: list[str], rank: int) -> str:
    _require(layer, layer.depth_multiplier == 1, "a depth multiplier")
    kernel = writer.weight(f"{path}/kernel", [2, 3, 0, 1])  # HWI1 to I1HW
    bias = _bias(writer, layer, path)
    channels = layer.kernel.shape[2]
    output = writer.node("Conv", [inputs[0], kernel, *bias], path, group=channels, **_window(layer))
    return _activate(writer, layer, output)


def _separable_conv(writer: _GraphWriter, layer: Any, path: str, inputs: list[str], rank: int) -> str:
    _require(layer, layer.depth_multiplier == 1, "a depth multiplier")
    depthwise = writer.weight(f"{path}/depthwise_kernel", [2, 3, 0, 1])
    channels = layer.depthwise_kernel.shape[2]
    spatial = writer.node("Conv", [inputs[0], depthwise], f"{path}/depthwise", group=channels, **_window(layer))
    pointwise = writer.weight(f"{path}/pointwise_kernel", [3, 2, 0, 1])
    output = writer.node("Conv", [spatial, pointwise, *_bias(writer, layer, path)], path)
    return _activate(writer, layer, output)


def _batch_norm(writer: _GraphWriter, layer: Any, path: str, inputs: list[str], rank: int) -> str:
    axis = layer.axis if isinstance(layer.axis, int) else layer.axis[0]
    _require(layer, axis in (-1, rank - 1), "an axis other than the channels")
    _require(layer, layer.scale and layer.center, "no scale or no offset")
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    parameters = [writer.weight(f"{path}/{name}") for name in names]
    return writer.node("BatchNormalization", [inputs[0], *parameters], path, epsilon=float(layer.epsilon))


def _activation(writer: _GraphWriter, layer: Any, path: str, inputs: list[str], rank: int) -> str:
    return _activate(writer, layer, inputs[0])


def _relu(writer: _GraphWriter, layer: Any, path: str, inputs: list[str], rank: int) -> str:
    _require(layer, not layer.negative_slope and not layer.threshold, "a negative slope or a threshold")
    if layer.max_value is None:
        return writer.node("Relu", inputs, path)
    limits = [writer.constant(value, np.float32) for value in (0.0, layer.max_value)]
    return writer.node("Clip", [inputs[0], *limits], path)


def _max_pooling(writer: _GraphWriter, layer: Any, path: str, inputs: list[str], rank: int) -> str:
    window = {"kernel_shape": list(layer.pool_size), "strides": list(layer.strides)}
    return writer.node("MaxPool", inputs, path, auto_pad=_padding(layer), **window)


def _average_pooling(writer: _GraphWriter, layer: Any, path: str, inputs: list[str], rank: int) -> str:
    _require(layer, layer.padding == "valid", f"padding {layer.padding!r}")
    window = {"kernel_shape": list(layer.pool_size), "strides": list(layer.strides)}
    return writer.node("AveragePool", inputs, path, **window)


def _flatten(writer: _GraphWriter, layer: Any, path: str, inputs: list[str], rank: int) -> str:
    channels_last = inputs if rank != 4 else [writer.node("Transpose", inputs, perm=[0, 2, 3, 1])]
    return writer.node("Flatten", channels_last, path, axis=1)


def _add(writer: _GraphWriter, layer: Any, path: str, inputs: list[str], rank: int) -> str:
    _require(layer, len(inputs) == 2, "another number of inputs than two")
    return writer.node("Add", inputs, path)


def _global_average(writer: _GraphWriter, layer: Any, path: str, inputs: list[str], rank: int) -> str:
    _require(layer, not layer.keepdims, "keepdims")
    return writer.node("Flatten", [writer.node("GlobalAveragePool", inputs)], path, axis=1)


def _dense(writer: _GraphWriter, layer: Any, path: str, inputs: list[str], rank: int) -> str:
    _require(layer, rank == 2, f"an input of {rank} axes")
    kernel = writer.weight(f"{path}/kernel")
    return _activate(writer, layer, writer.node("Gemm", [inputs[0], kernel, *_bias(writer, layer, path)], path))


def _zero_padding(writer: _GraphWriter, layer: Any, path: str, inputs: list[str], rank: int) -> str:
    (top, bottom), (left, right) = layer.padding
    amounts = writer.constant([0, 0, top, left, 0, 0, bottom, right], np.int64)
    return writer.node("Pad", [inputs[0], amounts], path)


_TRANSLATIONS: dict[Any, Callable[[_GraphWriter, Any, str, list[str], int], str]] = {
    keras.layers.Rescaling: _rescaling,
    keras.layers.DepthwiseConv2D: _depthwise_conv,
    keras.layers.SeparableConv2D: _separable_conv,
    keras.layers.Conv2D: _conv,
    keras.layers.BatchNormalization: _batch_norm,
    keras.layers.Activation: _activation,
    keras.layers.ReLU: _relu,
    keras.layers.MaxPooling2D: _max_pooling,
    keras.layers.AveragePooling2D: _average_pooling,
    keras.layers.Flatten: _flatten,
    keras.layers.Add: _add,
    keras.layers.GlobalAveragePooling2D: _global_average,
    keras.layers.Dense: _dense,
    keras.layers.ZeroPadding2D: _zero_padding,
    keras.layers.Dropout: _identity,
}


def _bias(writer: _GraphWriter, layer: Any, path: str) -> list[str]:
    return [writer.weight(f"{path}/bias")] if layer.use_bias else []


def _window(layer: Any) -> dict[str, Any]:
    window = {
        "kernel_shape": list(layer.kernel_size),
        "strides": list(layer.strides),
        "dilations": list(layer.dilation_rate),
    }
    auto_pad = _padding(layer)
    if auto_pad != "SAME_UPPER" or set(layer.dilation_rate) == {1}:
        return {**window, "auto_pad": auto_pad}
    # ONNX Runtime (1.32) refuses auto_pad with dilations. Keras allows dilations only with a stride of 1.
    # Then the padding depends on the kernel alone, not on the picture.
    whole = [(size - 1) * step for size, step in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
    before = [total // 2 for total in whole]
    return {**window, "pads": [*before, *(total - first for total, first in zip(whole, before, strict=True))]}


def _padding(layer: Any) -> str:
    _require(layer, layer.padding in ("same", "valid"), f"padding {layer.padding!r}")
    # Like SAME_UPPER, TensorFlow's "same" puts an odd pixel below and to the right.
    return "SAME_UPPER" if layer.padding == "same" else "VALID"


def _activate(writer: _GraphWriter, layer: Any, value: str) -> str:
    if layer.activation is keras.activations.linear:
        return value
    if layer.activation is keras.activations.relu:
        return writer.node("Relu", [value])
    if layer.activation is keras.activations.relu6:
        return writer.node("Clip", [value, writer.constant(0.0, np.float32), writer.constant(6.0, np.float32)])
    name = getattr(layer.activation, "__name__", layer.activation)
    raise TrainingError(
        f"layer {layer.name!r} has the activation {name!r}, which cannot be exported, expected relu, relu6 or linear. "
        "Build the network with one of them."
    )
