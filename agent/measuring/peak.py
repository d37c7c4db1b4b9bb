"""Measures how many multiply-adds a second OpenVINO's own kernels reach here at best.

That is not the limit of the processor: on one with AMX, OpenVINO's int8 convolutions were measured at 0.83 trillion a
second, and the processor's own instructions at 2.3 to 2.7 trillion. So the figure shows how close a network comes to
the library's best, and nothing about other kernels.
"""

# First: it stops openvino from importing its model converter, which reports the import.
import agent.engines.openvino  # noqa: F401  # isort: skip
from typing import Any, Literal

import numpy as np
import openvino
from openvino import opset13, properties
from openvino.properties import hint

from agent.contract.errors import EngineError
from agent.system.pacing import clock_ns

Precision = Literal["f32", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("f32", "bf16", "int8")

# A chain of 1 x 1 convolutions, which make up 93 % of Xception's arithmetic. Its shape is the best case for an engine:
# channels fill whole vectors (Xception's middle has 728), and its one set of weights stays in the cache.
_CHANNELS = 768
_ROWS, _COLUMNS = 16, 32
_LAYERS = 12
PEAK_MULTIPLY_ADDS = _LAYERS * _CHANNELS**2 * _ROWS * _COLUMNS
"""Multiply-adds of one pass over the chain."""


class PeakPass:
    """Measures peak arithmetic: each call is one pass over a chain of convolutions that OpenVINO runs from the cache.

    Args:
        precision: The precision of the arithmetic.
        threads: CPU threads; None lets OpenVINO take the physical cores.

    Raises:
        EngineError: If OpenVINO would compute in another precision here.
    """

    def __init__(self, precision: Precision, threads: int | None = None) -> None:
        core = openvino.Core()
        settings: dict[Any, Any] = {
            hint.performance_mode: hint.PerformanceMode.LATENCY,
            hint.inference_precision: openvino.Type.bf16 if precision == "bf16" else openvino.Type.f32,
        }
        if threads is not None:
            settings[properties.inference_num_threads] = threads
        compiled = core.compile_model(_chain(precision == "int8"), "CPU", settings)
        executed = {
            str(node.get_rt_info()["runtimePrecision"].get()).lower()
            for node in compiled.get_runtime_model().get_ops()
            if "conv" in str(node.get_rt_info()["layerType"].get()).lower()
        }
        if not executed <= ({"u8", "i8"} if precision == "int8" else {precision}):
            raise EngineError(f"OpenVINO computes convolutions in {', '.join(sorted(executed))} here, not {precision}.")
        self._request: Any = compiled.create_infer_request()
        # The memory may hold subnormal numbers, with which processors are slow. Then f32 looked 20 times slower than it
        # is, and engines seemed to run at 985 % of the limit.
        picture = self._request.get_input_tensor().data
        picture[:] = np.random.default_rng(1).normal(0, 1, picture.shape)

    def __call__(self) -> tuple[float]:
        """Return the seconds of one pass."""
        started_ns = clock_ns()
        self._request.infer(share_inputs=True)
        return ((clock_ns() - started_ns) / 1e9,)


def _chain(quantised: bool) -> Any:
    generator = np.random.default_rng(0)
    kernel = generator.normal(0, _CHANNELS**-0.5, (_CHANNELS, _CHANNELS, 1, 1)).astype(np.float32)
    weights = opset13.constant(kernel)
    if quantised:
        weights = _quantise(weights, float(np.abs(kernel).max()), signed=True)
    picture = opset13.parameter([1, _CHANNELS, _ROWS, _COLUMNS], np.float32)
    body = picture
    for _ in range(_LAYERS):
        if quantised:
            body = _quantise(body, 4.0, signed=False)
        body = opset13.relu(opset13.convolution(body, weights, [1, 1], [0, 0], [0, 0], [1, 1]))
    return openvino.Model([body], [picture])


def _quantise(value: Any, highest: float, signed: bool) -> Any:
    """Mark a value as 8-bit: OpenVINO then computes with bytes."""
    low, high = (opset13.constant(np.array(end, np.float32)) for end in (-highest if signed else 0.0, highest))
    return opset13.fake_quantize(value, low, high, low, high, 255 if signed else 256)
