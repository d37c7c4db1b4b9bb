"""Episodes to samples: what is learnt from, what is held out, and caches that are damaged or cannot be written."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from agent.contract.controls import Controls
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.reading import Episode
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.errors import TrainingError
from agent.contract.observation import Frame, Observation
from agent.contract.spec import ModelSpec, Stack
from agent.contract.stacking import stacked_rows
from agent.engines.base import Prediction
from agent.policies.base import untimed
from agent.policies.stacked import policy_for
from training.collecting.labelling import SharedWheel
from training.data import samples as module
from training.data.balance_report import read_labels
from training.data.caches import is_whole
from training.data.samples import load_samples, pick_balanced_pictures, pick_pictures, preprocess_episodes
from training.fitting.config import FitConfig
from training.fitting.data import load_data

RATE_HZ = 10.0
SPEC = ModelSpec("tiny", "pilotnet", "carracing", 30, 17, rate_hz=RATE_HZ)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Preprocess without starting processes, which takes seconds."""

    class Done:
        def __init__(self, value: object) -> None:
            self.result = lambda: value

    class Pool:
        def __init__(self, workers: int, remedy: str) -> None: ...
        def __enter__(self) -> "Pool":
            return self

        def __exit__(self, *exc: object) -> None: ...
        def submit(self, function: object, *arguments: object) -> Done:
            assert callable(function)
            return Done(function(*arguments))

    monkeypatch.setattr(module, "worker_pool", Pool)
    monkeypatch.setattr(module, "as_completed", list)


def record(
    path: Path,
    rows: int = 20,
    driver: str = "test",
    by_hand: range = range(0),
    game: str = "carracing",
    rate_hz: float = RATE_HZ,
) -> Path:
    """Write an episode whose steering says which row it is."""
    rng = np.random.default_rng(0)
    with EpisodeWriter(path, EpisodeHeader(game, driver, rate_hz)) as writer:
        for index in range(rows):
            frame = Frame(rng.integers(0, 256, (17, 30, 3), np.uint8), index * 100_000_000, index)
            controls = Controls(index / 1000, 0.5, 0.0)
            writer.write(EpisodeRow(frame, controls, controls, intervention=index in by_hand))
    return path


def make_config(tmp_path: Path, **settings: object) -> FitConfig:
    return replace(FitConfig.debug((tmp_path,), tmp_path / "run"), **({"validation_episodes": 0} | settings))


def rows_of(labels: np.ndarray) -> list[int]:
    return [round(1000 * float(value)) for value in labels[:, 0]]


# --- what is learnt from ----------------------------------------------------------------------------------------------


def test_of_a_networks_drive_only_corrections_are_learnt_from_and_counted(tmp_path: Path) -> None:
    drive = record(tmp_path / "a.parquet", rows=80, driver="policy:carracing", by_hand=range(20, 60))
    lines: list[str] = []
    config = make_config(tmp_path)
    training, validation = load_data(config, [drive], SPEC, lines.append, None)
    learnt, judged = set(rows_of(training.labels)), set(rows_of(validation.labels))
    assert learnt | judged <= set(range(20, 60))
    assert len(learnt | judged) >= 30, "all but the gaps"
    assert judged
    assert any("40 of the 80 rows recorded while a network drove are a person's corrections" in line for line in lines)
    lines.clear()
    training, _ = load_data(replace(config, own_driving=True), [drive], SPEC, lines.append, None)
    assert len(training) > 50
    assert any("40 of 80 rows are the network's own driving" in line for line in lines)


def test_a_drive_without_a_correction_is_nothing_to_learn_from(tmp_path: Path) -> None:
    drive = record(tmp_path / "a.parquet", driver="policy:carracing")
    with pytest.raises(TrainingError, match=r"nothing to learn from: 20 of 20 rows .* --own-driving"):
        load_data(make_config(tmp_path), [drive], SPEC, lambda line: None, None)
    with pytest.raises(TrainingError, match="nothing to learn from"):
        read_labels([drive])


def test_balance_reads_what_is_learnt_from(tmp_path: Path) -> None:
    drive = record(tmp_path / "a.parquet", driver="policy:carracing", by_hand=range(3, 6))
    assert rows_of(read_labels([drive])) == [3, 4, 5]


def test_what_the_pictures_need_and_what_is_free_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = record(tmp_path / "a.parquet", rows=30)
    lines: list[str] = []
    monkeypatch.setattr("training.fitting.data._WORTH_TELLING", 0)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=0))
    load_data(make_config(tmp_path), [path], SPEC, lines.append, None)
    assert any("0.0 GB are free: take a smaller --width and --height, or fewer folders" in line for line in lines)


def test_a_single_episode_is_trained_on_from_its_start_and_validated_on(tmp_path: Path) -> None:
    path = record(tmp_path / "a.parquet", rows=600)
    training, validation = load_data(make_config(tmp_path), [path], SPEC, lambda line: None, None)
    learnt, judged = rows_of(training.labels), rows_of(validation.labels)
    assert learnt[:50] == list(range(50)), "the first five seconds"
    assert 35 <= len(judged) <= 45, "four seconds"
    assert not {row + step for row in judged for step in range(-9, 10)} & set(learnt)
    assert training.pictures[0] != validation.pictures[0]


def test_whole_episodes_are_held_out_where_asked_for(tmp_path: Path) -> None:
    paths = [record(tmp_path / f"{rows}.parquet", rows=rows) for rows in (10, 20)]
    config = make_config(tmp_path, validation_episodes=1)
    training, validation = load_data(config, paths, SPEC, lambda line: None, None)
    assert (len(training), training.episodes, len(validation), validation.episodes) == (20, 1, 10, 1)
    with pytest.raises(TrainingError, match="expected at least one for each"):
        load_data(replace(config, validation_episodes=2), paths, SPEC, lambda line: None, None)


def test_episodes_too_short_to_hold_anything_out_are_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"none of 1 episodes is long enough.*--validation-episodes"):
        load_data(make_config(tmp_path), [record(tmp_path / "a.parquet", rows=5)], SPEC, lambda line: None, None)


def test_another_games_episodes_are_told(tmp_path: Path) -> None:
    paths = [record(tmp_path / "a.parquet"), record(tmp_path / "b.parquet", game="karts")]
    lines: list[str] = []
    preprocess_episodes(paths, SPEC, note=lines.append)
    assert lines == ["1 of 2 episodes are of the game 'karts', the model is for 'carracing': is that so?"]


def test_an_episode_recorded_while_driving_was_slow_is_not_lost(tmp_path: Path) -> None:
    slow = record(tmp_path / "a.parquet", rate_hz=3.6)
    lines: list[str] = []
    assert len(load_samples(preprocess_episodes([slow], SPEC, note=lines.append), SPEC)) == 20
    assert "1 of 1 episodes were recorded at 3.6 Hz" in lines[0]
    stacked = replace(SPEC, stack=Stack(2, 1))
    with pytest.raises(TrainingError, match=r"recorded at 3.6 Hz, the model is for 10.0 Hz"):
        preprocess_episodes([slow], stacked)


# --- several pictures as one observation ------------------------------------------------------------------------------

STACKED = replace(SPEC, stack=Stack(3, 2))


class Blind:
    """An engine that keeps what it is shown, and makes nothing of it."""

    name = "blind"

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.seen: list[Observation] = []

    def infer(self, observation: Observation) -> Prediction:
        self.seen.append(observation)
        return np.zeros(3, np.float32)

    def close(self) -> None: ...


def seen_in_a_drive(path: Path) -> list[Observation]:
    """Return what a network sees when an episode's pictures come to it as they came when it was recorded."""
    policy = policy_for(Blind(STACKED))
    return [policy.decide(frame, untimed).observation for frame in Episode.open(path).frames()]


def record_unevenly(path: Path, driver: str = "test", by_hand: range = range(0)) -> Path:
    """Write an episode of 100 rows whose pictures come late by up to 40 ms, with a gap of a second after row 60."""
    rng = np.random.default_rng(5)
    with EpisodeWriter(path, EpisodeHeader("carracing", driver, RATE_HZ)) as writer:
        for index in range(100):
            time_ns = index * 100_000_000 + int(rng.integers(40_000_000)) + (1_000_000_000 if index > 60 else 0)
            frame = Frame(rng.integers(0, 256, (34, 60, 3), np.uint8), time_ns, index)
            controls = Controls(index / 1000, 0.5, 0.0)
            writer.write(EpisodeRow(frame, controls, controls, intervention=index in by_hand))
    return path


def test_training_and_driving_see_the_same_stacks(tmp_path: Path) -> None:
    path = record_unevenly(tmp_path / "a.parquet")
    parts = load_data(make_config(tmp_path), [path], STACKED, lambda line: None, None)
    driven = seen_in_a_drive(path)
    seen = {row: samples.observation(k) for samples in parts for k, row in enumerate(rows_of(samples.labels))}
    assert set(range(15)) | {61, 62} <= seen.keys(), "the start, and the rows after the gap"
    assert len(seen) > 80
    for row, observation in seen.items():
        np.testing.assert_array_equal(observation, driven[row])
    assert np.array_equal(seen[61][..., :3], seen[61][..., 6:]), "nothing from before the gap"
    assert not np.array_equal(seen[62][..., 3:6], seen[62][..., 6:])
    assert all(len(set(samples.pictures)) == len(samples.pictures) < len(driven) for samples in parts)


def test_earlier_pictures_may_be_of_rows_that_are_not_learnt_from(tmp_path: Path) -> None:
    path = record_unevenly(tmp_path / "a.parquet", "policy:carracing", by_hand=range(20, 24))
    (cache,) = preprocess_episodes([path], STACKED)
    stacks = stacked_rows(Episode.open(path).captured_ns, STACKED)
    samples = load_samples([cache, cache], STACKED, [np.arange(20, 24), np.arange(0)], [stacks, stacks])
    driven = seen_in_a_drive(path)
    assert (len(samples), len(samples.pictures), samples.episodes) == (4, 8, 1)  # rows 16 to 23
    for k in range(4):
        np.testing.assert_array_equal(samples.observation(k), driven[20 + k])
    twice = load_samples([cache, cache], STACKED, [np.arange(20, 24), np.arange(61, 63)], [stacks, stacks])
    np.testing.assert_array_equal(twice.observation(4), driven[61])
    with pytest.raises(ValueError, match=r"stacks are of shape \(100, 1\), expected \(100, 3\)"):
        load_samples([cache], STACKED)


def test_a_network_of_several_pictures_is_shown_those_of_the_expert_s_stretches_too() -> None:
    engine = Blind(STACKED)
    wheel = SharedWheel(engine, 0.5, stretch=4, rng=np.random.default_rng(1))
    frames = [Frame(np.full((17, 30, 3), tick, np.uint8), tick * 100_000_000, tick) for tick in range(40)]
    experts = [wheel.decide(frame, Controls())[1] for frame in frames]
    assert 0 < sum(experts) < 40
    assert [observation[0, 0, ::3].tolist() for observation in engine.seen][4:] == [
        [k - 4, k - 2, k] for k in range(4, 40)
    ]


def test_pictures_for_int8_are_stacks_that_a_drive_sees(tmp_path: Path) -> None:
    path = record_unevenly(tmp_path / "a.parquet")
    driven = {observation.tobytes() for observation in seen_in_a_drive(path)}
    for picked in (pick_pictures([path], STACKED, 8), pick_balanced_pictures([path], STACKED, 8)):
        assert picked.shape[1:] == (17, 30, 9)
        assert {observation.tobytes() for observation in picked} < driven
        assert 4 < len(picked) <= 8


# --- caches -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["emptied", "cut short", "a flipped bit", "half of a picture"])
@pytest.mark.parametrize("has_checksum", [True, False])
def test_a_damaged_cache_is_made_anew(
    tmp_path: Path, damage: str, has_checksum: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = record(tmp_path / "a.parquet")
    if not has_checksum:  # as versions before this one wrote them
        monkeypatch.setattr(module, "CHECKSUM", "none")
    (cache,) = preprocess_episodes([path], SPEC)
    content = cache.read_bytes()
    before = load_samples([cache], SPEC)
    monkeypatch.setattr(module, "CHECKSUM", "crc32")
    place = content.index(b"\x89PNG", len(content) // 2) + (1 if not has_checksum else 40)
    damaged = {
        "emptied": b"",
        "cut short": content[:-300],
        "a flipped bit": content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :],
        "half of a picture": content[:place] + bytes(200) + content[place + 200 :],
    }[damage]
    cache.write_bytes(damaged)
    assert not is_whole(cache)
    lines: list[str] = []
    assert preprocess_episodes([path], SPEC, note=lines.append) == [cache]
    assert "are made anew" in lines[0]
    after = load_samples([cache], SPEC)
    assert after.pictures == before.pictures
    assert np.array_equal(after.labels, before.labels)


def test_caches_go_elsewhere_where_nothing_can_be_written_and_can_be_read_by_others(tmp_path: Path) -> None:
    data = tmp_path / "data"
    path = record(data / "a.parquet", rows=30)
    (data / ".cache").write_text("no folder can be made here")
    lines: list[str] = []
    config = make_config(data, out=tmp_path / "run")
    training, _ = load_data(config, [path], SPEC, lines.append, None)
    assert len(training) > 20
    (cache,) = (tmp_path / "run" / "cache").iterdir()
    assert cache.stat().st_mode & 0o777 == 0o644
    assert any(str(cache.parent) in line for line in lines)


def test_a_folder_that_may_not_be_written_to_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = record(tmp_path / "data" / "a.parquet")
    (tmp_path / "data" / ".cache").mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: False)  # what a read-only mount answers, root too
    (cache,) = preprocess_episodes([path], SPEC, elsewhere=tmp_path / "out")
    assert cache.parent == tmp_path / "out"
    assert cache.exists()


# --- pictures for int8 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", range(20, 80, 7))
def test_few_frames_are_taken_as_they_are(tmp_path: Path, rows: int) -> None:
    rng = np.random.default_rng(rows)
    path = tmp_path / "a.parquet"
    with EpisodeWriter(path, EpisodeHeader("carracing", "test", RATE_HZ)) as writer:
        for index in range(rows):
            frame = Frame(rng.integers(0, 256, (17, 30, 3), np.uint8), index * 100_000_000, index)
            controls = Controls(rng.normal(0, 0.2), float(rng.random() < 0.8), float(rng.random() < 0.1))
            writer.write(EpisodeRow(frame, controls, controls))
    pictures = pick_balanced_pictures([path], SPEC, 192)
    assert 0 < len(pictures) <= rows
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_more_episodes_than_files_may_be_open_are_read(tmp_path: Path) -> None:
    import resource

    paths = [record(tmp_path / f"{index:03d}.parquet", rows=2) for index in range(40)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 20, hard))
    try:
        assert len(pick_balanced_pictures(paths, SPEC, 16)) == 16
        assert len(preprocess_episodes(paths, SPEC)) == 40
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
