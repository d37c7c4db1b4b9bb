"""Which tracks a live training's collectors take, and which episodes are kept."""

import os
from pathlib import Path

import pytest

from agent.contract.errors import TrainingError
from training.live.collector import Collector
from training.live.config import LiveSettings
from training.live.unattended import prune


def first_seeds(folder: Path, count: int = 3, start: int = 100) -> list[int]:
    collector = Collector(LiveSettings(out=folder, collectors=count, seed_start=start))
    return [collector.first_seed(index) for index in range(count)]


def test_collectors_take_turns_with_the_tracks(tmp_path: Path) -> None:
    assert first_seeds(tmp_path) == [100, 101, 102]


def test_after_a_restart_no_track_comes_again_also_if_its_episode_was_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "episodes"
    folder.mkdir()
    (folder / "carracing-0000104.parquet").touch()
    (folder / "carracing-0000106.recording").touch()
    seeds = first_seeds(tmp_path)
    assert sorted(seeds) == [107, 108, 109]
    assert [seed % 3 for seed in seeds] == [100 % 3, 101 % 3, 102 % 3], "each goes on with its own"


@pytest.mark.parametrize("clock", [1, -1], ids=["runs", "was set back"])
def test_the_newest_episodes_are_kept_within_a_size(clock: int, tmp_path: Path) -> None:
    """They were those of the latest time: after a clock was set back, every new episode was deleted at once."""
    for number in range(6):
        path = tmp_path / f"carracing-{number}.parquet"
        path.write_bytes(bytes(1000))
        os.utime(path, (100 + clock * number, 100 + clock * number))
    (tmp_path / "carracing-9.recording").write_bytes(bytes(5000))
    assert prune(tmp_path, 3500) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "carracing-3.parquet",
        "carracing-4.parquet",
        "carracing-5.parquet",
        "carracing-9.recording",
    ]
    assert prune(tmp_path, 10) == 2, "the newest one is kept, whatever its size"


def test_episodes_of_other_names_are_nobodys_to_delete(tmp_path: Path) -> None:
    for name in ("mine", "carracing-9", "carracing-10"):
        (tmp_path / f"{name}.parquet").write_bytes(bytes(1000))
    assert prune(tmp_path, 10) == 1
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["carracing-10", "mine"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"start": 30_000}, "Lower --start"),
        ({"tracks_start": 999_999}, "kept for judging"),
        ({"seed_start": 20_001}, "Start elsewhere"),
        ({"until": 900, "tracks": 0}, "--tracks 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, int], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        LiveSettings(**settings)  # type: ignore[arg-type]
