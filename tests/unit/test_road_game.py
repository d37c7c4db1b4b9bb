"""The road game without its window: what its roads are like, how its car drives, what its log says."""

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pygame
import pytest
from road_game.car import WHEELBASE_M, Car, Hands, lock_at
from road_game.game import Game, Log
from road_game.picture import Painter
from road_game.track import HALF_WIDTH_M, SPACING_M, Track

PICTURE_S = 1 / 30
SEEDS = (0, 1, 5)


@pytest.fixture(scope="module", params=SEEDS)
def track(request: pytest.FixtureRequest) -> Track:
    return Track(request.param)


@pytest.fixture(scope="module")
def road() -> Track:
    return Track(0)


# --- the road ---------------------------------------------------------------------------------------------------------


def test_a_road_is_a_closed_lap_of_1500_m_with_straights_and_bends_both_ways(track: Track) -> None:
    gaps = np.linalg.norm(np.roll(track.middle, -1, axis=0) - track.middle, axis=1)
    assert track.lap_m == 1500
    assert gaps == pytest.approx(np.full(len(gaps), SPACING_M), rel=0.02)
    bent = track.curvature * SPACING_M
    assert abs(bent.sum()) == pytest.approx(2 * math.pi, rel=0.001)
    assert bent[bent > 0].sum() > 1.5 < -bent[bent < 0].sum()
    assert 0.2 < (np.abs(track.curvature) < 1 / 400).mean() < 0.8
    assert np.abs(track.curvature[:10]).max() < 1 / 400, "the start is on a straight"
    assert 0.06 < np.abs(track.slope).max() < 0.08


def test_a_seed_is_a_road() -> None:
    assert np.array_equal(Track(3).middle, Track(3).middle)
    assert not np.array_equal(Track(3).middle, Track(4).middle)


def test_a_spot_is_found_where_it_was_put(track: Track) -> None:
    for position_m in np.arange(0.5, track.lap_m, 41.0):
        x_m, y_m, heading = track.at(position_m)
        place = track.locate(x_m - 3.0 * math.sin(heading), y_m + 3.0 * math.cos(heading))
        assert math.remainder(place.position_m - position_m, track.lap_m) == pytest.approx(0, abs=0.5)
        assert place.offset_m == pytest.approx(3.0, abs=0.05)
        assert math.remainder(place.heading - heading, math.tau) == pytest.approx(0, abs=0.02)


# --- the car ----------------------------------------------------------------------------------------------------------


def drive(car: Car, seconds: float, hands: Hands) -> None:
    for _ in range(round(seconds / PICTURE_S)):
        car.drive(hands, PICTURE_S)


def test_a_car_pulls_away_and_stops(road: Track) -> None:
    car = Car(road)
    drive(car, 3, Hands())
    assert (car.speed, car.distance_m) == (0, 0)
    drive(car, 3, Hands(throttle=1))
    assert 9 < car.forwards < 16
    fast = car.forwards
    drive(car, 1, Hands(brake=1))
    assert 5 < fast - car.forwards < 10, "brakes with about 0.8 g"
    drive(car, 1.5, Hands(brake=1))
    assert car.forwards < 1


def test_a_car_stands_on_a_slope_by_itself(road: Track) -> None:
    steepest = int(np.abs(road.slope).argmax())
    car = Car(road)
    car.put(steepest * SPACING_M)
    before = car.place.position_m
    drive(car, 5, Hands())
    assert car.place.position_m == pytest.approx(before, abs=0.1)


def test_the_brake_drives_back_once_the_car_stands(road: Track) -> None:
    car = Car(road)
    drive(car, 3, Hands(brake=1))
    assert -6 < car.forwards < -1
    assert car.distance_m < -2


@pytest.mark.parametrize("side", [-1, 1])
def test_a_key_turns_the_car_to_its_side(road: Track, side: int) -> None:
    car = Car(road)
    drive(car, 2, Hands(throttle=1))
    drive(car, 0.5, Hands(steering=side, throttle=0.3))
    assert car.road_angle * side > 0.1
    assert car.place.offset_m * side > 0.1
    assert abs(car.wheel) == 1
    drive(car, 0.2, Hands())
    assert car.wheel == 0, "the wheel goes back by itself"


def turn_in(road: Track, speed: float, offset_m: float = 0.0) -> float:
    """Return by how much of gravity a car turns with its wheel hard over, after a second."""
    car = Car(road, walls=False)
    car.put(10.0, offset_m)
    car.forwards = speed
    drive(car, 1.0, Hands(steering=1, throttle=0.3))
    return car.turning * car.forwards / 9.81


def test_grip_ends(road: Track) -> None:
    assert 0.7 < turn_in(road, 25.0) < 1.2
    assert turn_in(road, 25.0, 9.0) < 0.65, "the grass gives half of the road's grip"


def test_a_bend_taken_too_fast_leaves_the_road(road: Track) -> None:
    sharpest = int(np.abs(road.curvature).argmax())
    radius_m = 1 / abs(road.curvature[sharpest])
    could = math.sqrt(9.81 * radius_m)
    left = {}
    for speed in (0.8 * could, 1.6 * could):
        car = Car(road, walls=False)
        car.put(sharpest * SPACING_M - 30)
        car.forwards = speed
        for _ in range(round(60 / speed / PICTURE_S)):
            ahead = float(road.curvature[(car.place.index + round(car.forwards * 0.3 / SPACING_M)) % len(road.middle)])
            angle = WHEELBASE_M * ahead * 1.2 - 0.08 * car.place.offset_m - 0.8 * car.road_angle
            wanted = angle / lock_at(car.forwards)
            car.drive(Hands(max(-1.0, min(1.0, wanted)), 0.4, direct=True), PICTURE_S)
        left[speed > could] = car.off_road
    assert left == {False: False, True: True}


def test_the_grass_is_slow_but_not_the_end(road: Track) -> None:
    car = Car(road, walls=False)
    car.put(10.0, 9.0)
    drive(car, 6, Hands(throttle=1))
    assert car.off_road
    assert 5 < car.forwards < 14, "it gets back by its own power, but no faster than this"


def test_the_fence_holds_the_car_and_is_counted(road: Track) -> None:
    car = Car(road)
    car.put(20.0, angle=math.radians(60))
    drive(car, 6, Hands(throttle=1))
    assert car.contacts >= 1
    assert HALF_WIDTH_M < abs(car.place.offset_m) < 14
    free = Car(road, walls=False)
    free.put(20.0, angle=math.radians(60))
    drive(free, 6, Hands(throttle=1))
    assert (free.contacts, free.place.offset_m > 14) == (0, True)


def test_laps_are_counted_at_the_line_and_not_by_going_back_and_forth(road: Track) -> None:
    car = Car(road)
    car.put(1490.0)
    car.distance_m = 1490.0
    car.forwards = 10.0
    drive(car, 2, Hands(throttle=0.5))
    assert (car.laps, car.place.position_m < 50) == (1, True)
    car = Car(road)
    drive(car, 3, Hands(brake=1))
    drive(car, 5, Hands(throttle=1))
    assert car.laps == 0, "nor by backing over the line"


# --- the game ---------------------------------------------------------------------------------------------------------


def test_the_log_tells_what_the_driver_did(tmp_path: Path) -> None:
    path = tmp_path / "race.jsonl"
    with Log(path, clock=lambda: 7.0) as log:
        game = Game(0, True, log)
        game.step(Hands(throttle=1), PICTURE_S)
        game.confirm()
        for _ in range(60):
            game.step(Hands(throttle=1), PICTURE_S)
        game.pause_or_go_on()
        game.step(Hands(throttle=1), PICTURE_S)
        game.pause_or_go_on()
        game.put_back()
        game.step(Hands(), PICTURE_S)
        game.back_to_menu()
        game.step(Hands(), PICTURE_S)
    first, *rows = (json.loads(line) for line in path.read_text().splitlines())
    assert (first["event"], first["seed"], first["lap_m"], first["clock_s"]) == ("opened", 0, 1500, 7.0)
    assert [rows[0]["state"], rows[0]["speed"], rows[0]["distance_m"]] == ["menu", 0, 0], "the menu moves no car"
    driven = rows[1:61]
    assert all(row["state"] == "driving" and row["throttle"] > 0 and not row["off_road"] for row in driven)
    assert all(before["distance_m"] <= after["distance_m"] for before, after in pairwise(driven))
    assert driven[-1]["distance_m"] > 8
    assert driven[-1]["race_s"] == pytest.approx(2, abs=0.01)
    paused, put_back, menu = rows[61:]
    assert paused["state"] == "paused"
    assert paused["distance_m"] == driven[-1]["distance_m"]
    assert [put_back["resets"], put_back["speed"]] == [1, 0]
    assert [menu["state"], menu["distance_m"], menu["resets"]] == ["menu", 0, 0]


def test_the_picture_shows_the_road_ahead_and_turns_with_the_car(road: Track) -> None:
    painter, picture = Painter(road), pygame.Surface((640, 360))

    def seen(angle: float, height_m: float = 0.0) -> np.ndarray:
        x_m, y_m, heading = road.at(4.0)
        painter.draw(picture, (x_m, y_m, float(road.height[2]) + height_m), heading + angle, 0.0)
        return pygame.surfarray.array3d(picture).swapaxes(0, 1).astype(int)

    def greyness(pixels: np.ndarray) -> float:
        return float((np.ptp(pixels, axis=-1) < 12).mean())

    ahead = seen(0.0)
    assert greyness(ahead[300:340, 200:440]) > 0.9, "asphalt in front"
    assert greyness(ahead[0:80]) < 0.1, "sky above"
    assert np.array_equal(ahead, seen(0.0)), "the same place is the same picture"
    to_the_left, to_the_right = seen(-0.5), seen(0.5)
    assert greyness(to_the_left[220:260, :200]) < greyness(to_the_left[220:260, 440:])
    assert greyness(to_the_right[220:260, :200]) > greyness(to_the_right[220:260, 440:])
    assert len(np.unique(seen(math.pi).reshape(-1, 3), axis=0)) > 20, "looking back there is a road, too"
