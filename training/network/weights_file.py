"""Reads and writes ``weights.safetensors``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, load_file, save_file

from agent.contract.durable import replacing
from agent.contract.errors import WeightsError
from training.data.samples import AUXILIARY


def save_weights(
    model: Any, path: Path, dtype: Literal["float32", "float16"] = "float32", auxiliary: bool = True
) -> None:
    """Write all weights as safetensors, in Keras' layout, keyed by layer path such as ``xception/block1_conv1/kernel``.

    BatchNormalization's moving statistics stay float32 in either type: they are small, and a variance may lie outside
    float16's range. The file appears whole or not at all.

    Args:
        model: From ``build_network``.
        path: Where to; an existing file is replaced.
        dtype: Type of the other tensors.
        auxiliary: Whether to keep the training-only head.

    Raises:
        WeightsError: If a weight is not finite, or too large for ``dtype``.
    """
    tensors = {}
    for key, variable in named_variables(model).items():
        if not auxiliary and _is_auxiliary(key):
            continue
        value: npt.NDArray[Any] = np.asarray(variable.numpy(), np.float32)
        halved = dtype == "float16" and not key.endswith(("/moving_mean", "/moving_variance"))
        limit = float(np.finfo(np.float16 if halved else np.float32).max)
        largest = float(np.abs(value).max(initial=0.0))
        if not largest <= limit:  # also catches NaN
            raise WeightsError(
                f"{key} holds a weight of size {largest}, expected finite weights up to {limit:.6g}: the training "
                "diverged. Go back to an earlier checkpoint."
            )
        tensors[key] = np.ascontiguousarray(value, np.float16 if halved else np.float32)
    with replacing(path) as partial:
        save_file(tensors, partial)
        partial.chmod(0o644)  # safetensors writes 0600, and a model is made to be shared


def load_weights(model: Any, path: Path, content: bytes | None = None) -> None:
    """Set a network's weights from a file of ``save_weights``, whatever the input size of the network it came from.

    The auxiliary head is set where the file has it in the same shape, and left as it is otherwise.

    Args:
        model: From ``build_network``.
        path: The file.
        content: What is in it, where it has been read already.

    Raises:
        WeightsError: If the file is unreadable, or any other tensor is missing, unexpected or of another shape; the
            network is then unchanged.
    """
    try:
        tensors = load_file(path) if content is None else load(content)
    except (OSError, SafetensorError) as exc:
        raise WeightsError(
            f"{path} cannot be read as safetensors ({exc}), expected a file written by training. "
            "Restore it or pass another."
        ) from exc
    variables = named_variables(model)
    differing = [
        f"{key}: the file has {_describe(tensors.get(key))}, the network {_describe(variables.get(key))}"
        for key in sorted(tensors.keys() | variables.keys())
        if not _is_auxiliary(key) and _describe(tensors.get(key)) != _describe(variables.get(key))
    ]
    if differing:
        raise WeightsError(
            f"{path} does not fit the network in {len(differing)} tensors, the first being {differing[0]}. "
            "Pass weights of the same backbone and outputs, for as many pictures."
        )
    for key, variable in variables.items():
        if key in tensors and tensors[key].shape == tuple(variable.shape):
            variable.assign(tensors[key].astype(np.float32))


def load_average(model: Any, paths: Sequence[Path]) -> None:
    """Set a network's weights to the mean of several files', each counting as often as it is named.

    The mean of a network and one that was trained on from it often keeps what either does well: "Robust fine-tuning of
    zero-shot models" (Wortsman et al., 2022), done here to BatchNormalization's statistics as well.

    Raises:
        WeightsError: As ``load_weights``; the network may then hold the weights of an earlier file.
    """
    sums: dict[str, npt.NDArray[np.float64]] = {}
    for path in paths:
        load_weights(model, path)
        for key, variable in named_variables(model).items():
            weights = np.asarray(variable.numpy(), np.float64)
            sums[key] = sums[key] + weights if key in sums else weights  # 0.0 + -0.0 would be 0.0
    for key, variable in named_variables(model).items():
        variable.assign((sums[key] / len(paths)).astype(np.float32))


def named_variables(model: Any, prefix: str = "") -> dict[str, Any]:
    """Return a network's variables by layer path, a key that depends on the architecture alone."""
    variables: dict[str, Any] = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            variables |= named_variables(layer, f"{prefix}{layer.name}/")
        else:
            variables |= {f"{prefix}{layer.name}/{variable.name}": variable for variable in layer.weights}
    return variables


def _describe(tensor: Any) -> str:
    return "none" if tensor is None else str(tuple(tensor.shape))


def _is_auxiliary(key: str) -> bool:
    return key.split("/", 1)[0].startswith(AUXILIARY)
