"""The road game on a virtual clock: what is recorded and what helping looks like, by the agent's own parts."""

from pathlib import Path

import numpy as np
import pytest
from road_game.lockstep import ROAD, Desk, let_drive, record

from agent.contract.controls import Controls
from agent.contract.episodes.reading import Episode
from agent.contract.spec import ModelSpec
from agent.engines.constant import ConstantEngine
from agent.policies.network import NetworkPolicy


def test_the_person_is_recorded_as_in_the_window(tmp_path: Path) -> None:
    told = record(Desk(0), ROAD, tmp_path, races=1, seconds=7, seed=3)
    assert told["started"] == 1
    (path,) = tmp_path.glob("*.parquet")
    episode = Episode.open(path)
    assert episode.header.driver == "human"
    labels = episode.controls
    assert 70 < len(labels) <= 7 * 20, "the same picture is not recorded twice"
    assert labels[:, 1].max() == 1.0
    assert ((labels[:, 0] > 0.05) & (labels[:, 0] < 0.95)).any(), "taps are averaged"
    assert told["distance_m"] > 20


@pytest.mark.thorough
def test_a_person_helps_a_car_that_cannot_steer_and_that_is_recorded(tmp_path: Path) -> None:
    policy = NetworkPolicy(ConstantEngine(ModelSpec(name="blind", backbone="none", game="my-road"), Controls(0, 1, 0)))
    desk = Desk(0)
    told = let_drive(desk, ROAD, policy, races=1, seconds=21, recorded=tmp_path)
    assert told["started"] == 1
    assert told["interventions"] >= 1
    assert set(told["causes"]) <= {"off the road", "crooked"}
    assert 0.3 < told["on_road"] < 1
    first = next(number for number, row in enumerate(desk.rows) if row["off_road"])
    assert any(abs(row["offset_m"]) < 2 and row["speed"] > 5 for row in desk.rows[first:]), "back on the road"
    (path,) = tmp_path.glob("*.parquet")
    episode = Episode.open(path)
    helped, steered = episode.intervention, np.abs(episode.controls[:, 0])
    assert 0 < helped.sum() < len(helped)
    assert steered[helped].max() > 0.5
    assert steered[~helped].max() == 0


def test_nothing_is_left_to_chance(tmp_path: Path) -> None:
    told = [record(Desk(1), ROAD, tmp_path / str(number), races=1, seconds=4, seed=2) for number in range(2)]
    assert told[0] == told[1]
    assert told[0]["distance_m"] > 2


@pytest.mark.parametrize("throttle", [0.0, 0.5])
def test_a_car_that_does_not_move_is_pulled_away(throttle: float) -> None:
    spec = ModelSpec(name="lazy", backbone="none", game="my-road")
    policy = NetworkPolicy(ConstantEngine(spec, Controls(0, throttle, 0)))
    told = let_drive(Desk(0), ROAD, policy, races=1, seconds=9, recorded=None)
    assert told["started"] == (throttle > 0)
    assert told["causes"] == ({} if throttle else {"stands": 1})
