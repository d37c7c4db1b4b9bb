"""A model folder of a few kilobytes that has every operation a graph may have, made without Keras."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from agent.contract.spec import GRAPH_FILE, SPEC_FILE, WEIGHTS_FILE, ModelSpec

SPEC = ModelSpec(name="small", backbone="small", game="carracing", width_px=12, height_px=8)
TYPES = {np.dtype("f2"): TensorProto.FLOAT16, np.dtype("f4"): TensorProto.FLOAT, np.dtype("i1"): TensorProto.INT8}
Tensors = dict[str, npt.NDArray[Any]]


def make_tensors(seed: int = 5) -> Tensors:
    """Return the weights; one is in float32 and one in int8, the others in float16."""
    generator = np.random.default_rng(seed)
    shapes = {"kernel": (4, 3, 3, 3), "depthwise": (4, 1, 3, 3), "offset": (4,), "dense": (4, 1), "bias": (1,)}
    tensors = {name: generator.normal(0, 0.2, shape).astype("f2") for name, shape in shapes.items()}
    tensors["scale"] = np.linspace(0.5, 1.5, 4, dtype="f4")
    tensors["bytes"] = generator.integers(-127, 128, (4, 4, 1, 1)).astype("i1")
    tensors["bytes_zero"] = np.zeros(4, "i1")
    return tensors


def external(name: str, value: npt.NDArray[Any], offset: int, location: str = WEIGHTS_FILE) -> TensorProto:
    """Describe a tensor whose data lie in another file."""
    tensor = TensorProto(name=name, dims=value.shape, data_type=TYPES[value.dtype], data_location=TensorProto.EXTERNAL)
    for key, content in {"location": location, "offset": offset, "length": value.nbytes}.items():
        tensor.external_data.add(key=key, value=str(content))
    return tensor


def write_weights(path: Path, tensors: Tensors) -> dict[str, int]:
    """Write a safetensors file and return where in it each tensor begins."""
    save_file(tensors, path)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return {name: 8 + length + header[name]["data_offsets"][0] for name in tensors}


def make_nodes() -> list[NodeProto]:
    """Return the operations, in the order they are computed."""

    def constant(name: str, value: Any, dtype: str) -> NodeProto:
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(value, dtype)))

    def cast(name: str) -> NodeProto:
        return helper.make_node("Cast", [name], [f"{name}32"], to=TensorProto.FLOAT)

    window = {"auto_pad": "SAME_UPPER", "strides": [2, 1], "dilations": [1, 1], "kernel_shape": [3, 3]}
    node = helper.make_node
    return [
        *(cast(name) for name in ("kernel", "depthwise", "offset", "dense", "bias")),
        constant("by", 1 / 127.5, "f4"),
        constant("plus", -1.0, "f4"),
        constant("low", 0.0, "f4"),
        constant("high", 6.0, "f4"),
        constant("amounts", [0, 0, 1, 0, 0, 0, 0, 2], "i8"),
        node("Transpose", ["observation"], ["channels"], perm=[0, 3, 1, 2]),
        node("Cast", ["channels"], ["pixels"], to=TensorProto.FLOAT),
        node("Mul", ["pixels", "by"], ["scaled"]),
        node("Add", ["scaled", "plus"], ["centred"]),
        node("Pad", ["centred", "amounts"], ["padded"]),
        node("Conv", ["padded", "kernel32", "offset32"], ["first"], **window),
        node("BatchNormalization", ["first", "scale", "offset32", "offset32", "scale"], ["normal"], epsilon=0.001),
        node("Relu", ["normal"], ["positive"]),
        node("MaxPool", ["positive"], ["pooled"], kernel_shape=[2, 3], strides=[1, 2], auto_pad="VALID"),
        node("Conv", ["pooled", "depthwise32"], ["second"], group=4, pads=[1, 1, 1, 1]),
        node("Clip", ["second", "low", "high"], ["clipped"]),
        node("AveragePool", ["clipped"], ["smooth"], kernel_shape=[1, 2], strides=[1, 1]),
        node("QuantizeLinear", ["smooth", "step", "zero"], ["coarse"]),
        node("DequantizeLinear", ["coarse", "step", "zero"], ["again"]),
        node("DequantizeLinear", ["bytes", "scale", "bytes_zero"], ["pointwise"], axis=0),
        node("Conv", ["again", "pointwise"], ["third"]),
        node("GlobalAveragePool", ["third"], ["average"]),
        node("Flatten", ["average"], ["features"], axis=1),
        *(node("Gemm", ["features", "dense32", "bias32"], [name]) for name in ("steering", "throttle")),
        node("Gemm", ["features", "dense_turned"], ["brake"], transB=1, alpha=0.5),
        node("Concat", ["steering", "throttle", "brake"], ["controls"], axis=1),
    ]


def make_graph(offsets: dict[str, int], tensors: Tensors) -> ModelProto:
    """Return the graph whose weights begin at these offsets."""
    observation = helper.make_tensor_value_info("observation", TensorProto.UINT8, [1, SPEC.height_px, SPEC.width_px, 3])
    controls = helper.make_tensor_value_info("controls", TensorProto.FLOAT, [1, 3])
    inside = [
        TensorProto(name="step", data_type=TensorProto.FLOAT, float_data=[0.05]),
        TensorProto(name="zero", data_type=TensorProto.UINT8, int32_data=[0]),
        numpy_helper.from_array(np.full((1, 4), 0.25, "f4"), "dense_turned"),
    ]
    outside = [external(name, tensors[name], offset) for name, offset in offsets.items()]
    graph = helper.make_graph(make_nodes(), "small", [observation], [controls], [*inside, *outside])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def seal(folder: Path, spec: ModelSpec = SPEC) -> Path:
    """Write the spec with the checksums of what is there."""
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (GRAPH_FILE, WEIGHTS_FILE)}
    (folder / SPEC_FILE).write_text(replace(spec, sha256=sums).to_json())
    return folder


def write_model(folder: Path, seed: int = 5) -> Path:
    """Write the whole folder; another seed makes other weights."""
    tensors = make_tensors(seed)
    offsets = write_weights(folder / WEIGHTS_FILE, tensors)
    (folder / GRAPH_FILE).write_bytes(make_graph(offsets, tensors).SerializeToString(deterministic=True))
    return seal(folder)
