"""Which race a seed stands for, how long it may take, and which tracks are kept for judging."""

from pathlib import Path

import pytest

from agent.contract.errors import TrainingError
from agent.games.registry import find_game
from agent.games.supertuxkart.races import DEFAULT_KART, GRADED_TRACKS, KARTS, LIMIT_STEPS, Race, race_of
from training.collecting.collect import CollectConfig
from training.collecting.courses import TRACKS
from training.data.held_out import HELD_OUT_TRACK, VALIDATION_TRACKS

TWO = ("lighthouse", "hacienda")


def test_seeds_take_turns_with_the_tracks_and_the_first_run_is_the_plain_race() -> None:
    assert [race_of(seed, TWO).track for seed in range(5)] == ["lighthouse", "hacienda"] * 2 + ["lighthouse"]
    assert race_of(1, TWO, KARTS, both_directions=True) == Race("hacienda", DEFAULT_KART)


def test_later_runs_start_otherwise_and_are_the_same_every_time() -> None:
    races = [race_of(seed, TWO) for seed in range(2, 40)]
    assert races == [race_of(seed, TWO) for seed in range(2, 40)]
    assert len({(race.offset_m, race.heading_rad) for race in races}) == len(races)
    assert all(0 < abs(race.offset_m) <= 1.5 and 0 < abs(race.heading_rad) <= 0.3 for race in races)
    assert all(race.kart == DEFAULT_KART and not race.reverse for race in races)


def test_every_third_run_goes_the_other_way_round_and_every_second_draws_its_kart() -> None:
    races = [race_of(seed, ["lighthouse"], KARTS, both_directions=True) for seed in range(600)]
    assert [run for run, race in enumerate(races) if race.reverse] == list(range(2, 600, 3))
    assert {race.kart for race in races[::2]} == {DEFAULT_KART}
    assert {race.kart for race in races} == set(KARTS)


@pytest.mark.parametrize(("seed", "tracks", "karts"), [(0, (), KARTS), (0, TWO, ()), (-1, TWO, KARTS)])
def test_a_race_needs_a_track_a_kart_and_a_seed(seed: int, tracks: tuple[str, ...], karts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="no race for seed"):
        race_of(seed, tracks, karts)


def test_limits_are_the_grader_s() -> None:
    steps = {"lighthouse": 650, "hacienda": 700, "snowtuxpeak": 700, "zengarden": 700}
    assert {name: LIMIT_STEPS[name] for name in GRADED_TRACKS} == steps | {"cornfield_crossing": 950, "scotland": 850}
    assert Race("lighthouse").limit_s == pytest.approx(65.0)
    assert Race("mines").limit_s == pytest.approx(150.0)


def test_tracks_for_judging_and_validation_are_in_no_list_to_drive_or_train_on() -> None:
    trained = set(TRACKS["supertuxkart"])
    assert set(GRADED_TRACKS) <= trained
    assert trained.isdisjoint({HELD_OUT_TRACK, *VALIDATION_TRACKS})
    assert HELD_OUT_TRACK not in find_game("supertuxkart").track_names


@pytest.mark.parametrize("track", [HELD_OUT_TRACK, *VALIDATION_TRACKS])
def test_tracks_for_judging_and_validation_are_not_collected_on(tmp_path: Path, track: str) -> None:
    with pytest.raises(TrainingError, match=f"{track} is kept for .*never trained on"):
        CollectConfig(tmp_path, 0, 1, game="supertuxkart", tracks=("lighthouse", track))


def test_names_are_refused_where_tracks_have_none(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the tracks of carracing have no names"):
        CollectConfig(tmp_path, 0, 1, tracks=("lighthouse",))
