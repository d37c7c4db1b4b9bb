"""Keras, started with the settings that training needs, whatever other projects have left in its own."""

import importlib
import os
from typing import Any

from agent.contract.errors import TrainingError
from agent.system.interrupts import ending_at_once

_CANNOT_TRAIN = ("numpy", "openvino")
_EXTRA = ("keras", "tensorflow")


def start_keras() -> None:
    """Import Keras and set what its settings file or the environment may have set otherwise; call it before the rest.

    Ctrl-C meanwhile ends the process at once: nothing is open yet, and TensorFlow's import does not survive it.

    Raises:
        TrainingError: If Keras or its backend is not installed, or the backend cannot train.
    """
    with ending_at_once():
        keras = _import_keras()
    backend = keras.backend.backend()
    if backend in _CANNOT_TRAIN:
        raise TrainingError(f"{_chosen(backend)} cannot train, expected tensorflow or jax. {_ADVICE}")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")


_ADVICE = "Unset KERAS_BACKEND, or correct keras.json in ~/.keras or KERAS_HOME."


def _import_keras() -> Any:
    try:
        return importlib.import_module("keras")
    except ModuleNotFoundError as exc:
        missing = (exc.name or "").partition(".")[0]
        if missing in _EXTRA:
            raise TrainingError(
                f"{missing} is not installed, expected the packages that training needs: `pip install '.[training]'`."
            ) from exc
        raise TrainingError(
            f"Keras cannot start: {_chosen('its backend')} needs {missing}, which is not installed. {_ADVICE}"
        ) from exc
    except (ImportError, ValueError) as exc:
        reason = " ".join(str(exc).split())
        raise TrainingError(
            f"Keras cannot start with {_chosen('its backend')} ({reason}), expected tensorflow or jax. {_ADVICE}"
        ) from exc


def _chosen(otherwise: str) -> str:
    chosen = os.environ.get("KERAS_BACKEND")
    return f"KERAS_BACKEND={chosen}" if chosen else otherwise
