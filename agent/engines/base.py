"""The interface between the loop and whatever runs the network.

To add an engine, write a module beside ``openvino.py``, and add its entry to ``registry.py``.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from agent.contract.observation import Observation
from agent.contract.spec import ModelSpec

Prediction = npt.NDArray[np.float32]
"""float32, shape (len(spec.outputs),): the network's raw outputs in the spec's order, not clipped."""


class Engine(Protocol):
    """Runs the network: one observation in, one raw prediction out."""

    @property
    def name(self) -> str:
        """Its name on the command line, such as ``openvino-bf16``."""

    @property
    def spec(self) -> ModelSpec:
        """The description of the loaded weights."""

    def infer(self, observation: Observation) -> Prediction:
        """Return one prediction; the observation has the spec's size. The first call may be slow: warm up first.

        Raises:
            EngineError: If the runtime fails.
        """

    def close(self) -> None:
        """Release the runtime's memory; calling it twice is harmless."""
