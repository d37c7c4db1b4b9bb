"""An expert in the place of a network."""

from agent.contract.observation import Frame
from agent.contract.preprocess import preprocess
from agent.contract.spec import ModelSpec, outputs_named
from agent.games.base import Expert, Simulator
from agent.policies.base import Decision, Section


class ExpertPolicy:
    """An expert drives: it reads the simulator and looks at no picture.

    Args:
        expert: Made for the simulator that is driven.
        simulator: That simulator; stays the caller's to close.
    """

    def __init__(self, expert: Expert, simulator: Simulator) -> None:
        profile = simulator.profile
        self._expert = expert
        self._spec = ModelSpec(
            name="expert",
            backbone="none",
            game=profile.name,
            rate_hz=profile.rate_hz,
            outputs=outputs_named(profile.axes),
        )

    @property
    def name(self) -> str:
        """``expert``."""
        return "expert"

    @property
    def driver(self) -> str:
        """``expert``."""
        return "expert"

    @property
    def spec(self) -> ModelSpec:
        """The rate is the game's own, the observation one of the usual size."""
        return self._spec

    def reset(self) -> None:
        """Let the expert study the track, on which the simulator has just been put."""
        self._expert.plan()

    def decide(self, frame: Frame, section: Section) -> Decision:
        """Return what the expert does now, whatever is in the picture."""
        with section("preprocess"):
            observation = preprocess(frame, self._spec)
        with section("infer"):
            prediction = self._expert.decide().to_array(self._spec.output_names)
        return Decision(prediction, observation)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
