"""A network that decides from the newest picture alone."""

from agent.contract.observation import Frame
from agent.contract.preprocess import preprocess
from agent.contract.spec import ModelSpec
from agent.engines.base import Engine
from agent.policies.base import Decision, Section


class NetworkPolicy:
    """Preprocessing and one forward pass.

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
        self._engine = engine
        self._spec = engine.spec

    @property
    def name(self) -> str:
        """The engine's name."""
        return self._engine.name

    @property
    def driver(self) -> str:
        """``policy:`` and the name of the weights."""
        return f"policy:{self._spec.name}"

    @property
    def spec(self) -> ModelSpec:
        """The description of the weights."""
        return self._spec

    def reset(self) -> None:
        """Do nothing: nothing is remembered."""

    def decide(self, frame: Frame, section: Section) -> Decision:
        with section("preprocess"):
            observation = preprocess(frame, self._spec)
        with section("infer"):
            prediction = self._engine.infer(observation)
        return Decision(prediction, observation)

    def close(self) -> None:
        self._engine.close()
