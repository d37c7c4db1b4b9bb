"""Weights files: what is in them is checked number by number before any runtime maps them."""

from collections.abc import Mapping
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from agent.contract.errors import WeightsError
from agent.contract.spec import RESTORE, REWRITE_GRAPH
from agent.engines.model_folder.graph import ExternalTensor

_MAX_HEADER_BYTES = 2_000_000  # names and shapes of all tensors; those of the shipped network take 27 KB
# By safetensors' names. It knows types that numpy has no equal of.
_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}


def check_weights(path: Path, wanted: Mapping[str, ExternalTensor]) -> None:
    """Refuse a weights file that is not exactly what its graph says, or has a number that is none.

    Args:
        path: A safetensors file.
        wanted: What the graph takes from it, by name.

    Raises:
        WeightsError: If it is no safetensors file, lacks a tensor, has one of another shape, type or place, or a number
            in it is NaN or infinite.
    """
    try:
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
        if header_bytes > _MAX_HEADER_BYTES:
            raise WeightsError(
                f"{path} says that its header has {header_bytes} bytes, expected {_MAX_HEADER_BYTES} at most. {RESTORE}"
            )
        with safe_open(path, framework="numpy") as weights:
            found = _check_tensors(path, weights, 8 + header_bytes)
    except (SafetensorError, OSError) as exc:
        reason = " ".join(str(exc).split())[:200]
        raise WeightsError(f"{path} cannot be read as safetensors ({reason}). {RESTORE}") from exc
    for name, tensor in wanted.items():
        if found.get(name) != tensor:
            raise WeightsError(
                f"{path} has {name} as {_describe(found.get(name))}, but the graph says {_describe(tensor)}: they come "
                f"from different exports. {REWRITE_GRAPH}"
            )


def _check_tensors(path: Path, weights: Any, offset: int) -> dict[str, ExternalTensor]:
    """Return what is in an open file; safetensors has seen to it that one tensor follows the other without a gap."""
    tensors = {}
    for name in weights.offset_keys():
        kind = weights.get_slice(name).get_dtype()
        if kind not in _DTYPES:
            raise WeightsError(f"{path} has numbers of type {kind}, expected {', '.join(_DTYPES)}. {RESTORE}")
        values = weights.get_tensor(name)
        if kind in ("F32", "F16") and not np.isfinite(values).all():
            raise WeightsError(
                f"{path} has a number in {shortened(name)} that is NaN or infinite, expected finite ones alone: no "
                f"network drives by others. {RESTORE}"
            )
        tensors[name] = ExternalTensor(_DTYPES[kind], tuple(values.shape), offset, values.nbytes)
        offset += values.nbytes
    return tensors


def _describe(tensor: ExternalTensor | None) -> str:
    if tensor is None:
        return "nothing"
    return f"{tensor.dtype} {tensor.shape}, {tensor.length} bytes from {tensor.offset}"
