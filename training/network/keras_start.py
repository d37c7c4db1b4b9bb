"""Keras, started with the settings that training needs, whatever other projects have left in its own."""

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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
    with ending_at_once(), _quiet():
        keras = _import_keras()
        backend = keras.backend.backend()
        if backend == "tensorflow":
            importlib.import_module("tensorflow").config.list_physical_devices("GPU")  # now, while it is not heard
    if backend in _CANNOT_TRAIN:
        raise TrainingError(f"{_chosen(backend)} cannot train, expected tensorflow or jax. {_ADVICE}")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what libraries write to the terminal as they start from it, unless they fail.

    TensorFlow's C++ parts write some lines whatever ``TF_CPP_MIN_LOG_LEVEL`` says: before they have read it, and of
    graphics cards that are not there. Python's own ``sys.stderr`` does not see them.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        shown = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except TrainingError:  # says it all
            raise
        except BaseException:
            sys.stderr.flush()
            kept.seek(0)
            os.write(shown, kept.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(shown, 2)
            os.close(shown)


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
