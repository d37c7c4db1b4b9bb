"""Controls to sticks and triggers: the exact values, and that nothing wraps or changes sign."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import ControllerError
from agent.contract.profile import PEDAL_AXES, STEERING_AXES, PadMap
from agent.controllers.pad import STICK_MAX, TRIGGER_MAX, PadState, SlewLimit, beyond_dead_zone, to_pad

finite = st.floats(allow_nan=False, allow_infinity=False)
dead_zones = st.floats(0.0, 0.9)
pads = st.builds(
    PadMap,
    steering=st.sampled_from(STEERING_AXES),
    throttle=st.sampled_from(PEDAL_AXES),
    brake=st.sampled_from(PEDAL_AXES),
    steering_dead_zone=dead_zones,
    throttle_dead_zone=dead_zones,
    brake_dead_zone=dead_zones,
).filter(lambda pad: pad.throttle != pad.brake)


@pytest.mark.parametrize(
    ("steering", "dead_zone", "stick"),
    [
        (-1.0, 0.0, -32767),
        (1.0, 0.0, 32767),
        (1.01, 0.0, 32767),  # as a bare int16 this would be opposite lock
        (-1.01, 0.0, -32767),
        (1e300, 0.0, 32767),
        (0.0, 0.0, 0),
        (-0.0, 0.0, 0),
        (-0.0, 0.24, 0),
        (0.5, 0.0, 16384),  # 16383.5, rounded to even
        (5e-324, 0.24, 7864),  # the least there is lies on the dead zone's edge: 0.24 * 32767 = 7864.08
        (-5e-324, 0.24, -7864),
        (0.5, 0.24, 20316),  # (0.24 + 0.76 / 2) * 32767 = 20315.5
        (-1.0, 0.24, -32767),
        (1.0, 0.9, 32767),
    ],
)
def test_steering_on_the_stick(steering: float, dead_zone: float, stick: int) -> None:
    assert to_pad(Controls(steering), PadMap(steering_dead_zone=dead_zone)).left_x == stick


@pytest.mark.parametrize(
    ("pedal", "dead_zone", "trigger"),
    [(0.0, 0.0, 0), (-0.3, 0.2, 0), (1.0, 0.0, 255), (1.2, 0.5, 255), (0.5, 0.0, 128), (1e-9, 0.2, 51), (0.1, 0.2, 71)],
)
def test_pedals_on_the_triggers(pedal: float, dead_zone: float, trigger: int) -> None:
    pad = PadMap(throttle_dead_zone=dead_zone, brake_dead_zone=dead_zone)
    assert to_pad(Controls(0.0, pedal, 0.0), pad) == PadState(right_trigger=trigger)
    assert to_pad(Controls(0.0, 0.0, pedal), pad) == PadState(left_trigger=trigger)


def test_other_places() -> None:
    sticks = PadMap("right_x", "left_y_up", "left_y_down")
    assert to_pad(Controls(-1.0, 0.5, 0.0), sticks) == PadState(right_x=-32767, left_y=16384)
    assert to_pad(Controls(0.0, 0.0, 1.0), sticks) == PadState(left_y=-32767)
    buttons = PadMap(throttle="button_a", brake="button_x")
    assert to_pad(Controls(0.0, 0.49, 0.5), buttons) == PadState(buttons={"x"})


@given(st.builds(Controls, finite, finite, finite), pads)
def test_nothing_wraps_or_changes_sign(controls: Controls, pad: PadMap) -> None:
    state = to_pad(controls, pad)
    stick = getattr(state, pad.steering)
    assert all(-STICK_MAX <= value <= STICK_MAX for value in (state.left_x, state.left_y, state.right_x, state.right_y))
    assert all(0 <= value <= TRIGGER_MAX for value in (state.left_trigger, state.right_trigger))
    assert stick == 0 or (stick > 0) == (controls.steering > 0)
    assert abs(stick) >= math.floor(pad.steering_dead_zone * STICK_MAX) or controls.steering == 0
    if controls.throttle <= 0 and controls.brake <= 0:
        pedals_up = PadState()
        setattr(pedals_up, pad.steering, stick)
        assert state == pedals_up


@given(pads)
def test_neutral_is_neutral_on_every_pad(pad: PadMap) -> None:
    assert to_pad(NEUTRAL, pad) == PadState()


@given(st.floats(-1, 1), st.floats(-1, 1), dead_zones)
def test_more_control_is_never_less_deflection(first: float, second: float, dead_zone: float) -> None:
    low, high = sorted((first, second))
    assert beyond_dead_zone(low, dead_zone) <= beyond_dead_zone(high, dead_zone)


def test_a_further_axis_lies_where_the_profile_says() -> None:
    on_a_button = PadMap(others=(("handbrake", "left_shoulder"),))
    assert to_pad(Controls(handbrake=1.0), on_a_button) == PadState(buttons={"left_shoulder"})
    assert to_pad(Controls(handbrake=0.4), on_a_button) == PadState()
    on_a_stick = PadMap(others=(("handbrake", "right_y_down"),))
    assert to_pad(Controls(0.0, 1.0, handbrake=1.5), on_a_stick) == PadState(right_trigger=255, right_y=-32767)
    assert to_pad(Controls(handbrake=1.0), PadMap()) == PadState()  # a game without one


def test_what_is_no_number_is_refused() -> None:
    class Broken:
        steering, throttle, brake = math.nan, 0.0, 0.0

    with pytest.raises(ControllerError, match="not a finite number"):
        to_pad(Broken(), PadMap())  # type: ignore[arg-type]


def test_the_slew_limit_takes_its_time_in_both_directions() -> None:
    slew = SlewLimit(2.0)  # full deflections a second
    assert slew.limit(0.0, 0) == 0.0
    assert slew.limit(1.0, 100_000_000) == pytest.approx(0.2)
    assert slew.limit(1.0, 200_000_000) == pytest.approx(0.4)
    assert slew.limit(0.41, 300_000_000) == pytest.approx(0.41)  # within reach
    assert slew.limit(-1.0, 400_000_000) == pytest.approx(0.21)


def test_without_a_slew_limit_the_stick_jumps() -> None:
    slew = SlewLimit(None)
    assert [slew.limit(value, 0) for value in (1.0, -1.0)] == [1.0, -1.0]
