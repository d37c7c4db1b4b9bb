"""The network on OpenVINO: the engine that drives on a CPU."""

import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np

# Importing openvino also imports its model converter, which reports the import to Google Analytics and writes ~/intel
# (2026.4 with openvino-telemetry, on unless the user opted out). Running a network needs no converter. Without it, the
# import of openvino still works, and takes 0.1 s instead of 0.35 s.
sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]

# ruff: noqa: E402
import openvino
from openvino import properties
from openvino.properties import hint

from agent.contract.errors import EngineError, WeightsError
from agent.contract.observation import Observation
from agent.contract.spec import REWRITE_GRAPH, ModelSpec
from agent.engines.base import Prediction
from agent.engines.model_folder.embedding import embed_weights
from agent.engines.model_folder.opening import check_observation, check_probe, open_model_folder


class OpenVinoEngine:
    """Runs a model folder's network on the CPU, for the lowest latency of one picture.

    Args:
        folder: The model: ``spec.json``, ``network.onnx``, ``weights.safetensors``.
        precision: The arithmetic of the convolutions. ``bf16`` is faster and exact to about three decimal digits.
            ``int8`` is faster still and runs the folder's int8 weights; layers that stay in float use bf16 if the CPU
            has it.
        threads: CPU threads; None lets OpenVINO take the physical cores.

    Raises:
        SpecError: If the spec is missing, unreadable or inconsistent.
        WeightsError: If a file is missing, damaged, or disagrees with the spec.
        EngineError: If this CPU has no bfloat16 arithmetic, computes int8 wrongly or in float, or OpenVINO cannot run
            the network.
    """

    def __init__(
        self, folder: Path, precision: Literal["f32", "bf16", "int8"] = "f32", threads: int | None = None
    ) -> None:
        self._name = "openvino" if precision == "f32" else f"openvino-{precision}"
        opened = open_model_folder(folder, int8=precision == "int8")
        self._spec = opened.spec
        core = openvino.Core()
        has_bf16 = "BF16" in core.get_property("CPU", properties.device.capabilities)
        # For OpenVINO, bf16 is only a hint: on a CPU without bf16, it silently computes in f32.
        if precision == "bf16" and not has_bf16:
            raise EngineError(
                "this CPU has no bfloat16 arithmetic (AVX512-BF16 or AMX), expected one for openvino-bf16. "
                "Use --engine openvino."
            )
        settings: dict[Any, Any] = {
            hint.performance_mode: hint.PerformanceMode.LATENCY,
            hint.inference_precision: openvino.Type.bf16 if precision != "f32" and has_bf16 else openvino.Type.f32,
            # A pinned thread waits at every layer for whatever else runs on its core, and all other threads wait for
            # it, although the other core may be free: docs/lab/int8.md, "60 a second".
            hint.enable_cpu_pinning: False,
        }
        if threads is not None:
            settings[properties.inference_num_threads] = threads
        try:
            # From memory: by path it would read files that may be others by now, or that change while it drives.
            model = core.read_model(embed_weights(opened.graph, opened.weights))
        except Exception as exc:
            raise WeightsError(
                f"OpenVINO cannot read {opened.graph_path} ({_first_line(exc)}). {REWRITE_GRAPH}"
            ) from exc
        try:
            self._compiled: Any = core.compile_model(model, "CPU", settings)
            self._request: Any = self._compiled.create_infer_request()
        except Exception as exc:
            instead = "tensorflow" if precision == "f32" else "openvino"
            raise EngineError(
                f"OpenVINO {openvino.__version__} cannot compile {opened.graph_path} ({_first_line(exc)}). "
                f"Use --engine {instead}."
            ) from exc
        if precision == "int8":
            _refuse_float(model, self._compiled)
            check_probe(opened, self.infer, self._name)

    @property
    def name(self) -> str:
        """``openvino``, ``openvino-bf16`` or ``openvino-int8``."""
        return self._name

    @property
    def spec(self) -> ModelSpec:
        """The description of the loaded weights."""
        return self._spec

    def infer(self, observation: Observation) -> Prediction:
        """Return one prediction. A contiguous observation is read in place; other Python threads run on meanwhile.

        Raises:
            ValueError: If the observation is not uint8 of the spec's size.
            EngineError: If the engine is closed, or OpenVINO fails.
        """
        check_observation(self._spec, observation)
        if self._request is None:
            raise EngineError(f"the {self._name} engine is closed, expected an open one. Make a new one.")
        try:
            outputs = self._request.infer([observation[np.newaxis]], share_inputs=True)
        except Exception as exc:
            raise EngineError(f"OpenVINO failed ({_first_line(exc)}). Use --engine tensorflow.") from exc
        prediction: Prediction = outputs[0][0]
        return prediction

    def close(self) -> None:
        """Release the network's memory."""
        self._request = None
        self._compiled = None


def _refuse_float(model: Any, compiled: Any) -> None:
    """Refuse an int8 network that would be computed in float: OpenVINO does so silently if it lacks a kernel.

    The check takes 8 ms for the full network.
    """
    quantized = sum(
        node.get_type_name() == "Constant"
        and node.get_element_type() == openvino.Type.i8
        and len(node.output(0).shape) == 4  # the output of a convolution
        for node in model.get_ops()
    )
    layers = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    precisions = [layer["runtimePrecision"].get() for layer in layers if layer["layerType"].get() == "Convolution"]
    executed = sum(precision in ("u8", "i8") for precision in precisions)
    if 2 * executed < quantized:
        raise EngineError(
            f"OpenVINO computes {executed} of {quantized} int8 convolutions in 8 bits on this machine, expected all: "
            "int8 is no faster than float here. Use --engine openvino."
        )


def _first_line(exc: Exception) -> str:
    """Return the line that says what is wrong: the last of the many lines of OpenVINO's message."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[-1] if lines else type(exc).__name__
