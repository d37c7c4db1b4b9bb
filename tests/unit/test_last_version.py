"""What the version before the table of axes wrote opens unchanged."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from agent.contract.controls import STANDARD_AXES, Controls
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.reading import Episode
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.observation import Frame
from agent.contract.profile import Capture, KeyMap, PadMap, Rectangle, Region, SteeringRamp, Stuck
from agent.contract.spec import ModelSpec
from agent.games.profile_files import load_profile

SAMPLES = Path(__file__).parents[1] / "data" / "last_version"
HEADER = EpisodeHeader("carracing", "expert", 10.0, 7, "a small game", "somewhere")


@pytest.mark.parametrize(("name", "rows"), [("episode.parquet", 12), ("killed.recording", 10)])
def test_an_episode(name: str, rows: int) -> None:
    episode = Episode.open(SAMPLES / name)
    index = np.arange(rows, dtype=np.float32)
    assert episode.header == HEADER
    assert episode.header.axes == STANDARD_AXES
    np.testing.assert_array_equal(episode.controls, np.stack([index / 64 - 0.25, index / 128, 0 * index], axis=1))
    np.testing.assert_array_equal(episode.executed, np.stack([-index / 64, 0 * index, index / 128], axis=1))
    np.testing.assert_array_equal(episode.speed, np.where(index % 3 == 0, np.nan, index))
    np.testing.assert_array_equal(episode.intervention, index % 4 == 0)
    np.testing.assert_array_equal(episode.telemetry["yaw_rate"], index / 4)
    for row, frame in enumerate(episode.frames()):
        assert frame.pixels.shape == (4, 6, 3)
        assert (frame.pixels == 10 * row).all()


def test_a_new_episode_of_the_standard_axes_is_one_that_it_reads(tmp_path: Path) -> None:
    """It wanted these columns and this version, and passed over what it did not know of the header."""
    with EpisodeWriter(tmp_path / "new.parquet", HEADER) as writer:
        pixels = np.zeros((4, 6, 3), np.uint8)
        controls = Controls(0.5, handbrake=1.0)  # of a game that has none
        writer.write(EpisodeRow(Frame(pixels, 0, 0), controls, controls, telemetry={"yaw_rate": 0.0}))
    old, new = (pq.read_schema(path) for path in (SAMPLES / "episode.parquet", tmp_path / "new.parquet"))
    assert new.equals(old)  # names, order and types
    before, now = (json.loads(schema.metadata[b"hoodcam"]) for schema in (old, new))
    assert (now["format"], now["version"]) == (before["format"], before["version"])
    assert before["header"].items() <= now["header"].items()
    assert json.loads(new.metadata[b"huggingface"]) == json.loads(old.metadata[b"huggingface"])


def test_a_model_folders_description() -> None:
    spec = ModelSpec.load(SAMPLES)
    assert spec.output_names == STANDARD_AXES
    assert [(output.low, output.high) for output in spec.outputs] == [(-1.0, 1.0), (0.0, 1.0), (0.0, 1.0)]
    assert json.loads(spec.to_json()) == json.loads((SAMPLES / "spec.json").read_text())


def test_a_profile() -> None:
    profile = load_profile(SAMPLES / "profile.toml")
    assert profile.pad == PadMap("right_x", "right_y_up", "button_b", 0.2, 0.1, 0.05, 4.0)
    assert profile.keys == KeyMap("a", "d", "w", "s", 0.025, SteeringRamp(0.0333, 0.0667, 0.02))
    assert profile.capture == Capture("torcs-bin", 1, Region(10, 20, 1280, 720), needs_focus=False)
    assert profile.stuck == Stuck("press", 5.0, 1.5, 0.3, "backspace", 20, 20.0)
    assert profile.masks == (Rectangle(0.85, 0.7, 0.15, 0.3),)
    assert profile.mirrored == (Rectangle(0.0, 0.0, 1.0, 1.0),)
    assert (profile.controller, profile.model_name, profile.rate_hz) == ("keyboard", "other", 20.0)
    assert profile.axes == STANDARD_AXES
    assert asdict(profile.keys)["others"] == ()
