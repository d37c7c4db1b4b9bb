"""Controls stay in range, refuse what is no number, and press one pedal at a time."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import ControlsError

FINITE = st.floats(allow_nan=False, allow_infinity=False)
ANY_CONTROLS = st.builds(Controls, FINITE, FINITE, FINITE)
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
@pytest.mark.parametrize("axis", ["steering", "throttle", "brake"])
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
