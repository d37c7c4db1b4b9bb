"""Rows reach the trainer while an episode is being recorded: each once, in order, none that is kept for judging."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agent.contract.controls import Controls
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.observation import Frame
from agent.contract.spec import ModelSpec
from training.data.samples import decode
from training.live.arrivals import Arrival, Arrivals, is_held_out

SPEC = ModelSpec("small", "none", "pond", width_px=8, height_px=6)
RATE_HZ = 20.0

Write = Callable[..., EpisodeWriter]


def row(number: int, intervention: bool = False) -> EpisodeRow:
    pixels = np.full((12, 16, 3), number % 251, np.uint8)
    controls = Controls(round(number % 100 / 100, 2), 0.5, 0.0)
    return EpisodeRow(Frame(pixels, round(number * 1e9 / RATE_HZ), number), controls, controls, None, intervention)


def record(folder: Path, name: str = "a", driver: str = "human", seed: int | None = None) -> EpisodeWriter:
    return EpisodeWriter(folder / f"{name}.parquet", EpisodeHeader("pond", driver, RATE_HZ, seed))


def steering(arrivals: list[Arrival]) -> list[int]:
    return [round(float(arrival.sample.labels[0]) * 100) for arrival in arrivals]


def test_rows_arrive_while_the_episode_is_being_recorded(tmp_path: Path) -> None:
    arrivals = Arrivals(tmp_path, SPEC)
    assert arrivals.take(100) == []
    with record(tmp_path) as writer:
        for number in range(25):
            writer.write(row(number))
        assert steering(arrivals.take(100)) == list(range(20)), "whole half seconds"
        assert arrivals.take(100) == []
        for number in range(25, 45):
            writer.write(row(number))
        assert steering(arrivals.take(7)) == list(range(20, 27))
        assert steering(arrivals.take(100)) == list(range(27, 40))
    assert steering(arrivals.take(100)) == list(range(40, 45)), "the rest, once it is sealed"
    assert arrivals.take(100) == []


def test_a_picture_is_what_the_network_would_see(tmp_path: Path) -> None:
    with record(tmp_path) as writer:
        writer.write(row(77))
    (arrival,) = Arrivals(tmp_path, SPEC).take(10)
    picture = decode(arrival.sample.picture)
    assert picture.shape == (6, 8, 3)
    assert (picture == 77).all()
    assert arrival.sample.labels.tolist() == pytest.approx([0.77, 0.5, 0.0])


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    with record(tmp_path) as writer:
        for number in range(30):
            writer.write(row(number))
        first = Arrivals(tmp_path, SPEC)
        assert steering(first.take(13)) == list(range(13))
        again = Arrivals(tmp_path, SPEC, first.places)
        assert steering(again.take(100)) == list(range(13, 30))
    assert Arrivals(tmp_path, SPEC, again.places).take(100) == []


def test_a_recording_that_was_killed_is_read_to_its_last_half_second(tmp_path: Path) -> None:
    with record(tmp_path) as writer:
        for number in range(35):
            writer.write(row(number))
        killed = (tmp_path / "a.recording").read_bytes()
    (tmp_path / "a.parquet").unlink()
    (tmp_path / "a.recording").write_bytes(killed[:-100])
    assert steering(Arrivals(tmp_path, SPEC).take(100)) == list(range(20))


def test_of_a_networks_drive_only_what_a_person_did_arrives_as_corrections(tmp_path: Path) -> None:
    with record(tmp_path, driver="policy:pond") as writer:
        for number in range(40):
            writer.write(row(number, intervention=10 <= number < 20))
    taken = Arrivals(tmp_path, SPEC).take(100)
    assert steering(taken) == list(range(10, 20))
    assert all(arrival.correction for arrival in taken)


def test_what_an_expert_labels_is_no_correction(tmp_path: Path) -> None:
    with record(tmp_path, driver="dagger:live") as writer:
        for number in range(10):
            writer.write(row(number, intervention=number < 5))
    taken = Arrivals(tmp_path, SPEC).take(100)
    assert len(taken) == 10
    assert not any(arrival.correction for arrival in taken)


def test_a_tenth_of_the_time_is_held_out_and_a_gap_beside_it_is_not_used(tmp_path: Path) -> None:
    with record(tmp_path) as writer:
        for number in range(int(85 * RATE_HZ)):
            writer.write(row(number))
    taken = Arrivals(tmp_path, SPEC).take(10_000)
    held_out = [arrival for arrival in taken if arrival.held_out]
    assert len(held_out) == 2 * 4 * RATE_HZ
    assert 85 * RATE_HZ - len(taken) == 2 * 2 * RATE_HZ, "a second on either side of both spans"
    assert not any(arrival.held_out for arrival in taken[: int(5 * RATE_HZ)]), "never the start"


@pytest.mark.parametrize("name", ["a", "b", "carracing-0000007"])
def test_what_is_held_out_does_not_depend_on_how_long_the_drive_becomes(name: str) -> None:
    times = np.arange(0, 400, 0.05)
    told = [is_held_out(seconds, name) for seconds in times]
    assert told == [is_held_out(seconds, name) for seconds in times]
    assert 0.08 < np.mean([each is True for each in told]) < 0.12
    assert 0.03 < np.mean([each is None for each in told]) < 0.06


def test_a_track_that_is_kept_for_judging_is_left_out(tmp_path: Path) -> None:
    with record(tmp_path, "judging", seed=1_000_000) as writer:
        writer.write(row(1))
    with record(tmp_path, "training", seed=999_999) as writer:
        writer.write(row(2))
    arrivals = Arrivals(tmp_path, SPEC)
    assert steering(arrivals.take(10)) == [2]
    assert "kept for judging" in arrivals.problems["judging"]


def test_an_episode_that_was_deleted_is_forgotten(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with record(tmp_path, name) as writer:
            writer.write(row(1))
    arrivals = Arrivals(tmp_path, SPEC)
    assert len(arrivals.take(10)) == 2
    (tmp_path / "a.parquet").unlink()
    arrivals.forget_deleted()
    assert list(arrivals.places) == ["b"]
    assert arrivals.take(10) == []


def test_a_damaged_episode_does_not_keep_the_others_away(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"nothing")
    with record(tmp_path, "b") as writer:
        writer.write(row(3))
    arrivals = Arrivals(tmp_path, SPEC)
    assert steering(arrivals.take(10)) == [3]
    assert list(arrivals.problems) == ["a"]
