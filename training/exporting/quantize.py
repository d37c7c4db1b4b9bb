"""int8 weights made from float weights, by post-training quantisation on recorded pictures."""

# First: it keeps openvino from importing, and so reporting, more than is needed here.
import agent.engines.openvino  # noqa: F401  # isort: skip
import json
import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import openvino
from onnx import ModelProto, TensorProto, helper, numpy_helper
from openvino import properties
from safetensors.numpy import save_file

from agent.contract.durable import replace_file, sync_file, sync_folder
from agent.contract.errors import TrainingError
from agent.contract.observation import Observation, newest_picture
from agent.contract.spec import (
    GRAPH_FILE,
    INT8_GRAPH_FILE,
    INT8_WEIGHTS_FILE,
    PROBE_FILE,
    QUANTIZE,
    SPEC_FILE,
    ModelSpec,
    Quantization,
)
from agent.engines.registry import find_engines, load_engine
from agent.sessions.comparison import Comparison
from training.exporting.export import sha256
from training.exporting.onnx_writer import external_tensors

# NNCF reports its use to Google Analytics unless one of its own two variables says that its developers are at work.
os.environ["NNCF_DEV"] = "1"

import nncf
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, QuantizationParameters

SAME_DRIVING = 0.01
"""int8 is chosen by itself only if its mean return differs by at most this share of the float weights'."""
_BYTE_SCALE = 0.999
_CONVOLUTIONS = ("Convolution", "GroupConvolution")  # OpenVINO's types of layers
_LARGEST_DEVIATION = 0.1
"""A larger mean difference from float32 means that something is wrong; weights that drive have 0.01."""


@dataclass(frozen=True, slots=True)
class QuantizationReport:
    """The result of a quantisation.

    Attributes:
        spec: The spec, as written.
        float_layers: Convolutions meant for int8 that OpenVINO computes in float here, from its profile.
        convolutions: Number of all convolutions.
    """

    spec: ModelSpec
    float_layers: tuple[str, ...]
    convolutions: int


def quantize_model(
    folder: Path, calibration: npt.NDArray[np.uint8], check: npt.NDArray[np.uint8], say: Callable[[str], None]
) -> QuantizationReport:
    """Write int8 weights beside a model folder's float ones.

    First, BatchNormalization and the scaling of the bytes are folded into the convolutions. This is exact, because the
    first convolution pads nothing. So the quantised network takes raw bytes. Weights are int8 with a scale for each
    channel; activations are int8 or uint8 with a scale for each tensor. Biases and pooled features are corrected for
    the mean error. The 3 x 3 and the pointwise convolutions are in int8: 98 % of the arithmetic. Depthwise
    convolutions, strided shortcuts, residual sums, pooling and dense layers stay in float. Why: ``docs/lab/int8.md``.

    Args:
        folder: The model; its spec is replaced, its float files are only read.
        calibration: Observations of the model's own game, on which the ranges are measured: uint8, shape (n,
            height_px, width_px, 3 a picture), RGB. Weights that drive need 128 or more; 8 are too few.
        check: Further ones, on which the deviation from float32 is measured; the newest picture of the first becomes
            ``probe.png``. A network of several pictures answers to that one several times.
        say: Receives one line at a time.

    Raises:
        SpecError: If the spec is unreadable.
        WeightsError: If the float files are missing or damaged.
        TrainingError: If there are no pictures, or the result predicts nonsense.
    """
    if not len(calibration) or not len(check):
        raise TrainingError("there are no pictures to calibrate or check with, expected recorded ones. Pass --data.")
    spec = ModelSpec.load(folder)
    engine = load_engine("openvino", folder)
    reference = np.stack([engine.infer(picture) for picture in check])
    say(f"measuring ranges on {len(calibration)} pictures")
    folded = _fold(folder / GRAPH_FILE)
    model = _quantize(folded, calibration)
    _centre_features(model, folded, calibration)
    with tempfile.TemporaryDirectory(prefix=".quantizing-", dir=folder) as name:  # on the same disk, to be renamed
        made = Path(name)
        _write_model(model, made)
        probe = newest_picture(check[0])
        _write_picture(probe, made / PROBE_FILE)
        still = np.tile(probe, spec.pictures)
        (answer, *rest), executed = _run(made / INT8_GRAPH_FILE, np.stack([still, *check]))
        predicted = np.stack(rest)
        deviation = np.abs(predicted - reference)
        _check_deviation(float(deviation.mean()))
        spec = replace(
            spec,
            sha256=spec.sha256 | {path.name: sha256(path) for path in made.iterdir()},
            quantization=Quantization(
                pictures=len(calibration),
                mean_deviation=_by_output(spec, deviation.mean(axis=0)),
                max_deviation=_by_output(spec, deviation.max(axis=0)),
                probe=_by_output(spec, answer),
            ),
        )
        (made / SPEC_FILE).write_text(spec.to_json(), encoding="utf-8")
        _put_in_place(made, folder)
    float_kinds = {layer for layer, kind in executed.items() if not kind.lower().endswith("i8")}  # AMX's are lower case
    meant = tuple(_float_convolutions(folded.graph))
    unexpected = tuple(sorted(layer for layer in float_kinds if not layer.startswith(meant)))
    return QuantizationReport(spec, unexpected, len(executed))


def _check_deviation(mean: float) -> None:
    if not mean <= _LARGEST_DEVIATION:  # also catches NaN
        raise TrainingError(
            f"the int8 network differs from the float one by {mean:.3f} on average, expected at most "
            f"{_LARGEST_DEVIATION}. Calibrate on more pictures, of the model's own game."
        )


def _put_in_place(made: Path, folder: Path) -> None:
    """Move the files into the model's folder, the spec last: it holds the checksums of the others."""
    files = (INT8_WEIGHTS_FILE, INT8_GRAPH_FILE, PROBE_FILE, SPEC_FILE)
    for file in files:
        sync_file(made / file)
    for file in files:
        os.replace(made / file, folder / file)
    sync_folder(folder)


def approve_int8(folder: Path, comparison: Path) -> Comparison:
    """Record in the spec that the int8 weights drive as well as the float weights; ``--engine auto`` then takes them.

    Args:
        folder: The model, with int8 weights.
        comparison: Output of ``agent compare --json`` for its float and its int8 driving on the same tracks.

    Raises:
        TrainingError: If there are no int8 weights, the comparison is of other drivers, unreadable, or does not show
            the same driving within 1 % with 95 % confidence.
    """
    spec = ModelSpec.load(folder)
    if spec.quantization is None:
        raise TrainingError(f"{folder} has no int8 weights to approve. {QUANTIZE}")
    try:
        compared = Comparison(**json.loads(comparison.read_text(encoding="utf-8")))
        same = compared.same_within(SAME_DRIVING)
    except (OSError, ValueError, TypeError) as exc:
        raise TrainingError(
            f"{comparison} cannot be read as a comparison ({exc}), expected what `python -m agent compare FLOAT.json "
            "--with INT8.json --json` prints."
        ) from exc
    entries = tuple(find_engines(lambda line: None))
    float_drivers = {f"{spec.name}, {entry.name}" for entry in entries if entry.precision != "int8"}
    int8_drivers = {f"{spec.name}, {entry.name}" for entry in entries if entry.precision == "int8"}
    if compared.first not in float_drivers or compared.second not in int8_drivers:
        raise TrainingError(
            f"{comparison} compares {compared.first!r} with {compared.second!r}, expected {spec.name} on a float "
            "engine first, then on an int8 one. Compare the two evaluations in that order."
        )
    if not same:
        raise TrainingError(
            f"int8 drives {compared.difference:+.1f} ({compared.low:+.1f} to {compared.high:+.1f}) against a mean "
            f"return of {compared.first_mean:.1f}, expected the whole interval within {SAME_DRIVING:.0%}. Drive more "
            "tracks; if the difference stays, calibrate on more pictures or keep to float."
        )
    keys = ("tracks", "first_mean", "second_mean", "difference", "low", "high")
    driving = {key: round(float(getattr(compared, key)), 3) for key in keys}
    spec = replace(spec, quantization=replace(spec.quantization, driving=driving))
    replace_file(folder / SPEC_FILE, spec.to_json())
    return compared


def _fold(graph: Path) -> ModelProto:
    """Fold the constant parts: transpositions of weights, BatchNormalization, and the scaling of the bytes."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        model = onnx.load(options.optimized_model_filepath)
    standard = [opset for opset in model.opset_import if opset.domain == ""]
    del model.opset_import[:]
    model.opset_import.extend(standard)
    _fold_scaling(model.graph)
    for node in model.graph.node:
        node.name = node.name or node.output[0]
    return model


def _fold_scaling(graph: onnx.GraphProto) -> None:
    """Let the first convolution take bytes in place of values in [-1, 1]: w (x s + o) + b = (w s) x + (b + o sum w)."""
    scale, shift, convolution = (
        next(node for node in graph.node if node.op_type == op) for op in ("Mul", "Add", "Conv")
    )
    padding = {attribute.name: helper.get_attribute_value(attribute) for attribute in convolution.attribute}
    chained = shift.input[0] == scale.output[0] and convolution.input[0] == shift.output[0]
    if (
        not chained
        or len(convolution.input) != 3
        or any(padding.get("pads", []))
        or padding.get("auto_pad") == b"SAME_UPPER"
    ):
        return  # the graph begins differently, or pads with zeros that are not black: the scaling stays
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    factor, offset, kernel, bias = (
        numpy_helper.to_array(initializers[name]).astype(np.float64)
        for name in (scale.input[1], shift.input[1], *convolution.input[1:])
    )
    bias = bias + offset * kernel.sum(axis=(1, 2, 3))
    for name, value in zip(convolution.input[1:], (kernel * factor, bias), strict=True):
        initializers[name].CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))
    convolution.input[0] = scale.input[0]
    for spent in (scale, shift):
        graph.node.remove(spent)
        graph.initializer.remove(initializers[spent.input[1]])


def _quantize(model: ModelProto, pictures: npt.NDArray[np.uint8]) -> ModelProto:
    # Its own set_log_level would also change the handlers that others have put on its logger.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    name = model.graph.input[0].name
    # Only OpenVINO knows a scale for each channel of an activation: ONNX Runtime refuses such a graph.
    per_tensor = QuantizationParameters(per_channel=False)
    quantized: ModelProto = nncf.quantize(
        model,
        nncf.Dataset([{name: picture[np.newaxis]} for picture in pictures]),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        subset_size=len(pictures),
        fast_bias_correction=True,
        ignored_scope=nncf.IgnoredScope(
            names=_float_convolutions(model.graph), types=["Gemm", "Add", "MaxPool", "AveragePool"], validate=False
        ),
        advanced_parameters=AdvancedQuantizationParameters(activations_quantization_params=per_tensor),
    )
    return quantized


def _float_convolutions(graph: onnx.GraphProto) -> list[str]:
    """Return the names of the convolutions that stay in float: the depthwise ones, and the strided shortcuts.

    A strided shortcut, beside a block, has a kernel of one pixel and a stride.
    """
    pointwise = {tensor.name for tensor in graph.initializer if list(tensor.dims[2:]) == [1, 1]}
    names = []
    for node in graph.node:
        window = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        strided = set(window.get("strides", [1])) != {1}
        if node.op_type == "Conv" and (window.get("group", 1) > 1 or (strided and pointwise.intersection(node.input))):
            names.append(node.name)
    return names


def _centre_features(quantized: ModelProto, exact: ModelProto, pictures: npt.NDArray[np.uint8]) -> None:
    """Undo the shift of the pooled features' means: correct the bias of the layer that follows them.

    The dense layers are in float, so the correction is exact. It removes the part of the rounding error that all
    pictures have in common: more than half of the steering's mean error, and more than three quarters of the
    throttle's.
    """
    shift = _features(exact, pictures).mean(axis=0) - _features(quantized, pictures).mean(axis=0)
    initializers = {tensor.name: tensor for tensor in quantized.graph.initializer}
    gemms = [node for node in quantized.graph.node if node.op_type == "Gemm"]
    for dense in (node for node in gemms if node.input[0] == gemms[0].input[0]):
        kernel, bias = (initializers[name] for name in dense.input[1:])
        transposed = any(attribute.name == "transB" and attribute.i for attribute in dense.attribute)
        weights = numpy_helper.to_array(kernel).astype(np.float64)
        centred = numpy_helper.to_array(bias) + shift @ (weights.T if transposed else weights)
        # A separate tensor: layers with equal biases, such as zeros, may share one.
        dense.input[2] = f"{dense.name}/centred_bias"
        quantized.graph.initializer.append(numpy_helper.from_array(centred.astype(np.float32), dense.input[2]))


def _features(model: ModelProto, pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return the input of a graph's first dense layer: float64, shape (n, features)."""
    output = next(node for node in model.graph.node if node.op_type == "Gemm").input[0]
    copy = ModelProto.FromString(model.SerializeToString())
    del copy.graph.output[:]
    copy.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(copy.SerializeToString(), providers=["CPUExecutionProvider"])
    name = copy.graph.input[0].name
    return np.concatenate([session.run(None, {name: picture[np.newaxis]})[0] for picture in pictures]).astype(
        np.float64
    )


def _write_model(model: ModelProto, folder: Path) -> None:
    """Write the weights as safetensors, and the graph that refers to them."""
    graph = model.graph
    _make_input_exact(graph)
    dense = {node.input[1] for node in graph.node if node.op_type == "Gemm"}
    tensors, casts = {}, []
    for tensor in graph.initializer:
        value = numpy_helper.to_array(tensor)
        if tensor.name in dense:
            halved = f"{tensor.name}/float16"
            casts.append(helper.make_node("Cast", [halved], [tensor.name], to=TensorProto.FLOAT))
            tensors[halved] = value.astype(np.float16)
        elif value.size > 1:
            tensors[tensor.name] = np.ascontiguousarray(value)
    save_file(tensors, folder / INT8_WEIGHTS_FILE)
    (folder / INT8_WEIGHTS_FILE).chmod(0o644)  # safetensors writes 0600, but others should be able to read a model
    scalars = [tensor for tensor in graph.initializer if tensor.name not in tensors and tensor.name not in dense]
    external = external_tensors(folder / INT8_WEIGHTS_FILE, INT8_WEIGHTS_FILE).values()
    nodes = casts + list(graph.node)
    for field, values in ((graph.initializer, [*scalars, *external]), (graph.node, nodes)):
        kept = [type(value).FromString(value.SerializeToString()) for value in values]
        del field[:]
        field.extend(kept)
    del graph.value_info[:]
    model.producer_name = "hoodcam"
    (folder / INT8_GRAPH_FILE).write_bytes(model.SerializeToString(deterministic=True))


def _make_input_exact(graph: onnx.GraphProto) -> None:
    """Make every byte its own quantised value, whatever the brightest byte of the calibration pictures was.

    The scale is set just below 1, and the kernel's scales make up for it. With a scale of exactly 1, OpenVINO would see
    nothing to do and leave the convolution in float.
    """
    first = next(node for node in graph.node if node.op_type == "QuantizeLinear")
    cast = next(node for node in graph.node if node.op_type == "Cast")
    if first.input[0] != cast.output[0]:
        return  # the scaling was not folded into it
    producers = {node.output[0]: node for node in graph.node}
    convolution = next(node for node in graph.node if node.op_type == "Conv")
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    kernel_scale = initializers[producers[convolution.input[1]].input[1]]
    byte_scale = initializers[first.input[1]]
    for tensor, value in (
        (kernel_scale, numpy_helper.to_array(kernel_scale) / _BYTE_SCALE),
        (byte_scale, np.array(_BYTE_SCALE)),
    ):
        tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float32), tensor.name))


def _run(graph: Path, pictures: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], dict[str, str]]:
    """Return a graph's predictions on OpenVINO, and the kind of kernel that computed each convolution."""
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(graph), "CPU", {properties.enable_profiling: True})
    request = compiled.create_infer_request()
    predicted = np.stack([request.infer([picture[np.newaxis]])[0][0] for picture in pictures])
    # By the layer's type: not every kernel has "conv" in its name (AMX's `jit_avx512_amx_1x1_i8`).
    executed = {step.node_name: step.exec_type for step in request.profiling_info if step.node_type in _CONVOLUTIONS}
    return predicted, executed


def _write_picture(picture: Observation, path: Path) -> None:
    pixels = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    path.write_bytes(data.tobytes())


def _by_output(spec: ModelSpec, values: npt.NDArray[np.floating[Any]]) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in zip(spec.output_names, values, strict=True)}
