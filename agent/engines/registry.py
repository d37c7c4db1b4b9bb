"""Which engines there are, and how each is made."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.engines.base import Engine

ENGINES = (
    "auto",
    "openvino",
    "openvino-bf16",
    "openvino-int8",
    "onnxruntime",
    "onnxruntime-int8",
    "onnxruntime-cuda",
    "onnxruntime-directml",
    "onnxruntime-coreml",
    "tensorflow",
    "constant",
)
RUNTIMES = tuple(name for name in ENGINES if name not in ("auto", "constant"))


def load_engine(name: str, folder: Path, threads: int | None) -> "Engine":
    if name == "tensorflow":
        # Read once, at the import: TensorFlow greets with a page of notes on the processor and on GPUs it lacks.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        from agent.engines.tensorflow import TensorFlowEngine

        return TensorFlowEngine(folder, threads)
    if name.startswith("onnxruntime"):
        from agent.engines.onnxruntime import DEVICES, OnnxRuntimeEngine

        device = next((known for known in DEVICES if name.endswith(known)), DEVICES[0])
        return OnnxRuntimeEngine(folder, "int8" if name.endswith("-int8") else "f32", threads, device)

    from agent.engines.openvino import OpenVinoEngine

    if name == "openvino-bf16":
        return OpenVinoEngine(folder, "bf16", threads)
    return OpenVinoEngine(folder, "int8" if name == "openvino-int8" else "f32", threads)
