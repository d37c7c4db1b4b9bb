"""Steering along the middle of SuperTuxKart's road: its arc exactly, its ends, and who may be asked to label."""

import math
from collections.abc import Mapping

import pytest

from agent.contract.errors import TrainingError
from training.collecting.courses import find_course
from training.collecting.experts.road import BEARINGS_M, Pursuit


def road(*bearings: float) -> Mapping[str, float]:
    return {f"bearing_{metres}": bearing for metres, bearing in zip(BEARINGS_M, bearings, strict=True)}


def test_it_steers_to_the_side_on_which_the_road_lies_and_mirrors_itself() -> None:
    right = Pursuit().steer(road(0.1, 0.1, 0.1, 0.1), 20.0)
    assert 0.0 < right < 1.0
    assert Pursuit().steer(road(-0.1, -0.1, -0.1, -0.1), 20.0) == pytest.approx(-right)
    assert Pursuit().steer(road(0.0, 0.0, 0.0, 0.0), 20.0) == 0.0


def test_the_arc_is_that_through_the_point_steered_at() -> None:
    """A circle of radius 40 m touches the nose and passes through a chord of 18 m at asin(18 / 80)."""
    chord = 8.0 + 0.5 * 20.0
    bearings = [math.asin(metres / 80.0) for metres in (10.0, chord)]
    between = bearings[0] + (bearings[1] - bearings[0]) * 10.0 / (chord - 10.0)  # so that 18 m comes out as it should
    steering = Pursuit(gain=1.0).steer(road(bearings[0], between, 0.0, 0.0), 20.0)
    assert steering == pytest.approx((3.0 + 0.8 * 20.0) / 40.0)


def test_a_fast_kart_looks_further_ahead() -> None:
    bend = road(0.0, 0.0, 0.2, 0.4)
    assert Pursuit().steer(bend, 5.0) == 0.0
    assert Pursuit().steer(bend, 40.0) > 0.1


@pytest.mark.parametrize("speed", [-5.0, 0.0, 12.0, 90.0])
def test_the_wheel_stays_within_its_stops_and_turns_for_what_lies_behind(speed: float) -> None:
    assert Pursuit().steer(road(3.0, 3.0, 3.0, 3.0), speed) == 1.0
    assert Pursuit().steer(road(-2.0, -2.5, -3.0, -3.1), speed) == -1.0


def test_an_expert_that_the_game_has_not_is_refused_by_the_name_of_those_it_has() -> None:
    course = find_course("carracing")
    assert course.find_expert() is course.find_expert("racing-line")
    with pytest.raises(TrainingError, match="carracing has no expert 'built-in', expected one of: racing-line"):
        course.find_expert("built-in")
