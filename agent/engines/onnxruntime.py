"""The network on ONNX Runtime: a second implementation on the CPU, and the one for graphics cards."""

from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnxruntime

from agent.contract.errors import EngineError
from agent.contract.observation import Observation
from agent.contract.spec import REWRITE_GRAPH, ModelSpec
from agent.engines.base import Prediction
from agent.engines.model_folder.opening import OpenModel, check_observation, check_probe, open_model_folder

Device = Literal["cpu", "cuda", "directml", "coreml"]
DEVICES: tuple[Device, ...] = get_args(Device)

# By device: ONNX Runtime's name for it, and the package to install for it.
_PROVIDERS: dict[Device, tuple[str, str]] = {
    "cpu": ("CPUExecutionProvider", "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu (NVIDIA, with CUDA and cuDNN)"),
    "directml": ("DmlExecutionProvider", "onnxruntime-directml (Windows)"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime (macOS)"),
}
_SILENT = 4  # log only crashes: errors are raised as well, and reported in one line


class OnnxRuntimeEngine:
    """Runs a model folder's network on ONNX Runtime.

    Args:
        folder: The model: ``spec.json``, ``network.onnx``, ``weights.safetensors``, and for int8 their int8 twins.
        precision: ``int8`` runs the folder's int8 weights. It is correct but no faster than float here. ONNX Runtime
            computes in bytes only if the result is bytes again, but these weights keep float between the pointwise and
            the depthwise stages, because that drives better. Use OpenVINO for them.
        threads: CPU threads; None lets ONNX Runtime take the physical cores.
        device: Where to run; all but ``cpu`` need another package of ONNX Runtime. The CPU runs the operations that the
            device cannot run.

    Raises:
        SpecError: If the spec is missing, unreadable or inconsistent.
        WeightsError: If a file is missing, damaged, or disagrees with the spec.
        EngineError: If the device is not available, int8 is computed wrongly here, or ONNX Runtime cannot run the
            network.
    """

    def __init__(
        self,
        folder: Path,
        precision: Literal["f32", "int8"] = "f32",
        threads: int | None = None,
        device: Device = "cpu",
    ) -> None:
        self._name = "-".join(["onnxruntime", *(part for part in (device, precision) if part not in ("cpu", "f32"))])
        opened = open_model_folder(folder, int8=precision == "int8")
        self._spec = opened.spec
        self._session = _open_session(opened, threads, device)
        (network_input,), (network_output,) = self._session.get_inputs(), self._session.get_outputs()
        # Bound once: ONNX Runtime reads and writes these two arrays at every inference and allocates none.
        self._input = np.zeros(network_input.shape, np.uint8)
        self._output = np.zeros(network_output.shape, np.float32)
        self._binding: Any = self._session.io_binding()
        self._binding.bind_cpu_input(network_input.name, self._input)
        self._binding.bind_output(
            network_output.name, "cpu", 0, np.float32, self._output.shape, self._output.ctypes.data
        )
        if precision == "int8":
            check_probe(opened, self.infer, self._name)

    @property
    def name(self) -> str:
        """``onnxruntime``, then the device if it is not the CPU, and the precision if it is not float32."""
        return self._name

    @property
    def spec(self) -> ModelSpec:
        """The description of the loaded weights."""
        return self._spec

    def infer(self, observation: Observation) -> Prediction:
        """Return one prediction; other Python threads run on meanwhile.

        Raises:
            ValueError: If the observation is not uint8 of the spec's size.
            EngineError: If the engine is closed, or ONNX Runtime fails.
        """
        check_observation(self._spec, observation)
        if self._session is None:
            raise EngineError(f"the {self._name} engine is closed, expected an open one. Make a new one.")
        self._input[0] = observation
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as exc:
            raise EngineError(f"ONNX Runtime failed ({_first_line(exc)}). Use --engine openvino.") from exc
        prediction: Prediction = self._output[0].copy()
        return prediction

    def close(self) -> None:
        """Release the network's memory."""
        self._binding = None
        self._session = None


def available_devices() -> tuple[Device, ...]:
    """Return the devices that the installed package of ONNX Runtime supports; the hardware itself may be missing."""
    available = onnxruntime.get_available_providers()
    return tuple(device for device in DEVICES if _PROVIDERS[device][0] in available)


def _open_session(model: OpenModel, threads: int | None, device: Device) -> Any:
    provider, package = _PROVIDERS[device]
    available = onnxruntime.get_available_providers()
    if provider not in available:
        raise EngineError(
            f"the installed ONNX Runtime {onnxruntime.__version__} has no {provider}, only {', '.join(available)}. "
            f"Install {package} in its place, or use --engine openvino."
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _SILENT
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    # Threads that spin between two layers take processor time from the game: it had 49 frames a second instead of 60.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Without VNNI, sums of uint8 times int8 saturate. This computes them exactly there and changes nothing elsewhere.
    options.add_session_config_entry("session.x64quantprecision", "1")
    if device == "directml":
        options.enable_mem_pattern = False  # DirectML does not support it and refuses the session
    try:
        # From memory: the files at the path may have been replaced since the check, or may change while it drives.
        options.add_external_initializers_from_files_in_memory(
            [model.weights_name], [model.weights], [len(model.weights)]
        )
        session = onnxruntime.InferenceSession(model.graph, options, [provider])
    except Exception as exc:
        raise EngineError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load {model.graph_path} ({_first_line(exc)}). "
            f"{REWRITE_GRAPH} Or use --engine openvino."
        ) from exc
    if provider not in session.get_providers():  # ONNX Runtime falls back to the CPU silently
        raise EngineError(
            f"ONNX Runtime could not start {provider}, expected {package} and a device with its driver. "
            "Use --engine openvino."
        )
    return session


def _first_line(exc: Exception) -> str:
    lines = str(exc).strip().splitlines()
    return lines[0] if lines else type(exc).__name__
