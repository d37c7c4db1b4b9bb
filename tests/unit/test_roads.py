"""Roads made by a program: geometry and labels on roads that one can work out by hand, and pictures that show them."""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from agent.contract.controls import Controls
from agent.contract.episodes.reading import Episode
from agent.policies.expert import ExpertPolicy
from agent.sessions.evaluation import evaluate_policy
from training.collecting.collect import record_episode
from training.collecting.config import CollectConfig
from training.collecting.courses import find_course, find_trained_game
from training.collecting.roads.car import GRIP_M_S2, RADIUS_M, RADIUS_S, TICK_S, TOP_SPEED_M_S, Car
from training.collecting.roads.course import Ground, Road, make_road
from training.collecting.roads.expert import BRAKING_LIMIT_M_S2, LATERAL_LIMIT_M_S2, RoadsExpert, plan_speeds
from training.collecting.roads.picture import Painter, _View
from training.collecting.roads.scenery import Band, Scenery, Things, draw_scenery
from training.collecting.roads.simulator import HOLD_TICKS, PROFILE, Roads

SEEDS = range(12)


class OnRoad(Roads):
    """The game on a given road."""

    def __init__(self, road: Road) -> None:
        super().__init__()
        self._given = road

    def reset(self, seed: int) -> None:
        super().reset(seed)
        self.road = self._given
        self._walls = (1e6, 1e6)


def straight() -> Road:
    return Road.from_curvature(np.zeros(401), 4.0)


def circle(radius_m: float) -> Road:
    return Road.from_curvature(np.full(301, 1.0 / radius_m), 4.0)


def label(road: Road, s: float, lateral: float, heading_error: float = 0.0, speed: float = 10.0) -> Controls:
    game = OnRoad(road)
    game.reset(0)
    game.put(s, lateral, heading_error, speed)
    expert = RoadsExpert(game)
    expert.plan()
    return expert.decide()


def test_a_road_of_constant_curvature_is_a_circle() -> None:
    road = circle(50.0)
    assert np.hypot(road.x - 50.0, road.y) == pytest.approx(np.full(301, 50.0), abs=0.01)
    x, y = road.point(20.0, 3.0)  # right of the middle is nearer to the centre, which lies to the right
    assert math.hypot(float(x) - 50.0, float(y)) == pytest.approx(47.0, abs=0.01)


@pytest.mark.parametrize("road", [straight(), circle(40.0), circle(-60.0)], ids=["straight", "right", "left"])
@pytest.mark.parametrize(("s", "lateral"), [(100.0, 0.0), (77.3, 2.5), (120.6, -9.0)])
def test_a_place_on_the_road_is_found_again(road: Road, s: float, lateral: float) -> None:
    x, y = road.point(s, lateral)
    assert road.locate(float(x), float(y), s - 6.0) == pytest.approx((s, lateral), abs=0.02)
    ground = Ground(road, np.random.default_rng(0))
    found = ground.look_up(np.array([[x]]), np.array([[y]]))[0, 0]
    assert found[:2] == pytest.approx((s, lateral), abs=0.15)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_drawn_road_keeps_clear_of_itself_and_bends_no_tighter_than_the_car_can(seed: int) -> None:
    road = make_road(np.random.default_rng(seed), 600.0)
    assert road.length_m >= 200.0
    assert np.abs(road.curvature).max() <= 1.0 / (road.half_width + 6.0) + 1e-9
    x, y = road.x[::4], road.y[::4]
    apart = np.hypot(x[:, None] - x, y[:, None] - y)
    far_along = np.abs(np.subtract.outer(np.arange(len(x)), np.arange(len(x)))) * 4.0 > 2.2 * (
        2 * road.half_width + 14.0
    )
    assert apart[far_along].min(initial=np.inf) > 2 * road.half_width + 10.0


def test_on_the_middle_of_a_straight_road_nothing_is_steered_and_a_car_that_stands_starts() -> None:
    controls = label(straight(), 100.0, 0.0, speed=0.0)
    assert controls.steering == pytest.approx(0.0, abs=1e-9)
    assert controls.throttle == 1.0
    assert controls.brake == 0.0


@pytest.mark.parametrize("lateral", [0.5, 3.0, 9.0])
@pytest.mark.parametrize("heading_error", [-1.0, 0.0, 0.2])
def test_right_of_the_middle_it_steers_left_and_mirrors_itself(lateral: float, heading_error: float) -> None:
    right = label(straight(), 100.0, lateral, heading_error)
    left = label(straight(), 100.0, -lateral, -heading_error)
    assert right.steering == pytest.approx(-left.steering)
    assert (right.throttle, right.brake) == pytest.approx((left.throttle, left.brake))
    if heading_error >= 0.0:
        assert right.steering < 0.0
    else:  # turned far to the left: back to the right, wherever it is
        assert right.steering > 0.0


def test_in_a_bend_the_wheel_is_asked_for_the_arc_of_the_bend() -> None:
    """A car on a circle, heading along it, reaches any point of the circle by an arc of its radius."""
    for radius in (30.0, -60.0):
        steering = label(circle(radius), 100.0, 0.0, speed=10.0).steering
        assert steering == pytest.approx(2.0 * (RADIUS_M + RADIUS_S * 10.0) / radius, rel=0.03)


def test_the_steering_does_what_its_arc_says() -> None:
    car = Car(0.0, 0.0, 0.0, speed=5.0)
    for _ in range(200):
        car.speed = 5.0
        car.step(Controls(0.5, 0.0, 0.0), on_road=True)
    assert car.yaw_rate == pytest.approx(0.5 * 5.0 / (RADIUS_M + RADIUS_S * 5.0), rel=0.03)
    assert car.yaw_rate > 0.0
    turned = car.heading
    car.step(Controls(-1.0, 0.0, 0.0), on_road=True)
    assert car.wheel < 0.5
    assert car.heading > turned  # the wheel takes its time


def test_tyres_let_go_and_grass_slows_down() -> None:
    fast = Car(0.0, 0.0, 0.0, speed=30.0, wheel=1.0)
    fast.step(Controls(1.0, 0.0, 0.0), on_road=True)
    assert fast.yaw_rate * fast.speed == pytest.approx(GRIP_M_S2, rel=0.05)
    speeds = []
    for on_road in (True, False):
        car = Car(0.0, 0.0, 0.0)
        for _ in range(round(20.0 / TICK_S)):
            car.step(Controls(0.0, 1.0, 0.0), on_road)
        speeds.append(car.speed)
    assert 25.0 < speeds[0] < TOP_SPEED_M_S
    assert 8.0 < speeds[1] < 16.0
    car.step(Controls(0.0, 0.0, 1.0), on_road=True)
    assert car.speed < speeds[1]
    for _ in range(500):
        car.step(Controls(0.0, 0.0, 1.0), on_road=True)
    assert car.speed == 0.0


def test_the_plan_brakes_before_a_bend_and_not_in_it() -> None:
    curvature = np.concatenate((np.zeros(200), np.full(60, 1.0 / 20.0), np.zeros(100)))
    speeds = plan_speeds(Road.from_curvature(curvature, 4.0))
    bend = math.sqrt(LATERAL_LIMIT_M_S2 * 20.0)
    assert speeds[200:260] == pytest.approx(np.full(60, bend))
    assert speeds[150] == pytest.approx(math.sqrt(bend**2 + 2 * BRAKING_LIMIT_M_S2 * 50.0))
    assert label(Road.from_curvature(curvature, 4.0), 190.0, 0.0, speed=25.0).brake > 0.5
    assert label(Road.from_curvature(curvature, 4.0), 100.0, 0.0, speed=10.0).throttle == 1.0


@pytest.mark.parametrize("seed", SEEDS[:6])
def test_the_expert_drives_every_road_to_its_end(seed: int) -> None:
    game = Roads("line", length_m=400.0)
    game.reset(seed)
    expert = RoadsExpert(game)
    expert.plan()
    while game.state.outcome == "driving":
        game.advance(expert.decide(), HOLD_TICKS)
    state = game.state
    assert state.outcome == "lap"
    assert state.figures == {"rescues": 0.0, "off_road_share": 0.0}
    assert state.episode_return == pytest.approx(1000.0 - 5.0 * state.time_s)


def test_from_anywhere_it_finds_back_to_the_middle() -> None:
    lost = 0.0
    for seed in range(24):
        game = Roads("anywhere", length_m=500.0)
        game.reset(seed)
        expert = RoadsExpert(game)
        expert.plan()
        starts_aside = abs(game.lateral)
        for _ in range(100):
            game.advance(expert.decide(), HOLD_TICKS)
        lost += game.state.figures["rescues"]
        assert abs(game.lateral) < max(1.5, starts_aside)
    assert lost <= 2


def test_who_leaves_the_road_is_put_back_and_counted() -> None:
    game = OnRoad(straight())
    game.reset(1)
    game.put(50.0, 0.0, heading_error=0.5, speed=15.0)
    for _ in range(100):
        game.advance(Controls(0.0, 1.0, 0.0), HOLD_TICKS)
        if game.state.figures["rescues"]:
            break
    assert game.state.figures["rescues"] == 1.0
    assert game.state.figures["off_road_share"] > 0.3
    assert abs(game.lateral) < 0.1
    assert game.car.speed < 2.0  # it stood, and has pulled for less than a decision


def test_a_wall_holds_the_car_and_turns_it_along() -> None:
    game = OnRoad(straight())
    game.reset(1)
    game._walls = (5.0, 5.0)
    game.put(50.0, 0.0, heading_error=0.8, speed=15.0)
    for _ in range(20):
        game.advance(Controls(0.0, 1.0, 0.0), HOLD_TICKS)
        assert game.lateral <= 4.2 + 1e-6
    assert game.car.heading == pytest.approx(0.0, abs=0.05)
    assert game.s > 60.0


def test_a_seed_makes_the_same_drive_and_the_same_pictures_and_another_another() -> None:
    def drive(seed: int) -> list[bytes]:
        game = Roads("anywhere", length_m=400.0)
        game.reset(seed)
        expert = RoadsExpert(game)
        expert.plan()
        pictures = []
        for _ in range(4):
            pictures.append(game.render().tobytes())
            game.advance(expert.decide(), HOLD_TICKS)
        return pictures

    first = drive(5)
    assert first == drive(5)
    assert first[0] != first[3]
    assert first[0] != drive(6)[0]


def test_the_road_lies_in_the_picture_where_the_car_is_not_looking_past_it() -> None:
    """A road painted white on black land: its share of each half tells where the car stands, its bend where it goes."""
    depth_row = 60  # of 90: some ten metres ahead
    for seed in (3, 8):
        road = circle(40.0)
        rng = np.random.default_rng(seed)
        scenery = draw_scenery(road, rng)
        bands = (Band(-60.0, 60.0, np.zeros(3, np.float32)), Band(-4.0, 4.0, np.full(3, 255.0, np.float32)))
        plain: dict[str, Any] = {"bands": bands, "rails": (), "shadows": 0.0, "banks": (0.0, 0.0), "roughness_m": 0.0}
        scenery = _replaced(scenery, **plain)
        painter = Painter(road, Ground(road, rng), scenery)

        def white(lateral: float, painter: Painter = painter, road: Road = road) -> float:
            x, y = road.point(100.0, lateral)
            picture = painter.draw(float(x), float(y), float(road.at(road.heading, 100.0))).astype(float)
            columns = picture[depth_row].mean(axis=1)
            return float((columns * np.arange(160)).sum() / max(1.0, columns.sum()))

        assert white(2.0) < white(0.0) < white(-2.0)
        assert white(0.0) > 80.0  # the bend goes right


def _replaced(scenery: Scenery, **values: Any) -> Scenery:
    """Return a scenery in clear air, with nothing standing about, and with other values."""
    clear = replace(
        scenery.light, fog_m=1e6, gain=np.ones(3, np.float32), beam_m=None, wet=0.0, noise=0.0, blur_px=0.0, gamma=1.0
    )
    nothing = Things(np.empty(0), np.empty(0), np.empty(0), np.empty(0, np.int64), scenery.things.sprites)
    overlay = np.zeros((90, 160, 4), np.uint8)
    return replace(scenery, light=clear, things=nothing, overlay=overlay, **values)


def test_a_hill_hides_the_road_behind_it() -> None:
    s = np.arange(401.0)
    road = Road.from_curvature(np.zeros(401), 4.0, height=12.0 * np.exp(-(((s - 100.0) / 30.0) ** 2)))
    rng = np.random.default_rng(0)
    painter = Painter(road, Ground(road, rng), draw_scenery(road, rng))
    x, y = road.point(20.0)
    depth = _View(painter, float(x), float(y), 0.0).depths()
    middle = depth[:, 80]
    assert (np.diff(middle) <= 1e-3).all()  # from the sky down to the bonnet ever nearer
    behind = (middle > 110.0) & (middle < 200.0)
    assert not behind.any()


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_camera_behind_the_car_does_not_look_through_a_wall(side: float) -> None:
    road = straight()
    rng = np.random.default_rng(0)
    drawn = draw_scenery(road, rng)
    ground = Ground(road, rng)
    x, y = road.point(100.0, 4.0 * side)
    laterals = []
    for walls in ((1e6, 1e6), (5.0, 5.0)):
        scenery = replace(drawn, eye=replace(drawn.eye, back_m=4.0), walls_m=walls)
        laterals.append(_View(Painter(road, ground, scenery), float(x), float(y), -side * math.pi / 2).lateral * side)
    assert laterals[0] == pytest.approx(8.0, abs=0.1)
    assert 4.0 <= laterals[1] < 5.0


def test_every_scenery_can_be_told_from_its_land_and_is_a_picture() -> None:
    brightness = []
    for seed in range(20):
        game = Roads("line", length_m=300.0)
        game.reset(seed)
        picture = game.render()
        assert picture.shape == (90, 160, 3)
        assert picture.dtype == np.uint8
        assert picture.std() > 4.0, seed
        brightness.append(picture.mean())
    assert np.std(brightness) > 15.0


def test_a_picture_costs_little_and_no_more_by_the_pixel_in_larger_ones() -> None:
    """Against work of NumPy's own on as many numbers, in this thread's own time, so that any machine will do."""
    games = [Roads(), Roads(width_px=320, height_px=180)]
    numbers = np.random.default_rng(0).random((90, 160, 3), np.float32)
    drawn: list[list[float]] = [[], []]
    reference = []
    cv2.setNumThreads(1)
    for seed in range(5):
        for game in games:
            game.reset(seed)
            game.render()
        for _ in range(3):
            started = time.thread_time()
            for _ in range(10):
                np.exp(np.sin(numbers))
            reference.append((time.thread_time() - started) / 10)
            for costs, game in zip(drawn, games, strict=True):
                started = time.thread_time()
                game.render()
                costs.append(time.thread_time() - started)
    small, large = (sorted(costs)[len(costs) // 2] for costs in drawn)
    assert small < 100 * sorted(reference)[len(reference) // 2]
    assert large < 6 * small


def test_other_picture_sizes_show_the_same() -> None:
    small, large = Roads(), Roads(width_px=320, height_px=180)
    for game in (small, large):
        game.reset(2)
    shrunk = cv2.resize(large.render(), (160, 90), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(small.render().ravel(), shrunk.ravel())[0, 1] > 0.9


def test_roads_are_collected_like_any_game(tmp_path: Path) -> None:
    config = CollectConfig(tmp_path, 7, 1, noise=2.0, game="roads", decisions=30)
    record_episode(config, 7)
    episode = Episode.open(tmp_path / "roads-0000007.parquet")
    assert len(episode) == 30
    assert (episode.header.game, episode.header.rate_hz) == ("roads", 10.0)
    assert {"lateral_offset", "heading_error", "bearing_10", "bearing_45", "yaw_rate"} <= episode.telemetry.keys()
    assert episode.frame(0).pixels.shape == (90, 160, 3)
    assert np.abs(episode.controls[:, 0]).max() <= 1.0


def test_roads_are_driven_for_comparison_like_any_game() -> None:
    """What ``fit --tracks`` does after a round, with the expert in the network's place."""
    game = Roads(length_m=300.0)
    policy = ExpertPolicy(RoadsExpert(game), game)
    report = evaluate_policy(lambda: game, policy, range(2), HOLD_TICKS)
    assert [track.outcome for track in report.tracks] == ["lap", "lap"]
    assert report.decision_period_s == pytest.approx(1.0 / PROFILE.rate_hz)
    assert report.mean > 800.0
    assert all(track.figures["rescues"] == 0.0 for track in report.tracks)


def test_the_trainer_knows_the_game_and_labels_by_its_expert() -> None:
    game = find_trained_game("roads")
    assert game.profile is PROFILE
    assert isinstance(game.simulator_maker()(), Roads)
    assert find_trained_game("carracing").name == "carracing"
    assert list(find_course("roads").experts) == ["middle"]
