"""The one interface between the loop and whatever decides: a picture in, a prediction out."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

from agent.contract.observation import Frame, Observation
from agent.contract.spec import ModelSpec
from agent.engines.base import Prediction

Section = Callable[[str], AbstractContextManager[object]]
"""Times a ``with`` block under a name; :meth:`agent.system.pacing.Tick.section` is one."""


class Decision(NamedTuple):
    """What a policy made of a frame.

    Attributes:
        prediction: float32, shape (len(spec.outputs),): raw outputs in the spec's order, not clipped.
        observation: What it saw, as a network of its spec gets it.
    """

    prediction: Prediction
    observation: Observation


class Policy(Protocol):
    """Decides what to do about a frame. It may remember earlier frames of the same episode."""

    @property
    def name(self) -> str:
        """What runs it, as reports say it: ``openvino-bf16``, ``expert``."""

    @property
    def driver(self) -> str:
        """Who drives, as the header of an episode says it: ``policy:carracing``, ``expert``."""

    @property
    def spec(self) -> ModelSpec:
        """What it sees and predicts, and how often it wants to decide."""

    def reset(self) -> None:
        """Forget what was seen: a new episode begins. The loop calls it before its first tick."""

    def decide(self, frame: Frame, section: Section) -> Decision:
        """Return what to do.

        Args:
            frame: The newest picture.
            section: Times the stages, ``preprocess`` and ``infer``.

        Raises:
            AgentError: If the decision cannot be made.
        """

    def close(self) -> None:
        """Release what it holds; calling it twice is harmless."""


def untimed(name: str) -> AbstractContextManager[object]:
    """Time nothing; a :data:`Section` for callers that do not ask."""
    return nullcontext()
