"""Controls stay in range, refuse what is not a number, and press one pedal at a time."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.controls import (
    AXES,
    AXIS_NAMES,
    MIRRORED_AXES,
    NEUTRAL,
    SIGNED_OUTPUTS,
    STANDARD_AXES,
    YIELDING_AXES,
    Controls,
    filled_axes,
    with_standard_axes,
)
from agent.contract.errors import ControlsError

FINITE = st.floats(allow_nan=False, allow_infinity=False)
ANY_CONTROLS = st.builds(Controls, **dict.fromkeys(AXIS_NAMES, FINITE))
NOT_FINITE = (math.nan, math.inf, -math.inf)


@given(ANY_CONTROLS)
def test_clipping_bounds_every_axis_and_never_flips_the_steering(controls: Controls) -> None:
    clipped = controls.clip()
    assert -1 <= clipped.steering <= 1
    assert 0 <= clipped.throttle <= 1
    assert 0 <= clipped.brake <= 1
    assert math.copysign(1, clipped.steering) == math.copysign(1, controls.steering)
    assert clipped.clip() == clipped


@pytest.mark.parametrize(
    ("raw", "clipped"),
    [
        (Controls(1.2, 1.2, 1.2), Controls(1.0, 1.0, 1.0)),
        (Controls(-1.2, -0.1, -0.1), Controls(-1.0, 0.0, 0.0)),
        (Controls(-0.3, 0.4, 0.5), Controls(-0.3, 0.4, 0.5)),
    ],
)
def test_clipping_changes_only_what_is_out_of_range(raw: Controls, clipped: Controls) -> None:
    assert raw.clip() == clipped


@given(ANY_CONTROLS)
def test_arbitration_leaves_at_most_one_pedal_the_stronger(controls: Controls) -> None:
    clipped = controls.clip()
    decided = clipped.arbitrate()
    assert min(decided.throttle, decided.brake) == 0
    assert max(decided.throttle, decided.brake) == max(clipped.throttle, clipped.brake)
    assert (decided.throttle > 0) == (clipped.throttle > clipped.brake)
    assert decided.steering == clipped.steering
    assert decided.arbitrate() == decided


@pytest.mark.parametrize(
    ("pressed", "decided"),
    [
        (Controls(0.1, 0.7, 0.6), Controls(0.1, 0.7, 0.0)),
        (Controls(0.1, 0.6, 0.7), Controls(0.1, 0.0, 0.7)),
        (Controls(0.1, 0.5, 0.5), Controls(0.1, 0.0, 0.5)),
        (NEUTRAL, NEUTRAL),
    ],
)
def test_arbitration_by_example_and_the_brake_wins_ties(pressed: Controls, decided: Controls) -> None:
    assert pressed.arbitrate() == decided


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("axis", AXIS_NAMES)
def test_a_value_that_is_not_finite_is_refused_and_named(axis: str, value: float) -> None:
    with pytest.raises(ControlsError, match=f"^{axis} is {value}, expected a finite number"):
        Controls(**{axis: value})


@given(st.lists(st.floats(-4, 4, width=32), min_size=3, max_size=3))
def test_a_prediction_is_read_unclipped_in_order_and_survives_the_array(values: list[float]) -> None:
    controls = Controls.from_prediction(values)
    assert (controls.steering, controls.throttle, controls.brake) == tuple(values)
    again = Controls.from_prediction(controls.to_array())
    assert again == controls
    assert type(again.steering) is float


def test_the_array_is_float32_in_the_networks_order() -> None:
    array = Controls(-0.5, 0.25, 0.75).to_array()
    assert array.dtype == np.float32
    assert array.tolist() == [-0.5, 0.25, 0.75]


@pytest.mark.parametrize(
    "values",
    [0.5, [], [0.1, 0.2], [0.1, 0.2, 0.3, 0.4], np.zeros((3, 1), np.float32), np.zeros((1, 3), np.float32)],
)
def test_a_prediction_of_another_shape_is_refused(values: Any) -> None:
    with pytest.raises(ControlsError, match=r"expected \(3,\): steering, throttle, brake") as raised:
        Controls.from_prediction(values)
    assert f"shape {np.shape(values)}" in str(raised.value)


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_prediction_that_is_not_finite_is_refused(position: int, value: float) -> None:
    prediction = np.zeros(3, np.float32)
    prediction[position] = value
    with pytest.raises(ControlsError, match="expected a finite number"):
        Controls.from_prediction(prediction)


def test_neutral_is_a_centred_wheel_and_released_pedals() -> None:
    assert Controls(0.0, 0.0, 0.0) == NEUTRAL


def test_the_table_says_what_everything_else_is_derived_from() -> None:
    assert AXIS_NAMES[:3] == STANDARD_AXES == ("steering", "throttle", "brake")
    assert [(axis.low, axis.high, axis.neutral) for axis in AXES[:3]] == [(-1, 1, 0), (0, 1, 0), (0, 1, 0)]
    assert YIELDING_AXES == (("throttle", "brake"),)
    assert {"steering"} == MIRRORED_AXES
    assert NEUTRAL.values == tuple(axis.neutral for axis in AXES)


@given(ANY_CONTROLS)
def test_every_axis_is_clipped_to_its_own_range_and_only_where_it_has_to_be(controls: Controls) -> None:
    clipped = controls.clip()
    for axis, raw, value in zip(AXES, controls.values, clipped.values, strict=True):
        assert axis.low <= value <= axis.high
        assert value == raw or not axis.low < raw < axis.high
        assert (value > axis.neutral) == (raw > axis.neutral)  # never to the other side
        assert (value < axis.neutral) == (raw < axis.neutral) or axis.low == axis.neutral
    assert clipped.clip() == clipped


@given(ANY_CONTROLS)
def test_arbitration_touches_no_axis_that_yields_to_none(controls: Controls) -> None:
    decided = controls.clip().arbitrate()
    paired = {name for pair in YIELDING_AXES for name in pair}
    for name in set(AXIS_NAMES) - paired:
        assert getattr(decided, name) == getattr(controls.clip(), name)


@given(ANY_CONTROLS)
def test_controls_can_be_taken_apart_and_put_together(controls: Controls) -> None:
    assert Controls(*controls.values) == controls


@given(st.floats(0, 1), st.sampled_from([axis for axis in AXES if axis.low < axis.neutral]))
def test_a_share_is_the_way_from_neutral_to_the_end(share: float, axis: object) -> None:
    for signed in (share, -share):
        assert axis.share(axis.value_at(signed)) == pytest.approx(signed)  # type: ignore[attr-defined]


def test_two_huge_values_are_no_infinite_one() -> None:
    assert Controls(1.7e308, 1.7e308).clip() == Controls(1.0, 1.0)  # their sum is infinite


@given(st.lists(st.sampled_from((*AXIS_NAMES, *SIGNED_OUTPUTS)), unique=True), st.data())
def test_axes_without_an_output_are_neutral(outputs: list[str], data: st.DataObject) -> None:
    prediction = [data.draw(st.floats(-2, 2, width=32)) for _ in outputs]
    if "pedal" in outputs and {"throttle", "brake"} & set(outputs):
        with pytest.raises(ControlsError, match=r"two outputs move the (throttle|brake), expected .* each axis once"):
            filled_axes(outputs)
        return
    controls = Controls.from_prediction(prediction, outputs)
    filled = filled_axes(outputs)
    for name in set(AXIS_NAMES) - set(filled):
        assert getattr(controls, name) == getattr(NEUTRAL, name)
    np.testing.assert_array_equal(controls.to_array(outputs), np.array(prediction, np.float32))


@pytest.mark.parametrize(
    ("pedal", "pressed"),
    [(0.4, Controls(0.1, 0.4, 0.0)), (-0.7, Controls(0.1, 0.0, 0.7)), (0.0, Controls(0.1)), (1.5, Controls(0.1, 1.5))],
)
def test_a_signed_pedal_presses_one_of_the_two(pedal: float, pressed: Controls) -> None:
    assert Controls.from_prediction([0.1, pedal], ["steering", "pedal"]) == pressed


def test_what_both_pedals_come_to_as_one() -> None:
    assert Controls(0.0, 0.75, 0.25).to_array(["pedal"]).tolist() == [0.5]


@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_signed_pedal_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ControlsError, match=f"^pedal is {value}, expected a finite number"):
        Controls.from_prediction([0.0, value], ["steering", "pedal"])


def test_a_prediction_is_of_as_many_values_as_there_are_outputs() -> None:
    with pytest.raises(ControlsError, match=r"shape \(3,\), expected \(2,\): steering, pedal"):
        Controls.from_prediction(np.zeros(3), ["steering", "pedal"])


def test_an_unknown_output_is_named() -> None:
    with pytest.raises(ControlsError, match="no axis 'clutch', expected steering, throttle, brake"):
        filled_axes(["steering", "clutch"])


def test_standard_axes_come_first_and_each_once() -> None:
    assert with_standard_axes(["handbrake", "brake"]) == ("steering", "throttle", "brake", "handbrake")


@pytest.mark.parametrize("name", AXIS_NAMES)
def test_deflection_is_that_of_the_axis_moved_farthest(name: str) -> None:
    axis = AXES[AXIS_NAMES.index(name)]
    assert Controls(**{name: axis.low}).deflection == axis.neutral - axis.low
    assert NEUTRAL.deflection == 0.0
