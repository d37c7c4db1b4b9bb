"""The base class of all networks' policies, and the policy of a network that sees the newest picture alone."""

from abc import ABC, abstractmethod

from agent.contract.observation import Frame, Observation
from agent.contract.preprocess import preprocess
from agent.contract.spec import ModelSpec
from agent.engines.base import Engine
from agent.policies.base import Decision, Section


def driver_of(spec: ModelSpec) -> str:
    """Return the driver's name for an episode's header: ``policy:`` and the weights' name."""
    return f"policy:{spec.name}"


class EnginePolicy(ABC):
    """Preprocesses a frame and runs one forward pass.

    Args:
        engine: Runs the network; closed with the policy.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._spec = engine.spec

    @property
    def name(self) -> str:
        """The engine's name."""
        return self._engine.name

    @property
    def driver(self) -> str:
        """``policy:`` and the name of the weights."""
        return driver_of(self._spec)

    @property
    def spec(self) -> ModelSpec:
        """The description of the weights."""
        return self._spec

    @abstractmethod
    def reset(self) -> None:
        """Forget earlier frames: a new episode begins."""

    @abstractmethod
    def _observe(self, frame: Frame) -> Observation:
        """Return the network's input for the newest picture."""

    def decide(self, frame: Frame, section: Section) -> Decision:
        """Return a decision on the newest picture; see :class:`agent.policies.base.Policy`."""
        with section("preprocess"):
            observation = self._observe(frame)
        with section("infer"):
            prediction = self._engine.infer(observation)
        return Decision(prediction, observation)

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()


class NetworkPolicy(EnginePolicy):
    """Gives the network the newest picture.

    Args:
        engine: Runs the network; closed with the policy.

    Raises:
        ValueError: If the network sees several pictures at once.
    """

    def __init__(self, engine: Engine) -> None:
        if engine.spec.stack is not None:
            raise ValueError(
                f"{engine.spec.name} sees {engine.spec.stack.pictures} pictures at once: use StackedPolicy."
            )
        super().__init__(engine)

    def reset(self) -> None:
        """Do nothing: nothing is remembered."""

    def _observe(self, frame: Frame) -> Observation:
        return preprocess(frame, self._spec)
