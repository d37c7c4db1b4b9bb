"""A trained network as a model folder: one copy of the weights, a graph that points into it, and the spec."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.contract.durable import sync_file, sync_folder
from agent.contract.errors import TrainingError
from agent.contract.spec import (
    GRAPH_FILE,
    INT8_GRAPH_FILE,
    INT8_WEIGHTS_FILE,
    PROBE_FILE,
    SPEC_FILE,
    WEIGHTS_FILE,
    ModelSpec,
)
from training.exporting.onnx_writer import build_graph
from training.network.weights_file import save_weights


def export_model(model: Any, spec: ModelSpec, folder: Path) -> ModelSpec:
    """Write a model folder: ``weights.safetensors`` (float16), ``network.onnx`` and ``spec.json``.

    The graph holds no weights: each of its initializers is an external tensor at an offset into
    ``weights.safetensors``, in Keras' layout; nodes that the runtimes fold when loading cast it to float32 and
    transpose it. The training-only head is left out.

    All three files are complete before the first takes its name, and the spec, whose checksums hold the three
    together, comes last: a folder that a crash left half replaced is refused by ``ModelSpec.verify_files``.

    Args:
        model: From ``training.network.build.build_network``, at the spec's size and with its outputs.
        spec: The description; its checksums are filled in.
        folder: Where to; created if it does not exist, its files replaced if they do.

    Returns:
        The spec as written.

    Raises:
        TrainingError: If the network disagrees with the spec or has a layer that cannot be exported.
        WeightsError: If a weight is not finite or does not fit float16.
    """
    _check(model, spec)
    folder.mkdir(parents=True, exist_ok=True)
    partial = {name: folder / f"{name}.partial" for name in (WEIGHTS_FILE, GRAPH_FILE, SPEC_FILE)}
    try:
        save_weights(model, partial[WEIGHTS_FILE], "float16", auxiliary=False)
        partial[GRAPH_FILE].write_bytes(build_graph(model, spec, partial[WEIGHTS_FILE]).SerializeToString(True))
        spec = replace(
            spec, quantization=None, sha256={name: sha256(partial[name]) for name in (WEIGHTS_FILE, GRAPH_FILE)}
        )
        partial[SPEC_FILE].write_text(spec.to_json(), encoding="utf-8")
        for path in partial.values():
            sync_file(path)
        for name, path in partial.items():
            os.replace(path, folder / name)
        sync_folder(folder)
        for name in (INT8_WEIGHTS_FILE, INT8_GRAPH_FILE, PROBE_FILE):  # made from the weights just replaced
            (folder / name).unlink(missing_ok=True)
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)
    return spec


def _check(model: Any, spec: ModelSpec) -> None:
    expected = (None, *spec.observation_shape)
    if model.input_shape != expected:
        raise TrainingError(
            f"the network takes input {model.input_shape}, the spec says {expected}. Build the network at the spec's "
            "size; the weights fit any."
        )
    if missing := [name for name in spec.output_names if name not in model.output]:
        raise TrainingError(
            f"the network has no output {missing[0]!r}, only {', '.join(model.output)}. Export it with the outputs it "
            "was built with."
        )


def sha256(path: Path) -> str:
    """Return a file's checksum in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
