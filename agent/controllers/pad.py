"""The positions of a gamepad's sticks and triggers for given controls; numbers in, numbers out."""

import math
from dataclasses import dataclass, field

from agent.contract.controls import AXIS_BY_NAME, Controls
from agent.contract.errors import ControllerError
from agent.contract.profile import STEERING_AXES, Button, PadMap, PedalAxis, SteeringAxis

STICK_MAX = 32767
"""Full deflection of a stick: XInput's int16. The other end is -32767, not -32768, so that both ends are alike."""

TRIGGER_MAX = 255
"""A trigger pulled all the way: XInput's uint8."""

BUTTON_PLACES: dict[SteeringAxis | PedalAxis, Button] = {
    "button_a": "a",
    "button_b": "b",
    "button_x": "x",
    "button_y": "y",
    "left_shoulder": "left_shoulder",
    "right_shoulder": "right_shoulder",
}
"""The places of a pad that are buttons, with the button's name."""
_BUTTON_DOWN = 0.5  # a pedal on a button is down from half way on


@dataclass(slots=True)
class PadState:
    """Everything that the agent sets on a pad.

    Attributes:
        left_x: [-32767, 32767], right is positive, as are the other sticks' values.
        left_y: Up is positive.
        right_x: Right is positive.
        right_y: Up is positive.
        left_trigger: [0, 255].
        right_trigger: [0, 255].
        buttons: Names of the buttons that are down.
    """

    left_x: int = 0
    left_y: int = 0
    right_x: int = 0
    right_y: int = 0
    left_trigger: int = 0
    right_trigger: int = 0
    buttons: set[Button] = field(default_factory=set)


def to_pad(controls: Controls, pad: PadMap) -> PadState:
    """Translate controls into a pad's state.

    No value leaves the range of its axis: as an integer, a steering of 1.01 must not become full lock the other way.

    Args:
        controls: Any finite controls; clipped here again.
        pad: Which axis lies where, and the game's dead zones.

    Raises:
        ControllerError: If a value is NaN or infinite.
    """
    state = PadState()
    for name, place, dead_zone in pad.places:
        value = getattr(controls, name)
        if not math.isfinite(value):
            raise ControllerError(f"{name} is {value}, not a finite number: expected values for a gamepad.")
        _press(state, place, beyond_dead_zone(AXIS_BY_NAME[name].share(value), dead_zone))
    return state


def beyond_dead_zone(value: float, dead_zone: float) -> float:
    """Map a control onto the range beyond a dead zone: 0 and 1 stay, and the smallest value becomes the zone's edge.

    Args:
        value: [-1, 1].
        dead_zone: Smallest deflection that the game reacts to, [0, 1).
    """
    if value == 0.0:
        return 0.0
    return math.copysign(dead_zone + (1.0 - dead_zone) * abs(value), value)


class SlewLimit:
    """Keeps a control from changing faster than a hand could move it.

    Args:
        per_s: Largest change, full deflections a second; None for no limit.
    """

    def __init__(self, per_s: float | None) -> None:
        self._per_ns = math.inf if per_s is None else per_s / 1e9
        self._value = 0.0
        self._at_ns: int | None = None

    def reset(self) -> None:
        """Forget the last value: any next value is reached at once."""
        self._at_ns = None

    def limit(self, value: float, now_ns: int) -> float:
        """Return the value, or the nearest one that can be reached in the time since the last call."""
        if self._at_ns is not None and math.isfinite(self._per_ns):
            reach = self._per_ns * (now_ns - self._at_ns)
            value = min(self._value + reach, max(self._value - reach, value))
        self._value, self._at_ns = value, now_ns
        return value


def _press(state: PadState, place: SteeringAxis | PedalAxis, value: float) -> None:
    if place in STEERING_AXES:
        setattr(state, place, round(value * STICK_MAX))
    elif place == "left_trigger" or place == "right_trigger":
        setattr(state, place, round(value * TRIGGER_MAX))
    elif place in BUTTON_PLACES:
        if value >= _BUTTON_DOWN:
            state.buttons.add(BUTTON_PLACES[place])
    else:
        stick, _, direction = place.rpartition("_")
        # Two pedals on the two halves of a stick: at most one is pressed; the other must not move the stick.
        if value:
            setattr(state, stick, round(value * STICK_MAX) * (1 if direction == "up" else -1))
