"""Collecting episodes: what is recorded, whole or not at all, and never two kinds in one folder."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deferred import Deferred

from agent.contract.controls import Controls
from agent.contract.episodes.columns import EpisodeRow
from agent.contract.episodes.reading import Episode
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.errors import EngineError, EpisodeError, TrainingError
from agent.contract.spec import ModelSpec
from agent.games.carracing import PROFILE, CarRacing
from training.collecting import collect as module
from training.collecting.collect import SETTINGS, CollectConfig, collect, record_episode
from training.collecting.courses import find_course
from training.collecting.disturbances import disturb
from training.collecting.experts.carracing import CarRacingExpert
from training.data.held_out import HELD_OUT_SEED
from training.data.worker_pool import worker_pool

keras = Deferred("keras")
export_model = Deferred("training.exporting.export:export_model")
build_network = Deferred("training.network.build:build_network")


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("episodes")
    record_episode(CollectConfig(folder, 100, 1, noise=3.0, decisions=40), 100)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    keras.mixed_precision.set_dtype_policy("float32")
    spec = ModelSpec("tiny", "pilotnet", "carracing", 60, 34, masks=PROFILE.masks)
    export_model(build_network(spec.backbone, spec.height_px, spec.width_px, spec.outputs), spec, folder)
    return folder


def test_a_collected_episode_keeps_the_expert_s_label_apart_from_what_was_executed(episodes: Path) -> None:
    episode = Episode.open(episodes / "carracing-0000100.parquet")
    assert len(episode) == 40
    assert episode.header.seed == 100
    assert episode.header.driver == "expert"
    assert episode.header.rate_hz == 25.0
    assert np.diff(episode.captured_ns).tolist() == [40_000_000] * 39
    disturbed = np.any(episode.controls != episode.executed, axis=1)
    assert 0 < disturbed.sum() < 40
    assert not episode.intervention.any()
    assert {"wanted_speed", "bearing_16", "yaw_rate"} <= episode.telemetry.keys()
    assert episode.speed[-1] > 10
    assert episode.frame(0).pixels.shape == (800, 1000, 3)


def test_the_same_seed_is_collected_equally_twice(episodes: Path, tmp_path: Path) -> None:
    record_episode(CollectConfig(tmp_path, 100, 1, noise=3.0, decisions=40), 100)
    first = Episode.open(episodes / "carracing-0000100.parquet")
    second = Episode.open(tmp_path / "carracing-0000100.parquet")
    assert np.array_equal(first.controls, second.controls)
    assert np.array_equal(first.executed, second.executed)
    assert first.encoded_frame(39) == second.encoded_frame(39)


def test_episodes_of_the_same_settings_are_there_already_and_others_are_refused(episodes: Path) -> None:
    again = CollectConfig(episodes, 100, 1, noise=3.0, decisions=40, workers=7)
    assert collect(again, lambda seed, result: pytest.fail("recorded again")) == [
        episodes / "carracing-0000100.parquet"
    ]
    with pytest.raises(TrainingError, match=r"recorded with noise 3.0, not 1.0; decisions 40, not 500\. Choose"):
        collect(CollectConfig(episodes, 100, 1))


def test_episodes_of_unknown_settings_are_refused(episodes: Path, tmp_path: Path) -> None:
    (tmp_path / "carracing-0000100.parquet").write_bytes(b"")
    with pytest.raises(TrainingError, match=f"no {SETTINGS}"):
        collect(CollectConfig(tmp_path, 200, 1))
    (tmp_path / SETTINGS).write_text("{")
    with pytest.raises(TrainingError, match="damaged"):
        collect(CollectConfig(tmp_path, 200, 1))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_episode_that_failed_is_discarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    decided: list[Controls] = []
    closed: list[CarRacing] = []
    decide, close = CarRacingExpert.decide, CarRacing.close

    def fail(self: CarRacingExpert) -> Controls:
        if len(decided) == 30:
            raise error
        decided.append(decide(self))
        return decided[-1]

    monkeypatch.setattr(CarRacingExpert, "decide", fail)
    monkeypatch.setattr(CarRacing, "close", lambda self: (closed.append(self), close(self)))
    with pytest.raises(error):
        record_episode(CollectConfig(tmp_path, 100, 1), 100)
    assert len(decided) == 30
    assert len(closed) == 1
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [SETTINGS]


def test_a_full_disk_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_up(self: EpisodeWriter, row: object) -> None:
        raise EpisodeError("up to a second of the drive is lost") from OSError(28, "No space left on device")

    monkeypatch.setattr(EpisodeWriter, "write", fill_up)
    with pytest.raises(TrainingError, match=r"0000100.parquet could not be recorded \(No space left on device\)"):
        record_episode(CollectConfig(tmp_path, 100, 1), 100)


@pytest.mark.thorough
@pytest.mark.parametrize(("can", "driving"), [(True, "openvino-bf16"), (False, "openvino")])
def test_the_network_drives_in_bfloat16_where_the_processor_can(
    model: Path, monkeypatch: pytest.MonkeyPatch, can: bool, driving: str
) -> None:
    from agent.engines.openvino import OpenVinoEngine

    class Processor(OpenVinoEngine):
        def __init__(self, folder: Path, precision: str = "f32", threads: int | None = None) -> None:
            if precision == "bf16" and not can:
                raise EngineError("no bfloat16")
            super().__init__(folder, "f32", threads)
            self._name = "openvino-bf16" if precision == "bf16" else "openvino"

    monkeypatch.setattr("agent.engines.openvino.OpenVinoEngine", Processor)
    module._engine.cache_clear()
    engine = module._engine(model, ModelSpec.load(model).sha256["weights.safetensors"], 1)
    module._engine.cache_clear()
    assert engine.name == driving


@pytest.mark.thorough
def test_a_network_drives_the_expert_relieves_it_and_the_file_tells_who_did(tmp_path: Path, model: Path) -> None:
    config = CollectConfig(tmp_path, 100, 2, noise=0.0, weights=model, expert_share=0.5, decisions=100)
    module._engine.cache_clear()
    for seed in (100, 101):
        record_episode(config, seed)
    assert module._engine.cache_info().misses == 1
    episode = Episode.open(tmp_path / "carracing-0000100.parquet")
    checksum = ModelSpec.load(model).sha256["weights.safetensors"]
    assert episode.header.driver == f"dagger:{checksum[:12]}"
    assert 0 < episode.intervention.sum() < 100
    as_labelled = np.all(episode.controls == episode.executed, axis=1)
    assert as_labelled[episode.intervention].all()
    assert not as_labelled[~episode.intervention].all()

    (model / "spec.json").write_text((model / "spec.json").read_text().replace(checksum, "0" * 64))
    with pytest.raises(TrainingError, match=f"weights_sha256 {checksum}, not 000"):
        collect(config)


@pytest.mark.parametrize(
    "settings",
    [
        {"seed_start": HELD_OUT_SEED - 2, "episodes": 3},
        {"seed_start": HELD_OUT_SEED, "episodes": 1},
        {"seed_start": -1, "episodes": 1},
        {"seed_start": 0, "episodes": 0},
        {"seed_start": 0, "episodes": 1, "noise": float("nan")},
        {"seed_start": 0, "episodes": 1, "expert_share": 1.1},
    ],
)
def test_settings_out_of_range_are_refused(tmp_path: Path, settings: dict[str, float]) -> None:
    with pytest.raises(TrainingError, match="expected"):
        CollectConfig(tmp_path, **settings)  # type: ignore[arg-type]


def test_the_last_track_that_is_not_held_out_may_be_collected(tmp_path: Path) -> None:
    assert CollectConfig(tmp_path, HELD_OUT_SEED - 3, 3).episodes == 3


def test_without_noise_what_is_wanted_is_executed() -> None:
    stream = disturb(np.random.default_rng(0), 0.0)
    wanted = Controls(0.3, 0.5, 0.0)
    assert all(next(stream)(wanted) == wanted for _ in range(500))


def test_noise_keeps_every_control_in_its_range() -> None:
    stream = disturb(np.random.default_rng(0), 3.0)
    executed = [next(stream)(Controls(0.9, 0.5, 0.0)) for _ in range(2000)]
    assert all(controls == controls.clip() for controls in executed)
    assert any(controls.brake > 0.2 for controls in executed)
    assert any(controls.steering < 0.2 for controls in executed)


def test_noise_lasts_as_long_at_another_rate() -> None:
    wanted = Controls(0.9, 0.5, 0.0)
    shares, runs = [], []
    for rate_hz in (25.0, 10.0):
        stream = disturb(np.random.default_rng(0), 1.0, rate_hz)
        disturbed = np.array([next(stream)(wanted) != wanted for _ in range(round(2000 * rate_hz))])
        shares.append(disturbed.mean())
        runs.append(np.count_nonzero(np.diff(disturbed.astype(int)) == 1) / 2000)
    assert shares[0] == pytest.approx(shares[1], abs=0.05)
    assert runs[0] == pytest.approx(runs[1], rel=0.2)  # disturbances a second


def test_a_game_in_a_window_alone_cannot_be_collected_from(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no episodes can be collected from 'torcs'.*agent record"):
        collect(CollectConfig(tmp_path, 0, 1, game="torcs"))


posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="asks the process table the POSIX way")


@posix
def test_workers_leave_ctrl_c_to_the_parent_which_ends_them_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), worker_pool(1) as pool:  # noqa: PT012
        worker = pool.submit(os.getpid).result()
        os.kill(worker, signal.SIGINT)
        assert pool.submit(os.getpid).result() == worker
        waiting = [pool.submit(time.sleep, 300) for _ in range(5)]
        while not waiting[0].running():
            time.sleep(0.01)
        started = time.monotonic()
        raise KeyboardInterrupt
    assert time.monotonic() - started < 60
    with pytest.raises(CancelledError):
        waiting[-1].result(timeout=60)
    assert not _alive(worker)


def test_a_worker_that_dies_is_told_in_one_line() -> None:
    with pytest.raises(TrainingError, match="worker process died"), worker_pool(1) as pool:
        pool.submit(os._exit, 1).result()


@pytest.mark.parametrize("ends", ["recorded", "failed"])
def test_a_disguise_belongs_to_three_seeds_and_is_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    painted = []

    def disguise(folder: Path, tracks: Sequence[str], seed: int) -> None:
        folder.mkdir(parents=True)
        (folder / "texture.png").touch()
        painted.append((folder, tuple(tracks), seed))

    course = replace(find_course("carracing"), disguise=disguise, tracks=("here", "there"))
    for name in ("collect", "config"):
        monkeypatch.setattr(f"training.collecting.{name}.find_course", lambda game: course)
    config = CollectConfig(tmp_path, 100, 2, decisions=3, disguise=True)
    assert config.settings()["disguise"] is True
    if ends == "failed":
        monkeypatch.setattr(EpisodeWriter, "write", _full)
        with pytest.raises(TrainingError, match="could not be recorded"):
            module._record_disguised(config, [100, 101])
    else:
        assert len(module._record_disguised(config, [100, 101])) == 2
    ((folder, tracks, seed),) = painted
    assert (tracks, seed) == (("here", "there"), 33)
    assert not folder.exists()


def _full(writer: EpisodeWriter, row: EpisodeRow) -> None:
    raise EpisodeError("no space left")


@pytest.fixture
def parent(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    script = (
        "import os, sys, time\n"
        "from training.data.worker_pool import worker_pool\n"
        "if __name__ == '__main__':\n"
        "    with worker_pool(1) as pool:\n"
        "        print(pool.submit(os.getpid).result(), flush=True)\n"
        "        pool.submit(time.sleep, 60)\n"
        "        time.sleep(60)\n"
    )
    (tmp_path / "parent.py").write_text(script)
    with subprocess.Popen([sys.executable, str(tmp_path / "parent.py")], stdout=subprocess.PIPE, text=True) as process:
        yield process


@posix
def test_workers_end_with_a_killed_parent(parent: "subprocess.Popen[str]") -> None:
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    deadline = time.monotonic() + 30
    while _alive(worker):
        assert time.monotonic() < deadline, "the worker outlived its parent by 30 s"
        time.sleep(0.05)


def _alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    try:
        status = Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"  # a zombie waits for its new parent, nothing more
