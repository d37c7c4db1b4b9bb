"""Timing of training steps: turns on a made-up clock, and the command on the small network."""

import json
from collections.abc import Callable

import pytest
from deferred import Deferred

from training.cli import main

pytestmark = pytest.mark.thorough

speed = Deferred("training.measuring.speed")


def test_steps_take_turns_and_their_first_is_not_counted() -> None:
    now, order = [0.0], []

    def taking(name: str, durations: list[float]) -> Callable[[], None]:
        def step() -> None:
            order.append(name)
            now[0] += durations.pop(0)

        return step

    steps = [taking("a", [100.0, 1.0, 2.0]), taking("b", [50.0, 3.0, 4.0])]
    assert speed.time_in_turns(steps, 2, lambda: now[0]) == [[1.0, 2.0], [3.0, 4.0]]
    assert order == ["a", "b"] * 3


@pytest.mark.slow
def test_the_command_times_every_way_against_the_plain_one(capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--backbone", "pilotnet", "--width", "120", "--height", "68", "--batch", "2", "--rounds", "1"]
    assert main(["speed", *size, "--json"]) == 0
    found = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert list(found) == [variant.name for variant in speed.VARIANTS]
    assert found[speed.PLAIN]["ratio"] == 1
    assert [entry["samples"] for entry in found.values()] == [2, 2, 2, 6]
    for entry in found.values():
        assert entry["samples_per_second"] == pytest.approx(entry["samples"] / entry["median_s"])


def test_a_size_too_small_for_the_network_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["speed", "--width", "20", "--height", "20"]) == 1
    assert "error: " in capsys.readouterr().err
