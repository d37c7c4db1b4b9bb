"""Fitting, end to end on a tiny network: what is learnt from, what a resume does."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from agent.contract.controls import Controls
from agent.contract.episode import Episode, EpisodeHeader, EpisodeRow, EpisodeWriter
from agent.contract.errors import TrainingError
from agent.contract.observation import Frame
from agent.contract.spec import ModelSpec
from agent.games.carracing import PROFILE
from training.collect import CollectConfig, record_episode
from training.config import FitConfig
from training.fit import fit
from training.samples import decode, find_episodes, load_samples


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("episodes")
    for seed in (100, 101):
        record_episode(CollectConfig(folder, seed, 1, noise=3.0, decisions=40), seed)
    return folder


def write_episode(path: Path, controls: Controls, rate_hz: float = PROFILE.rate_hz, rows: int = 3) -> Path:
    rng = np.random.default_rng(0)
    with EpisodeWriter(path, EpisodeHeader("carracing", "test", rate_hz)) as writer:
        for index in range(rows):
            frame = Frame(rng.integers(0, 256, (80, 100, 3), np.uint8), index * 40_000_000, index)
            writer.write(EpisodeRow(frame, controls, controls))
    return path


def make_spec(width_px: int = 120, height_px: int = 68) -> ModelSpec:
    return ModelSpec("tiny", "pilotnet", "carracing", width_px, height_px, masks=PROFILE.masks)


def test_samples_are_the_preprocessed_frames_masked_and_labelled(episodes: Path) -> None:
    paths = find_episodes([episodes])
    first = load_samples(paths, make_spec(480, 270))
    cached = load_samples(paths, make_spec(480, 270))
    assert len(first) == 80
    assert first.pictures == cached.pictures
    assert np.array_equal(first.labels, np.concatenate([Episode.open(path).controls for path in paths]))
    picture = decode(first.pictures[30], 480, 270)
    assert picture.shape == (270, 480, 3)
    steering_bar = picture[240:, 200:290]
    assert steering_bar.max() == 0
    speed_bar = picture[240:, 60:72]
    assert speed_bar.max() > 200
    assert tuple(picture[100, 10]) in {(102, 204, 102), (102, 230, 102)}  # RGB: the grass is green


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
        load_samples([path], make_spec())
    assert "bad.parquet" in str(caught.value)


def test_a_folder_without_episodes_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="holds no episodes"):
        find_episodes([tmp_path])


def test_a_run_learns_exports_and_resumes_as_if_never_interrupted(episodes: Path, tmp_path: Path) -> None:
    whole = FitConfig.debug((episodes,), tmp_path / "whole")
    result = fit(whole, PROFILE, report=lambda line: None, verbose=0)
    assert [row["step"] for row in result.history] == [1, 2]
    assert ModelSpec.load(result.model).sha256.keys() == {"weights.safetensors", "network.onnx"}

    interrupted = FitConfig.debug((episodes,), tmp_path / "interrupted")

    def interrupt(line: str) -> None:
        if line.startswith("round 1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(interrupted, PROFILE, report=interrupt, verbose=0)
    resumed = fit(interrupted, PROFILE, report=lambda line: None, verbose=0)
    assert [row["step"] for row in resumed.history] == [1, 2]
    assert resumed.history[-1]["loss"] == pytest.approx(result.history[-1]["loss"], rel=1e-5)
    expected = load_file(tmp_path / "whole" / "checkpoint" / "weights.safetensors")
    actual = load_file(tmp_path / "interrupted" / "checkpoint" / "weights.safetensors")
    for name, values in expected.items():
        assert actual[name] == pytest.approx(values, rel=1e-4, abs=1e-5), name


def test_a_run_with_other_settings_is_not_overwritten(episodes: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(FitConfig((episodes,), tmp_path, steps=7).to_json())
    with pytest.raises(TrainingError, match=r"other settings .*steps"):
        fit(FitConfig.debug((episodes,), tmp_path), PROFILE, report=lambda line: None, verbose=0)
