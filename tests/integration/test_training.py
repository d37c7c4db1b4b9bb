"""Fitting, end to end on a tiny network: what is learnt from, what a round leaves behind, what a resume does."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from deferred import Deferred
from safetensors.numpy import load_file

from agent.contract.controls import Controls
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.reading import Episode
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.errors import AgentError, EpisodeError, TrainingError
from agent.contract.observation import Frame
from agent.contract.preprocess import preprocess
from agent.contract.spec import ModelSpec, outputs_named
from agent.games.carracing import PROFILE
from agent.page.runs import CLIPS, FED
from training.collecting.collect import CollectConfig, record_episode
from training.data import samples as module
from training.data.finding import find_episodes
from training.data.held_out import HELD_OUT_SEED, HELD_OUT_TRACK
from training.data.samples import (
    Samples,
    decode,
    load_samples,
    pick_balanced_pictures,
    pick_pictures,
    preprocess_episodes,
)
from training.fitting.config import FitConfig

pytestmark = pytest.mark.thorough

if TYPE_CHECKING:
    from training.fitting.run import FitResult

fit = Deferred("training.fitting.fit:fit")
run = Deferred("training.fitting.run")
_scores_since_best = Deferred("training.fitting.run:_scores_since_best")
loss_scales = Deferred("training.fitting.run:loss_scales")

GENTLY = Controls(0.1, 0.2, 0.0)


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("episodes")
    for seed in (100, 101):
        record_episode(CollectConfig(folder, seed, 1, noise=3.0, decisions=40), seed)
    return folder


def write_episode(
    path: Path,
    controls: Controls = GENTLY,
    rate_hz: float = PROFILE.rate_hz,
    rows: int = 3,
    seed: int | None = None,
    track: str = "",
    speed: float | None = None,
    varied: bool = False,
    size: tuple[int, int] = (100, 80),
    **telemetry: float,
) -> Path:
    rng = np.random.default_rng(0)
    with EpisodeWriter(path, EpisodeHeader("carracing", "test", rate_hz, seed, track=track)) as writer:
        for index in range(rows):
            frame = Frame(rng.integers(0, 256, (*size[::-1], 3), np.uint8), index * 40_000_000, index)
            shown = Controls(*(0.1 * index for _ in range(3))) if varied else controls
            writer.write(EpisodeRow(frame, shown, shown, speed=speed, telemetry=telemetry))
    return path


def make_spec(width_px: int = 120, height_px: int = 68) -> ModelSpec:
    return ModelSpec("tiny", "pilotnet", "carracing", width_px, height_px, masks=PROFILE.masks)


def load(paths: list[Path], spec: ModelSpec, **settings: Any) -> Samples:
    return load_samples(preprocess_episodes(paths, spec, **settings), spec)


def silently(line: str) -> None:
    """Report nothing."""


def test_an_output_that_hardly_ever_changes_does_not_outweigh_the_others() -> None:
    labels = np.zeros((1000, 3), np.float32)
    labels[:, 0] = np.where(np.arange(1000) % 2, 0.5, -0.5)
    labels[:3, 1] = 1.0
    steering, throttle, brake = loss_scales(labels)
    assert steering == pytest.approx(0.25)
    assert throttle == brake == pytest.approx(run.LEAST_VARIANCE)
    assert 1.0 / throttle < 100 / steering, "one moment in 300 is not to be all that a step learns from"


@pytest.mark.usefixtures("eagerly")
def test_an_output_counts_for_what_it_is_said_to(episodes: Path, tmp_path: Path) -> None:
    plain = FitConfig.debug((episodes,), tmp_path / "plain")
    named = replace(plain, out=tmp_path / "named", importance=(("throttle", 0.0), ("steering", 2.0)))
    rows = [fit(config, PROFILE, report=silently, verbose=0).history[0] for config in (plain, named)]
    samples = load(find_episodes(plain.data)[1:], make_spec(plain.width_px, plain.height_px))
    steering, throttle, brake = 1 / loss_scales(samples.labels)
    for row, counts in zip(rows, ((steering, throttle, brake), (2 * steering, 0, brake)), strict=True):
        errors = [row[f"{name}_rmse"] ** 2 for name in ("steering", "throttle", "brake")]
        assert row["validation_loss"] == pytest.approx(np.dot(errors, counts), rel=1e-4)
        heads = sum(c * row[f"{n}_loss"] for n, c in zip(("steering", "throttle", "brake"), counts, strict=True))
        rest = row["loss"] - heads
        assert rest > 0
        assert rest / row["auxiliary_loss"] == pytest.approx(
            plain.auxiliary_weight / max(1e-4, float(samples.auxiliary[~np.isnan(samples.auxiliary)].var())), rel=1e-3
        )
    with pytest.raises(TrainingError, match="no output gas to give an importance to, expected one of steering"):
        fit(replace(plain, out=tmp_path / "typo", importance=(("gas", 1.0),)), PROFILE, report=silently, verbose=0)


@pytest.mark.usefixtures("eagerly")
def test_frozen_layers_stay_as_they_were_and_the_others_learn(episodes: Path, tmp_path: Path) -> None:
    plain = FitConfig.debug((episodes,), tmp_path / "plain")
    fit(plain, PROFILE, report=silently, verbose=0)
    first = plain.out / "checkpoint" / "weights.safetensors"
    config = replace(plain, out=tmp_path / "frozen", init=str(first), freeze="block2_act", steps=3)
    fit(config, PROFILE, report=silently, verbose=0)
    before, after = (load_file(out / "checkpoint" / "weights.safetensors") for out in (plain.out, config.out))
    exported, kept = (load_file(out / "last" / "weights.safetensors") for out in (config.out, plain.out))
    frozen = {key for key in before if key.startswith(("pilotnet/block0", "pilotnet/block1", "pilotnet/block2"))}
    assert len(frozen) == 3 * 5  # a kernel and the normalisation's four
    assert {key for key in before if np.array_equal(before[key], after[key])} == frozen
    assert all(np.allclose(exported[key], before[key], rtol=1e-3, atol=1e-6) for key in frozen), "statistics too"
    assert not np.allclose(exported["pilotnet/block3_conv/kernel"], kept["pilotnet/block3_conv/kernel"], atol=1e-6)
    slip = replace(config, out=tmp_path / "slip", freeze="block9")
    with pytest.raises(TrainingError, match="no layer 'block9' to freeze up to, expected one of its"):
        fit(slip, PROFILE, report=silently, verbose=0)
    assert not slip.out.exists(), "the folder is free for the same command without the slip"


def interrupt(line: str) -> None:
    """Stop after the first round, as Ctrl-C would."""
    if line.startswith("round 1"):
        raise KeyboardInterrupt


# --- episodes to samples ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width_px", "height_px"), [(480, 270), (160, 90)])
def test_samples_are_what_driving_sees_at_the_trained_size(episodes: Path, width_px: int, height_px: int) -> None:
    paths = find_episodes([episodes])
    spec = make_spec(width_px, height_px)
    progress: list[tuple[int, int]] = []
    first = load(paths, spec, progress=lambda done, total: progress.append((done, total)))
    assert progress == [(0, 2), (1, 2), (2, 2)]
    cached = load(paths, spec, progress=lambda done, total: pytest.fail("preprocessed again"))
    assert len(first) == 80
    assert first.pictures == cached.pictures
    assert np.array_equal(first.labels, np.concatenate([Episode.open(path).controls for path in paths]))
    for row in (0, 30):
        seen = preprocess(Episode.open(paths[0]).frame(row), spec)
        assert seen.shape == (height_px, width_px, 3)
        assert np.array_equal(decode(first.pictures[row]), seen)
    picture = decode(first.pictures[30])
    unit = width_px / 40
    bar = picture[round(height_px * 0.9) :]
    assert bar[:, round(16 * unit) : round(24 * unit)].max() == 0, "the steering bar is masked"
    assert bar[:, round(5 * unit) : round(6 * unit)].max() > 200, "the speed bar is not"


def test_several_processes_make_the_same_of_larger_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [write_episode(tmp_path / f"{index}.parquet", varied=True) for index in range(3)]
    alone = load(paths, make_spec())
    caches = [module._cache_path(path, make_spec()) for path in paths]
    for cache in caches:
        cache.unlink()
    monkeypatch.setattr(module, "WORTH_PROCESSES_BYTES", 0)
    monkeypatch.setattr(module, "_preprocess_episode", Other(os.getpid()))
    steps: list[tuple[int, int]] = []
    together = load(paths, make_spec(), progress=lambda done, total: steps.append((done, total)))
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert together.pictures == alone.pictures
    assert np.array_equal(together.labels, alone.labels)


class Other:
    """Preprocesses, but not in this process; an object, so that another process finds it by name."""

    def __init__(self, forbidden: int) -> None:
        self._forbidden = forbidden

    def __call__(self, path: Path, spec: ModelSpec, cache: Path) -> None:
        assert os.getpid() != self._forbidden
        module._preprocess_episode(path, spec, cache)


@pytest.mark.parametrize(
    ("controls", "rate_hz", "message"),
    [
        (Controls(1.5, 0.2, 0.0), 25.0, r"steering is 1.5 in row 0 .*expected \[-1.0, 1.0\]"),
        (Controls(0.0, -0.2, 0.0), 25.0, r"throttle is -0.2"),
        (Controls(0.0, 0.2, 0.0), 30.0, r"recorded at 30.0 Hz, the model is for 25.0 Hz"),
    ],
)
def test_unusable_episodes_are_named(tmp_path: Path, controls: Controls, rate_hz: float, message: str) -> None:
    path = write_episode(tmp_path / "bad.parquet", controls, rate_hz)
    with pytest.raises(TrainingError, match=message) as caught:
        preprocess_episodes([path], make_spec())
    assert "bad.parquet" in str(caught.value)


def test_an_episode_of_another_shape_is_named_and_one_of_another_size_is_not(tmp_path: Path) -> None:
    first = write_episode(tmp_path / "first.parquet")
    larger = write_episode(tmp_path / "larger.parquet", size=(251, 200))
    assert len(load([first, larger], make_spec())) == 6
    wide = write_episode(tmp_path / "wide.parquet", size=(160, 90))
    with pytest.raises(
        TrainingError, match=r"wide\.parquet has frames of 160 x 90 px, .*first\.parquet of 100 x 80 px"
    ):
        preprocess_episodes([first, larger, wide], make_spec())


def test_a_folder_without_episodes_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="holds no episodes"):
        find_episodes([tmp_path])


def test_tracks_kept_for_judging_are_refused_even_where_a_cache_exists(tmp_path: Path) -> None:
    spec = make_spec()
    last = write_episode(tmp_path / "last.parquet", seed=HELD_OUT_SEED - 1)
    beyond = write_episode(tmp_path / "beyond.parquet", seed=HELD_OUT_SEED)
    for path in (last, beyond):
        cache = module._cache_path(path, spec)
        cache.parent.mkdir(exist_ok=True)
        cache.touch()
    assert len(preprocess_episodes([last], spec)) == 1
    for refused in (lambda: preprocess_episodes([last, beyond], spec), lambda: pick_pictures([last, beyond], spec, 4)):
        with pytest.raises(TrainingError, match=r"beyond\.parquet is of track 1000000, expected a seed below 1000000"):
            refused()


def test_the_named_track_kept_for_judging_is_refused(tmp_path: Path) -> None:
    spec = make_spec()
    other = write_episode(tmp_path / "other.parquet", seed=0, track="lighthouse")
    kept = write_episode(tmp_path / "kept.parquet", seed=0, track=HELD_OUT_TRACK)
    assert len(preprocess_episodes([other], spec)) == 1
    for refused in (lambda: preprocess_episodes([other, kept], spec), lambda: pick_pictures([other, kept], spec, 4)):
        with pytest.raises(TrainingError, match=r"kept\.parquet is of the track cocoa_temple, expected any other"):
            refused()


def test_tracks_that_checkpoints_are_compared_on_are_refused(episodes: Path, tmp_path: Path) -> None:
    config = replace(FitConfig.debug((episodes,), tmp_path), tracks=1, tracks_start=101)
    with pytest.raises(TrainingError, match=r"0000101\.parquet is of track 101, one of the tracks 101 to 101"):
        fit(config, PROFILE, drive=lambda folder: 0.0, report=silently, verbose=0)


def test_telemetry_that_all_episodes_have_is_used(tmp_path: Path) -> None:
    paths = [
        write_episode(tmp_path / "0.parquet", speed=50.0, yaw_rate=1.5, zeal=1.0, bearing_8=0.5),
        write_episode(tmp_path / "1.parquet", speed=20.0, zeal=2.0, yaw_rate=3.0),
    ]
    samples = load(paths, make_spec())
    assert samples.auxiliary_names == ("speed", "yaw_rate", "zeal")
    assert samples.auxiliary[[0, 3]].tolist() == [[0.5, 0.5, 1.0], pytest.approx([0.2, 1.0, 2.0])]


def test_without_common_telemetry_there_is_none(tmp_path: Path) -> None:
    paths = [write_episode(tmp_path / "0.parquet", zeal=1.0), write_episode(tmp_path / "1.parquet", speed=2.0)]
    samples = load(paths, make_spec())
    assert samples.auxiliary_names == ()
    assert samples.auxiliary.shape == (6, 0)


def test_telemetry_that_never_changes_is_not_learnt(tmp_path: Path) -> None:
    """A person's recording has the speed 0 throughout: its loss would be divided by no variance at all."""
    paths = [write_episode(tmp_path / f"{zeal}.parquet", speed=0.0, zeal=zeal) for zeal in (1.0, 2.0)]
    assert load(paths, make_spec()).auxiliary_names == ("zeal",)


def test_a_cache_belongs_to_the_picture_and_the_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "track.parquet"
    path.write_bytes(b"x" * 10)
    os.utime(path, ns=(10**18, 10**18))
    full = ModelSpec("any", "pilotnet", "carracing")
    known = module._cache_path(path, full)
    assert known.name == "track-ecb17360d6d6.safetensors", "caches on people's disks are made anew: is that meant?"
    assert module._cache_path(path, replace(full, width_px=240)) != known
    assert module._cache_path(path, replace(full, masks=PROFILE.masks)) != known
    monkeypatch.setitem(module.AUXILIARY_SCALE, "speed", 50.0)
    assert module._cache_path(path, full) != known


def test_trainings_at_the_same_time_do_not_write_into_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_episode(tmp_path / "0.parquet")
    cache = module._cache_path(path, make_spec())
    save_file, written = module.save_file, []

    def preempted(tensors: Any, partial: Path, metadata: Any) -> None:
        """Let another process preprocess the same episode from start to end in the middle of this one."""
        written.append(partial)
        save_file(tensors, partial, metadata=metadata)
        if len(written) == 1:
            monkeypatch.setattr("os.getpid", lambda: 4_000_001)
            module._preprocess_episode(path, make_spec(), cache)

    monkeypatch.setattr(module, "save_file", preempted)
    module._preprocess_episode(path, make_spec(), cache)
    assert written[0] != written[1]
    assert [file.name for file in cache.parent.iterdir()] == [cache.name]
    assert len(load_samples([cache], make_spec())) == 3


def test_picked_pictures_come_from_all_over_the_episodes(tmp_path: Path) -> None:
    paths = [write_episode(tmp_path / f"{rows}.parquet", rows=rows) for rows in (2, 5, 1)]
    spec = make_spec()
    everything = [preprocess(frame, spec) for path in paths for frame in Episode.open(path).frames()]
    picked = pick_pictures(paths, spec, 100)
    assert sorted(picture.tobytes() for picture in picked) == sorted(picture.tobytes() for picture in everything)
    assert pick_pictures(paths, spec, 4).shape == (4, 68, 120, 3)
    with pytest.raises(TrainingError, match=r"2\.parquet is of the game 'carracing', the model is for 'karts'"):
        pick_pictures(paths, replace(spec, game="karts"), 4)


def test_pictures_are_picked_where_an_output_never_varies(tmp_path: Path) -> None:
    """What int8 is calibrated on, for a game without a brake."""
    paths = [write_episode(tmp_path / "a.parquet", rows=6)]
    assert pick_balanced_pictures(paths, make_spec(), 4).shape == (4, 68, 120, 3)
    several = [*paths, write_episode(tmp_path / "b.parquet", Controls(0.3, 0.2, 0.0), rows=6)]
    assert pick_balanced_pictures(several, make_spec(), 6).shape == (6, 68, 120, 3)


def test_labels_are_those_of_the_networks_outputs(tmp_path: Path) -> None:
    path = write_episode(tmp_path / "a.parquet", Controls(0.1, 0.25, 0.75))
    spec = replace(make_spec(), outputs=outputs_named(["pedal", "steering"]))
    np.testing.assert_allclose(load([path], spec).labels, [[-0.5, 0.1]] * 3)
    spec = replace(spec, outputs=outputs_named(["steering", "handbrake"]))
    with pytest.raises(EpisodeError, match=r"a.parquet has no handbrake.*`--outputs steering,throttle,brake`"):
        load([path], spec)


# --- the run ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(episodes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[FitConfig, "FitResult"]:
    """Two rounds of four steps."""
    config = replace(
        FitConfig.debug((episodes,), tmp_path_factory.mktemp("whole")), steps=8, steps_per_round=4, keep_stages=True
    )
    return config, fit(config, PROFILE, report=silently, verbose=0)


def test_a_run_learns_and_exports(whole: tuple[FitConfig, "FitResult"]) -> None:
    config, result = whole
    assert [row["step"] for row in result.history] == [4, 8]
    fed = json.loads((config.out / FED).read_text())
    assert fed["step"] == 8
    assert set(fed["outputs"]) == {"steering", "throttle", "brake"}
    assert all(sum(each["counts"]) > 0 for each in fed["outputs"].values())
    assert ModelSpec.load(result.model).sha256.keys() == {"weights.safetensors", "network.onnx"}


def test_a_network_that_cannot_be_exported_is_told_before_the_first_round(
    episodes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise TrainingError("a layer of it cannot be exported")

    monkeypatch.setattr("training.fitting.fit.export_model", refuse)
    monkeypatch.setattr("training.fitting.run.Run.train_round", lambda *_, **__: pytest.fail("trained"))
    lines: list[str] = []
    with pytest.raises(TrainingError, match="cannot be exported"):
        fit(FitConfig.debug((episodes,), tmp_path / "run"), PROFILE, report=lines.append, verbose=0)


def test_it_is_said_when_the_time_that_it_takes_is_told(
    episodes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*arguments: object, **further: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("training.fitting.fit.export_model", lambda *_: None)
    monkeypatch.setattr("training.fitting.fit._do_rounds", end)
    lines: list[str] = []
    config = replace(FitConfig.debug((episodes,), tmp_path / "run"), steps=8, steps_per_round=4)
    with pytest.raises(KeyboardInterrupt):
        fit(config, PROFILE, report=lines.append, verbose=0)
    assert "how long it takes is told after 4 steps" in lines


def test_a_run_that_is_done_promises_no_time(whole: tuple[FitConfig, "FitResult"]) -> None:
    config, result = whole
    lines: list[str] = []
    again = fit(config, PROFILE, drive=lambda folder: pytest.fail("driven"), report=lines.append, verbose=0)
    assert again.history == result.history
    assert not [line for line in lines if "how long it takes" in line]


def test_the_model_of_every_round_is_kept_when_asked_for(whole: tuple[FitConfig, "FitResult"]) -> None:
    config, _ = whole
    stages = sorted((config.out / "stages").iterdir())
    assert [stage.name for stage in stages] == ["000004", "000008"]
    first, second = (ModelSpec.load(stage).sha256 for stage in stages)
    assert first["weights.safetensors"] != second["weights.safetensors"]
    assert second == ModelSpec.load(config.out / "last").sha256


def test_a_checkpoint_holds_the_weights_themselves_and_the_export_their_average(
    whole: tuple[FitConfig, "FitResult"],
) -> None:
    config, _ = whole
    weights = load_file(config.out / "checkpoint" / "weights.safetensors")
    average = load_file(config.out / "last" / "weights.safetensors")
    kernels = [name for name in average if name.endswith("/kernel")]
    assert len(kernels) > 10
    for name in kernels:  # AdamW moves weights by about the learning rate, 0.001; float16 rounds by a few 0.00001
        assert np.abs(weights[name] - average[name]).max() > 5e-4, name


def test_an_interrupted_run_goes_on_as_if_it_never_was(whole: tuple[FitConfig, "FitResult"], tmp_path: Path) -> None:
    finished, result = whole
    config = replace(finished, out=tmp_path)
    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        interrupt(line)

    with pytest.raises(KeyboardInterrupt):
        fit(config, PROFILE, report=report, verbose=0)
    assert any(line.startswith("about ") and " for 4 steps, " in line for line in lines), "how long it takes"
    assert lines[-1].startswith(f"1 of 2 rounds are kept; {tmp_path / 'best'} is round 1")
    resumed = fit(config, PROFILE, report=silently, verbose=0)
    assert [row["step"] for row in resumed.history] == [4, 8]
    for row, expected_row in zip(resumed.history, result.history, strict=True):
        for name in ("loss", "steering_loss", "validation_loss"):
            assert row[name] == pytest.approx(expected_row[name], rel=1e-4), name
    expected = load_file(finished.out / "checkpoint" / "weights.safetensors")
    actual = load_file(tmp_path / "checkpoint" / "weights.safetensors")
    for name, values in expected.items():
        assert actual[name] == pytest.approx(values, rel=1e-4, abs=1e-5), name


@pytest.mark.slow
@pytest.mark.parametrize(("step", "balance"), [("helper", "v2"), ("joint", "v4")])
def test_balanced_runs_go_on_as_if_they_never_stopped(episodes: Path, tmp_path: Path, step: str, balance: str) -> None:
    config = replace(FitConfig.debug((episodes,), tmp_path / "run"), step=step, balance=balance, batch_size=3)
    with pytest.raises(KeyboardInterrupt):
        fit(config, PROFILE, report=interrupt, verbose=0)
    resumed = fit(config, PROFILE, report=silently, verbose=0)
    whole = fit(replace(config, out=tmp_path / "whole"), PROFILE, report=silently, verbose=0)
    assert resumed.history[1]["samples"] == (9 if step == "helper" else 3)
    for row, expected_row in zip(resumed.history, whole.history, strict=True):
        for name in ("loss", "steering_loss", "auxiliary_loss", "validation_loss", "co_pressed"):
            assert row[name] == pytest.approx(expected_row[name], rel=1e-4), name


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
def test_a_run_stops_when_driving_gets_no_better(tmp_path: Path) -> None:
    for index, telemetry in enumerate(({"zeal": 1.0}, {"zeal": 1.0}, {"zest": 1.0})):  # none that all have
        write_episode(tmp_path / f"{index}.parquet", seed=index, varied=True, **telemetry)
    config = FitConfig.debug((tmp_path,), tmp_path / "run")
    config = replace(config, steps=6, tracks=1, patience=1)
    returns = iter([7.0, 7.0])
    lines: list[str] = []

    def drive(folder: Path) -> float:
        (folder.parent / CLIPS).mkdir(exist_ok=True)
        (folder.parent / CLIPS / "newest.webp").write_bytes(b"a film")
        return next(returns)

    result = fit(config, PROFILE, drive=drive, report=lines.append, verbose=0)
    clips = sorted(path.stem for path in (config.out / CLIPS).iterdir())
    assert [float(name) for name in clips] == [row["step"] for row in result.history]
    assert [row["return"] for row in result.history] == [7, 7]
    assert "auxiliary_loss" not in result.history[0]
    assert lines[-1] == "stopping early after round 2 of 6: no better return within --patience 1"
    again = fit(config, PROFILE, drive=lambda folder: math.nan, report=silently, verbose=0)
    assert len(again.history) == 2


@pytest.mark.parametrize(
    ("scores", "since"), [([], 0), ([math.nan], 0), ([5, 7, 6, 7], 2), ([7, math.nan, 6, math.nan], 1), ([1, 2], 0)]
)
def test_patience_counts_drives_not_rounds(scores: list[float], since: int) -> None:
    assert _scores_since_best([{"score": score} for score in scores]) == since


def test_a_run_with_other_settings_is_not_overwritten(episodes: Path, tmp_path: Path) -> None:
    older = json.loads(FitConfig((episodes,), tmp_path, steps=3000).to_json())
    del older["patience"], older["importance"]  # written before there were such settings
    (tmp_path / "config.json").write_text(json.dumps(older))
    (tmp_path / "checkpoint").mkdir()  # without one, nobody's run is there
    with pytest.raises(TrainingError, match=r"other settings \(steps\)"):
        fit(FitConfig((episodes,), tmp_path), PROFILE, report=silently, verbose=0)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(TrainingError, match=r"config\.json is damaged"):
        fit(FitConfig((episodes,), tmp_path), PROFILE, report=silently, verbose=0)


@pytest.mark.parametrize("name", ["history.json", "weights.safetensors", "optimizer.safetensors"])
def test_a_damaged_checkpoint_is_told_in_one_line(whole: tuple[FitConfig, "FitResult"], name: str) -> None:
    config, _ = whole
    path = config.out / "checkpoint" / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(AgentError, match=r"checkpoint"):
        fit(config, PROFILE, report=silently, verbose=0)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "settings",
    [
        {"patience": -1},
        {"seed": -1},
        {"tracks": HELD_OUT_SEED - 19_999},
        {"ema": math.nan},
        {"balance": "v9"},
        {"step": "joined"},
        {"buffer_size": 0},
        {"erase": -1},
        {"importance": (("brake", -0.1),)},
        {"importance": (("brake", 0.1), ("brake", 1.0))},
        {"freeze": "add_2"},
        {"importance": (("brake", math.inf),)},
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match=next(iter(settings))):
        FitConfig((), Path(), **settings)
