"""The scripted person before the road game, without a keyboard: how they drive, when they help, what is counted."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from road_game import person
from road_game.car import Hands
from road_game.driver import CAREFUL, Driver, Manner
from road_game.figures import Spell, figures
from road_game.game import Game, Log
from road_game.person import Alarm, LogReader, Patience

PICTURE_S = 1 / 30


@pytest.fixture(scope="module")
def road() -> Game:
    return Game(0, True, Log(None))


def hands(keys: Iterable[str]) -> Hands:
    held = set(keys)
    return Hands(float("right" in held) - float("left" in held), float("up" in held), float("down" in held))


def sit(game: Game, manner: Manner, seconds: float) -> list[dict[str, Any]]:
    """Let a person drive on from where the car is; return the log's rows."""
    driver = Driver(game.track, manner, seed=1)
    rows = []
    for tick in range(round(seconds / PICTURE_S)):
        now_s = tick * PICTURE_S
        keys = driver.decide(game.report(), now_s)
        game.step(hands(keys), PICTURE_S)
        rows.append({"clock_s": now_s, "keys": keys, **game.report()})
    return rows


@pytest.mark.parametrize("seed", [0, 1])
def test_a_person_drives_a_lap_from_a_standing_start(seed: int) -> None:
    game = Game(seed, True, Log(None))
    game.confirm()
    rows = sit(game, Manner(), 100)
    assert not rows[10]["keys"], "nobody starts at once"
    assert rows[-1]["laps"] == 1
    assert rows[-1]["contacts"] == 0
    assert sum(row["off_road"] for row in rows) < 0.03 * len(rows)
    used = {key for row in rows for key in row["keys"]}
    assert used == {"left", "right", "up", "down"}
    assert max(abs(row["offset_m"]) for row in rows) > 1.5, "off the line now and then"


@pytest.mark.parametrize("offset_m", [-12.9, 0.0, 12.9])
@pytest.mark.parametrize("angle", [-170.0, -90.0, 0.0, 90.0, 170.0])
def test_a_person_gets_back_from_everywhere(road: Game, offset_m: float, angle: float) -> None:
    road.back_to_menu()
    road.confirm()
    road.car.put(200.0, offset_m, math.radians(angle))
    alarm = Alarm(Patience())
    rows = sit(road, CAREFUL, 18)
    assert any(alarm.is_sound(row) for row in rows)
    assert road.resets == 0


def test_two_persons_are_not_the_same(road: Game) -> None:
    offsets = []
    for seed in (1, 1, 2):
        road.back_to_menu()
        road.confirm()
        driver = Driver(road.track, Manner(), seed)
        for tick in range(300):
            road.step(hands(driver.decide(road.report(), tick * PICTURE_S)), PICTURE_S)
        offsets.append(road.report()["distance_m"])
    assert offsets[0] == offsets[1] != offsets[2]


def row(clock_s: float, **changed: Any) -> dict[str, Any]:
    sound = {
        "state": "driving",
        "race_s": clock_s,
        "distance_m": 10.0 * clock_s,
        "offset_m": 0.0,
        "road_angle": 0.0,
        "speed": 10.0,
        "off_road": False,
        "laps": 0,
        "contacts": 0,
    }
    return {"clock_s": clock_s, **sound, **changed}


@pytest.mark.parametrize(
    ("sign", "cause", "after_s"),
    [
        ({"off_road": True}, "off the road", 0.7),
        ({"road_angle": -1.5}, "crooked", 0.7),
        ({"speed": 0.0}, "stands", 8.0),
    ],
)
def test_help_comes_after_a_while_of_trouble(sign: dict[str, Any], cause: str, after_s: float) -> None:
    alarm = Alarm(Patience())
    times = [tick / 10 for tick in range(200)]
    assert all(alarm.cause(row(clock_s)) is None for clock_s in times)
    first = next(clock_s for clock_s in times if alarm.cause(row(clock_s, **sign)))
    assert first == pytest.approx(after_s, abs=0.11)
    assert alarm.cause(row(first + 0.1, **sign)) == cause
    assert alarm.cause(row(first + 0.2)) is None
    assert alarm.cause(row(first + 0.3, **sign)) is None, "the trouble begins anew"


def test_figures_count_what_was_driven_without_help() -> None:
    times = [tick / 10 for tick in range(601)]
    rows = [row(clock_s, off_road=20 < clock_s <= 26) for clock_s in times]
    rows[0]["distance_m"] = 0.0
    rows = [row(-0.1, state="menu", race_s=0.0, distance_m=0.0), *rows]
    told = figures(rows, [Spell(25.0, 30.0, "off the road")])
    assert told["interventions"] == 1
    assert told["seconds"] == pytest.approx(55, abs=0.2)
    assert told["per_minute"] == pytest.approx(60 / 55, abs=0.02)
    assert told["on_road"] == pytest.approx(50 / 55, abs=0.005)
    assert told["longest_m"] == pytest.approx(300, abs=3)
    assert told["distance_m"] == pytest.approx(550, abs=3)
    assert (told["starts"], told["started"]) == (1, 1)
    assert told["causes"] == {"off the road": 1}


def test_a_car_that_had_to_be_pulled_away_has_not_started() -> None:
    rows = [row(0.0, state="menu", distance_m=0.0)]
    rows += [row(tick / 10, distance_m=max(0.0, tick / 10 - 9) * 10, speed=0.0) for tick in range(1, 200)]
    told = figures(rows, [Spell(8.1, 12.0, "stands")])
    assert (told["starts"], told["started"], told["causes"]) == (1, 0, {"stands": 1})


def test_the_log_is_followed_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "race.jsonl"
    with Log(path) as log:
        game = Game(0, True, log)
        reader = LogReader(path)
        assert reader.first["seed"] == 0
        game.confirm()
        for _ in range(3):
            game.step(Hands(throttle=1), PICTURE_S)
        assert reader.newest()["throttle"] > 0
        with path.open("a") as halfway:
            halfway.write('{"clock_s": 1')
        assert len(reader.rows()) == 3, "what newest read is still to be told of"
        assert reader.rows() == []
        with path.open("a") as halfway:
            halfway.write('.5, "state": "menu"}\n')
        assert [line["clock_s"] for line in reader.rows()] == [1.5]
        reader.close()
    assert len(path.read_text().splitlines()) == 5
    json.loads(path.read_text().splitlines()[0])


def test_a_game_that_has_ended_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(person, "_SILENT_S", 0.2)
    path = tmp_path / "race.jsonl"
    path.write_text('{"event": "opened", "seed": 0}\n{"clock_s": -100.0}\n')
    reader = LogReader(path)
    with pytest.raises(RuntimeError, match="written nothing"):
        reader.newest()
    reader.close()
