"""The privileged expert: its geometry exactly, its driving on a few tracks."""

import math

import numpy as np
import pytest

from agent.games.carracing import HOLD_TICKS, CarRacing
from training.collecting.experts.carracing import CarRacingExpert, curvature, racing_line


def circle(radius: float, points: int = 80) -> np.ndarray:
    angle = np.linspace(0, 2 * math.pi, points, endpoint=False)
    return radius * np.stack((np.cos(angle), np.sin(angle)), axis=1)


def test_curvature_of_a_circle_is_one_over_its_radius_and_positive_to_the_left() -> None:
    assert curvature(circle(50.0)) == pytest.approx(1 / 50, rel=1e-2)
    assert curvature(circle(50.0)[::-1]) == pytest.approx(-1 / 50, rel=1e-2)


def test_the_racing_line_bends_less_than_the_road_and_stays_on_it() -> None:
    angle = np.linspace(0, 2 * math.pi, 200, endpoint=False)
    road = (100 + 12 * np.sin(5 * angle))[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=1)
    line = racing_line(road, offset=3.0, iterations=400)
    assert np.hypot(*(line - road).T).max() <= 3.0 + 1e-9
    assert np.square(curvature(line)).sum() < 0.97 * np.square(curvature(road)).sum()


@pytest.mark.parametrize("seed", [30_003, 30_017])
def test_the_expert_finishes_a_lap_above_900(seed: int) -> None:
    game = CarRacing()
    game.reset(seed)
    expert = CarRacingExpert(game)
    expert.plan()
    while game.state.outcome == "driving":
        controls = expert.decide()
        assert controls == controls.clip()
        assert not (controls.throttle and controls.brake)
        game.advance(controls, HOLD_TICKS)
    assert game.state.outcome == "lap"
    assert game.state.episode_return > 900


def test_telemetry_describes_the_scene_from_the_driver_s_seat() -> None:
    game = CarRacing()
    game.reset(30_003)
    expert = CarRacingExpert(game)
    expert.plan()
    hull = game.car.hull
    before = expert.telemetry()
    assert abs(before["lateral_offset"]) < 1.0
    hull.angle += 0.3  # the nose swings to the left: everything ahead moves to the right
    turned = expert.telemetry()
    assert turned["bearing_16"] == pytest.approx(before["bearing_16"] + 0.3, abs=1e-6)
    assert turned["heading_error"] == pytest.approx(before["heading_error"] + 0.3, abs=1e-6)
    hull.angle -= 0.3
    right = np.array([math.cos(hull.angle), math.sin(hull.angle)])
    hull.position = np.array(hull.position) + 2.0 * right
    assert expert.telemetry()["lateral_offset"] == pytest.approx(before["lateral_offset"] + 2.0, abs=0.3)
