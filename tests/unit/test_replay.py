"""Replaying an episode: numbers against the label, and predictions against stored ones."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.contract.controls import Controls
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.reading import Episode
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.errors import ControlsError, EpisodeError
from agent.contract.observation import Frame, Observation
from agent.contract.spec import WEIGHTS_FILE, ModelSpec, outputs_named
from agent.engines.base import Prediction
from agent.sessions.replay import compare_with_reference, replay, save_reference

SPEC = ModelSpec("test", "none", "carracing", width_px=4, height_px=3, sha256={WEIGHTS_FILE: "ab" * 32})
ROWS = 8


class PixelEngine:
    """Predicts from the picture's first pixel (RGB), so that a shifted or swapped frame changes the prediction."""

    name = "pixel"
    spec = SPEC

    def __init__(self, offset: tuple[float, float, float] = (0.0, 0.0, 0.0), changed: int | None = None) -> None:
        self._offset = np.array(offset, np.float32)
        self._changed = changed

    def infer(self, observation: Observation) -> Prediction:
        red, green, blue = (float(value) / 255 for value in observation[0, 0])
        prediction = np.array((2 * red - 1, green, blue), np.float32)
        if self._changed is None or round(red * 255) == 10 * self._changed:
            prediction += self._offset
        return prediction

    def close(self) -> None:
        pass


def label(index: int) -> Controls:
    return Controls(2 * (10 * index / 255) - 1, (200 - 10 * index) / 255, 7 / 255)


@pytest.fixture
def episode(tmp_path: Path) -> Episode:
    """Flat pictures whose colour is the label; what was executed is something else."""
    path = tmp_path / "episode.parquet"
    with EpisodeWriter(path, EpisodeHeader("carracing", "expert", 25.0)) as writer:
        for index in range(ROWS):
            pixels = np.empty((6, 8, 3), np.uint8)
            pixels[:] = (7, 200 - 10 * index, 10 * index)
            frame = Frame(pixels, captured_ns=1000 * index, index=2 * index)
            writer.write(EpisodeRow(frame, label(index), executed=Controls(0.9, 0.9, 0.9)))
    return Episode.open(path)


def test_a_network_that_gives_the_label_has_no_error(episode: Episode) -> None:
    report = replay(episode, PixelEngine())
    np.testing.assert_allclose(report.predictions, episode.controls, atol=1e-6)
    for name in ("steering", "throttle"):
        assert report.outputs[name].mean_absolute_error == pytest.approx(0, abs=1e-6)
        assert report.outputs[name].correlation == pytest.approx(1)
    assert report.outputs["brake"].correlation is None  # the label never changes
    assert set(report.stages) == {"decode", "preprocess", "infer"}
    assert all(0 < stage.median_ms <= stage.p99_ms for stage in report.stages.values())


def test_errors_are_those_of_clipped_predictions(episode: Episode) -> None:
    report = replay(episode, PixelEngine(offset=(0.25, -5.0, 0.0), changed=None))
    assert report.outputs["steering"].mean_absolute_error == pytest.approx(0.25, abs=1e-6)
    throttle = [label(index).throttle for index in range(ROWS)]  # the error of a prediction clipped to 0
    assert report.outputs["throttle"].mean_absolute_error == pytest.approx(np.mean(throttle), abs=1e-6)
    assert report.outputs["throttle"].max_error == pytest.approx(max(throttle), abs=1e-6)
    assert report.outputs["throttle"].max_error_row == 0
    assert report.predictions[0, 1] == pytest.approx(throttle[0] - 5, abs=1e-6)


def test_the_report_is_json(episode: Episode) -> None:
    report = json.loads(replay(episode, PixelEngine()).to_json())
    assert (report["episode"], report["frames"], report["engine"]) == ("episode.parquet", ROWS, "pixel")
    assert report["outputs"]["brake"]["correlation"] is None


def test_a_prediction_that_is_no_number_is_refused(episode: Episode) -> None:
    with pytest.raises(ControlsError, match="steering is nan"):
        replay(episode, PixelEngine(offset=(float("nan"), 0.0, 0.0)))


def test_the_same_network_agrees_with_its_reference_exactly(episode: Episode, tmp_path: Path) -> None:
    report = replay(episode, PixelEngine())
    save_reference(tmp_path / "reference.json", report, SPEC)
    comparison = compare_with_reference(tmp_path / "reference.json", replay(episode, PixelEngine()), tolerance=0)
    assert comparison.passed
    assert comparison.max_difference == 0
    assert "8 frames agree" in comparison.message


def test_a_difference_is_named_by_frame_and_output(episode: Episode, tmp_path: Path) -> None:
    path = tmp_path / "reference.json"
    save_reference(path, replay(episode, PixelEngine()), SPEC)
    changed = replay(episode, PixelEngine(offset=(0.001, 0.01, 0.0), changed=5))
    comparison = compare_with_reference(path, changed, tolerance=0.005)
    assert not comparison.passed
    assert (comparison.row, comparison.output, comparison.differing_rows) == (5, "throttle", 1)
    assert comparison.max_difference == pytest.approx(0.01, abs=2e-6)
    assert "1 of 8 frames differ" in comparison.message
    assert "frame 5, throttle" in comparison.message
    assert "weights abababababab" in comparison.message
    assert compare_with_reference(path, changed, tolerance=0.02).passed


def test_a_reference_belongs_to_its_frames(episode: Episode, tmp_path: Path) -> None:
    path = tmp_path / "reference.json"
    report = replay(episode, PixelEngine())
    save_reference(path, report, SPEC)
    with pytest.raises(EpisodeError, match="made from other frames"):
        compare_with_reference(path, replace(report, frames_sha256="0" * 64), tolerance=1)


@pytest.mark.parametrize(
    "content",
    [None, "", "[]", "{}", '{"format": "hoodcam-reference/1", "outputs": ["steering", "throttle", "brake"]}', "\x00"],
)
def test_an_unreadable_reference_is_named(episode: Episode, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "reference.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(EpisodeError, match="cannot be read as a reference"):
        compare_with_reference(path, replay(episode, PixelEngine()), tolerance=1)


def test_a_reference_with_missing_frames_is_refused(episode: Episode, tmp_path: Path) -> None:
    path = tmp_path / "reference.json"
    report = replay(episode, PixelEngine())
    save_reference(path, report, SPEC)
    raw = json.loads(path.read_text())
    raw["predictions"].pop()
    path.write_text(json.dumps(raw))
    with pytest.raises(EpisodeError, match=r"shape \(7, 3\)"):
        compare_with_reference(path, report, tolerance=1)


@pytest.mark.parametrize("tolerance", [-1.0, float("nan")])
def test_an_impossible_tolerance_is_refused(episode: Episode, tmp_path: Path, tolerance: float) -> None:
    report = replay(episode, PixelEngine())
    with pytest.raises(ValueError, match="tolerance"):
        compare_with_reference(tmp_path / "reference.json", report, tolerance)


def test_a_network_with_other_outputs_is_compared_with_their_labels(episode: Episode, tmp_path: Path) -> None:
    class SignedPedal(PixelEngine):
        spec = replace(SPEC, outputs=outputs_named(["pedal", "steering"]))

        def infer(self, observation: Observation) -> Prediction:
            steering, throttle, brake = super().infer(observation)
            return np.array((throttle - brake, steering), np.float32)

    report = replay(episode, SignedPedal())
    assert list(report.outputs) == ["pedal", "steering"]
    assert report.predictions.shape == (ROWS, 2)
    assert max(output.max_error for output in report.outputs.values()) < 1e-6
    save_reference(tmp_path / "two.json", report, SignedPedal.spec)
    assert compare_with_reference(tmp_path / "two.json", report).passed
    with pytest.raises(EpisodeError, match=r"format 'hoodcam-reference/1' with outputs \['pedal', 'steering'\]"):
        compare_with_reference(tmp_path / "two.json", replay(episode, PixelEngine()))


def test_an_episode_without_the_networks_axis_is_told(episode: Episode) -> None:
    class Handbrake(PixelEngine):
        spec = replace(SPEC, outputs=outputs_named(["steering", "throttle", "handbrake"]))

    with pytest.raises(EpisodeError, match="has no handbrake: it was recorded with steering, throttle, brake"):
        replay(episode, Handbrake())
