"""An engine with a constant prediction: for dry runs, for tests, and as a baseline that ignores the picture."""

from agent.contract.controls import AXIS_NAMES, SIGNED_OUTPUTS, Controls
from agent.contract.observation import Observation
from agent.contract.spec import ModelSpec
from agent.engines.base import Prediction
from agent.engines.model_folder.opening import check_observation


class ConstantEngine:
    """Predicts the same controls for every observation.

    Args:
        spec: Describes its observations and outputs.
        controls: The prediction.

    Raises:
        ValueError: If the spec has an output that is not a control.
    """

    def __init__(self, spec: ModelSpec, controls: Controls) -> None:
        known = (*AXIS_NAMES, *SIGNED_OUTPUTS)
        if unknown := [name for name in spec.output_names if name not in known]:
            raise ValueError(f"output {unknown[0]!r} is not a control, expected only {', '.join(known)}.")
        self._spec = spec
        self._prediction = controls.to_array(spec.output_names)

    @property
    def name(self) -> str:
        """``constant``."""
        return "constant"

    @property
    def spec(self) -> ModelSpec:
        """The given description."""
        return self._spec

    def infer(self, observation: Observation) -> Prediction:
        """Return the constant prediction.

        Raises:
            ValueError: If the observation is not uint8 of the spec's size.
        """
        check_observation(self._spec, observation)
        return self._prediction.copy()

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
