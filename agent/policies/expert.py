"""An expert in the place of a network."""

from agent.contract.observation import Observation
from agent.contract.spec import ModelSpec
from agent.engines.base import Prediction
from agent.games.base import Expert, Simulator


class ExpertEngine:
    """An expert where the loop expects a network: it reads the simulator and looks at no picture.

    Args:
        expert: Made for the simulator that is driven.
        simulator: That simulator.
    """

    def __init__(self, expert: Expert, simulator: Simulator) -> None:
        profile = simulator.profile
        self._expert = expert
        self._spec = ModelSpec(name="expert", backbone="none", game=profile.name, rate_hz=profile.rate_hz)

    @property
    def name(self) -> str:
        """``expert``."""
        return "expert"

    @property
    def spec(self) -> ModelSpec:
        """The rate is the game's own."""
        return self._spec

    def plan(self) -> None:
        """Let the expert study the track; called after every reset of the simulator."""
        self._expert.plan()

    def infer(self, observation: Observation) -> Prediction:
        """Return what the expert does now, whatever is in the picture."""
        return self._expert.decide().to_array()

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
