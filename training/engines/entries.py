"""Keras' own network as engines of the agent, which finds them by entry points and never imports this package.

Nothing heavy is imported here: the agent reads these entries to list its engines.
"""

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.engines.registry import EngineEntry, EngineRequest

if TYPE_CHECKING:
    from agent.engines.base import Engine

_INSTALL = "`pip install '.[training]'`"


def _prepare() -> None:
    """Set what TensorFlow and Keras read once, at their import."""
    # TensorFlow greets with a page of notes on the processor and on GPUs it lacks.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever else the user trains with


def _make_tensorflow(request: EngineRequest) -> "Engine":
    _prepare()
    from training.engines.keras_network import TensorFlowEngine

    return TensorFlowEngine(request.folder, request.threads)


def _make_keras_predict(request: EngineRequest) -> "Engine":
    _prepare()
    from training.engines.keras_network import KerasPredict

    return KerasPredict(request.folder, request.threads)


TENSORFLOW = EngineEntry(
    name="tensorflow",
    runtime="TensorFlow",
    make=_make_tensorflow,
    packages=("tensorflow", "keras"),
    module="tensorflow",
    install=_INSTALL,
)
"""The network as one compiled function: to check the other engines, and to use a GPU that TensorFlow sees."""

KERAS_PREDICT = replace(TENSORFLOW, name="keras-predict", runtime="Keras", make=_make_keras_predict)
"""``keras.Model.predict`` for every picture: what `agent bench --with-keras` compares with."""

TF_FUNCTION = replace(TENSORFLOW, name="tf-function")
"""The engine ``tensorflow`` once more, in the baselines' place."""
