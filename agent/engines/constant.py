"""An engine that always says the same: for dry runs, tests, and as the baseline that looks at nothing."""

import numpy as np

from agent.contract.controls import Controls
from agent.contract.observation import Observation
from agent.contract.spec import ModelSpec
from agent.engines.base import Prediction
from agent.engines.model_folder.opening import check_observation


class ConstantEngine:
    """Predicts the same controls for every observation.

    Args:
        spec: Describes the observations to expect and the outputs to give.
        controls: What to predict.

    Raises:
        ValueError: If the spec has an output that is not a control.
    """

    def __init__(self, spec: ModelSpec, controls: Controls) -> None:
        known = {"steering": controls.steering, "throttle": controls.throttle, "brake": controls.brake}
        if unknown := [name for name in spec.output_names if name not in known]:
            raise ValueError(f"output {unknown[0]!r} is no control, expected only {', '.join(known)}.")
        self._spec = spec
        self._prediction = np.array([known[name] for name in spec.output_names], np.float32)

    @property
    def name(self) -> str:
        """``constant``."""
        return "constant"

    @property
    def spec(self) -> ModelSpec:
        """The description given."""
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
