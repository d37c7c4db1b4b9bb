"""Keras, started with the settings that training needs, whatever other projects have left in its own."""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    with _without_notes(), ending_at_once():
        keras = _import_keras()
        backend = keras.backend.backend()
        if backend == "tensorflow":
            importlib.import_module("tensorflow").config.list_physical_devices("GPU")  # now: it writes notes, too
    if backend in _CANNOT_TRAIN:
        raise TrainingError(f"{_chosen(backend)} cannot train, expected tensorflow or jax. {_ADVICE}")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")


_SIEVE = r"""
import re, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
note = re.compile(rb"WARNING: All log messages before absl|[IW]0000 |E0000 .*cuInit")
for line in sys.stdin.buffer:
    if not note.match(line):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""
"""Passes lines on, but not the notes that TensorFlow's C++ parts write before they have read
``TF_CPP_MIN_LOG_LEVEL``: of graphics cards that are not there, and of how sums are rounded."""


@contextmanager
def _without_notes() -> Iterator[None]:
    """Keep those notes from the terminal; Python's own ``sys.stderr`` does not see them.

    A process of its own sorts them out. So what is written last is shown, too: by an abort, or by a Ctrl-C that ends
    this process at once.
    """
    try:
        shown = os.dup(2)
    except OSError:  # no terminal, no file: nothing to keep it from
        yield
        return
    sieve = None
    with suppress(OSError):
        sieve = subprocess.Popen([sys.executable, "-I", "-S", "-c", _SIEVE], stdin=subprocess.PIPE, stderr=shown)
        assert sieve.stdin is not None
        os.dup2(sieve.stdin.fileno(), 2)
        sieve.stdin.close()
    try:
        yield
    finally:
        os.dup2(shown, 2)
        os.close(shown)
        if sieve is not None:
            with suppress(subprocess.TimeoutExpired):
                sieve.wait(5)


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
