"""Weights files: every number in them is checked before any runtime gets them."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize

from agent.contract.errors import WeightsError
from agent.contract.spec import RESTORE, REWRITE_GRAPH
from agent.engines.model_folder.graph import MAX_RANK, ExternalTensor

_MAX_HEADER_BYTES = 2_000_000  # names and shapes of all tensors; those of the shipped network take 27 KB
# By safetensors' names of types. safetensors has types that numpy lacks.
_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}


def check_weights(path: Path, data: bytes, wanted: Mapping[str, ExternalTensor]) -> None:
    """Refuse weights that differ from the graph's description, or hold a number that is not finite.

    Args:
        path: Where they are from, for the message.
        data: The content of a safetensors file.
        wanted: The tensors that the graph takes from it, by name.

    Raises:
        WeightsError: If it is not a safetensors file; if a tensor is missing, or has another shape, type or place; or
            if a number in it is NaN or infinite.
    """
    header_bytes = int.from_bytes(data[:8], "little")
    if header_bytes > _MAX_HEADER_BYTES:
        raise WeightsError(
            f"{path} says that its header has {header_bytes} bytes, expected {_MAX_HEADER_BYTES} at most. {RESTORE}"
        )
    try:
        described = deserialize(data)  # type: ignore[no-untyped-call]  # it checks that the tensors follow each other without a gap
        header = json.loads(data[8 : 8 + header_bytes])
    except (SafetensorError, ValueError, RecursionError) as exc:
        reason = " ".join(str(exc).split())[:200]
        raise WeightsError(f"{path} cannot be read as safetensors ({reason}). {RESTORE}") from exc
    found = {}
    for name, tensor in described:
        offset = 8 + header_bytes + header[name]["data_offsets"][0]
        found[name] = _check_tensor(path, name, tensor, offset, data)
    for name, tensor in wanted.items():
        if found.get(name) != tensor:
            raise WeightsError(
                f"{path} has {name} as {_describe(found.get(name))}, but the graph says {_describe(tensor)}: they come "
                f"from different exports. {REWRITE_GRAPH}"
            )


def _check_tensor(path: Path, name: str, tensor: Mapping[str, Any], offset: int, data: bytes) -> ExternalTensor:
    kind, shape = tensor["dtype"], tuple(tensor["shape"])
    if kind not in _DTYPES:
        raise WeightsError(f"{path} has numbers of type {kind}, expected {', '.join(_DTYPES)}. {RESTORE}")
    if len(shape) > MAX_RANK:
        raise WeightsError(
            f"{path} has {shortened(name)} with {len(shape)} axes, expected {MAX_RANK} at most. {RESTORE}"
        )
    dtype = _DTYPES[kind]
    values = np.frombuffer(data, dtype, math.prod(shape), offset)
    if dtype.kind == "f" and not np.isfinite(values).all():
        raise WeightsError(
            f"{path} has a number in {shortened(name)} that is NaN or infinite, expected only finite numbers. {RESTORE}"
        )
    return ExternalTensor(dtype, shape, offset, values.nbytes)


def _describe(tensor: ExternalTensor | None) -> str:
    if tensor is None:
        return "nothing"
    return f"{tensor.dtype} {tensor.shape}, {tensor.length} bytes from {tensor.offset}"
