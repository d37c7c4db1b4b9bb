"""An expert in place of a network."""

from agent.contract.observation import Frame
from agent.contract.preprocess import preprocess
from agent.contract.spec import ModelSpec, outputs_named
from agent.games.base import Expert, Simulator
from agent.policies.base import Decision, Section


class ExpertPolicy:
    """An expert drives: it reads the simulator's state instead of the picture.

    Args:
        expert: The expert for this simulator.
        simulator: The simulator; the caller closes it.
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
        """A spec with the game's own rate and an observation of the usual size."""
        return self._spec

    def reset(self) -> None:
        """Let the expert study the track; the simulator has just been reset to it."""
        self._expert.plan()

    def decide(self, frame: Frame, section: Section) -> Decision:
        """Return the expert's controls; the picture is not used."""
        with section("preprocess"):
            observation = preprocess(frame, self._spec)
        with section("infer"):
            prediction = self._expert.decide().to_array(self._spec.output_names)
        return Decision(prediction, observation)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
