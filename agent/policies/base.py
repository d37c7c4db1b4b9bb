"""The interface between the loop and whatever decides: a picture in, a prediction out."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

from agent.contract.observation import Frame, Observation
from agent.contract.spec import ModelSpec
from agent.engines.base import Prediction

Section = Callable[[str], AbstractContextManager[object]]
"""Times a ``with`` block under a name; :meth:`agent.system.pacing.Tick.section` is one."""


class Decision(NamedTuple):
    """A policy's answer to a frame.

    Attributes:
        prediction: float32, shape (len(spec.outputs),): raw outputs in the spec's order, not clipped.
        observation: The network input that it was made from.
    """

    prediction: Prediction
    observation: Observation


class Driver(Protocol):
    """Who drives, in names."""

    @property
    def name(self) -> str:
        """What runs it, as named in reports: ``openvino-bf16``, ``expert``."""

    @property
    def driver(self) -> str:
        """Who drives, as named in the header of an episode: ``policy:carracing``, ``expert``."""

    @property
    def spec(self) -> ModelSpec:
        """Its input, its outputs, and its control rate."""


class Policy(Driver, Protocol):
    """Returns a prediction for a frame. It may remember earlier frames of the same episode."""

    def reset(self) -> None:
        """Forget earlier frames: a new episode begins. The loop calls it before its first tick."""

    def decide(self, frame: Frame, section: Section) -> Decision:
        """Return a decision on the newest picture.

        Args:
            frame: The newest picture.
            section: Times the stages, ``preprocess`` and ``infer``.

        Raises:
            AgentError: If the decision cannot be made.
        """

    def close(self) -> None:
        """Release its resources; calling it twice is harmless."""


def untimed(name: str) -> AbstractContextManager[object]:
    """Time nothing; a :data:`Section` for callers that need no timing."""
    return nullcontext()
