"""Steering, throttle and brake: ranges, clipping, and which pedal wins."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from agent.contract.errors import ControlsError


@dataclass(frozen=True, slots=True)
class Controls:
    """What the driver does at one moment.

    Attributes:
        steering: [-1, 1] once clipped; negative is left.
        throttle: [0, 1] once clipped.
        brake: [0, 1] once clipped.

    Raises:
        ControlsError: If a value is NaN or infinite.
    """

    steering: float = 0.0
    throttle: float = 0.0
    brake: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__slots__:  # several times a tick: dataclasses.fields() takes three times as long
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ControlsError(
                    f"{name} is {value}, expected a finite number: the network's output is unusable. "
                    "Check the weights with `python -m agent replay`."
                )

    def clip(self) -> Self:
        """Return the controls inside their ranges; the only place where this happens."""
        return type(self)(
            min(1.0, max(-1.0, self.steering)),
            min(1.0, max(0.0, self.throttle)),
            min(1.0, max(0.0, self.brake)),
        )

    def arbitrate(self) -> Self:
        """Release the weaker pedal; the only place where this happens.

        Three separate regression heads press throttle and brake together (the source project saw it too). A car
        held by both wastes grip, so the stronger pedal keeps its value, the other is released, and the brake wins
        a tie.
        """
        if self.throttle > self.brake:
            return type(self)(self.steering, self.throttle, 0.0)
        return type(self)(self.steering, 0.0, self.brake)

    @classmethod
    def from_prediction(cls, values: Sequence[float] | npt.NDArray[np.floating]) -> Self:
        """Build unclipped controls from a network's three outputs, ordered steering, throttle, brake.

        Raises:
            ControlsError: If there are not exactly three values, or one is NaN or infinite.
        """
        if np.shape(values) != (3,):
            raise ControlsError(
                f"the network returned values of shape {np.shape(values)}, expected (3,): steering, throttle, brake. "
                "The weights belong to another model; pass the matching folder with --weights."
            )
        steering, throttle, brake = (float(value) for value in values)
        return cls(steering, throttle, brake)

    def to_array(self) -> npt.NDArray[np.float32]:
        """Return float32, shape (3,): steering, throttle, brake."""
        return np.array((self.steering, self.throttle, self.brake), np.float32)


NEUTRAL = Controls()
"""Wheel centred, both pedals released."""
