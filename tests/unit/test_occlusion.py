"""What a network goes by is found, on one that goes by a known part of the picture."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.cli import main
from agent.contract.controls import Controls
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.reading import Episode
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.errors import SpecError
from agent.contract.observation import Frame, Observation
from agent.contract.spec import ModelSpec, Stack
from agent.engines.base import Prediction
from agent.engines.occlusion import COLUMNS, ROWS, cover, part
from agent.measuring.occlusion import study

SPEC = ModelSpec("test", "none", "carracing", width_px=64, height_px=36)
SEEN = (6, 13)  # row and column of the one part that steers


class CornerEngine:
    """Steers by the red of one part of the picture, whatever is elsewhere; throttle and brake see nothing."""

    name = "corner"
    spec = SPEC

    def infer(self, observation: Observation) -> Prediction:
        row, column = SEEN
        red = observation[4 * row : 4 * row + 4, 4 * column : 4 * column + 4, 0].mean()
        return np.array((red / 255, 0.5, 0.0), np.float32)

    def close(self) -> None:
        pass


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    path = tmp_path / "episode.parquet"
    with EpisodeWriter(path, EpisodeHeader("carracing", "expert", 25.0)) as writer:
        for index in range(12):
            pixels = rng.integers(0, 100, (36, 64, 3), np.uint8)
            pixels[24:28, 52:56] = 200 + 4 * index
            writer.write(EpisodeRow(Frame(pixels, 1000 * index, index), Controls(), executed=Controls()))
    return path


def test_a_network_of_several_pictures_is_refused(path: Path) -> None:
    engine = CornerEngine()
    engine.spec = replace(SPEC, stack=Stack(4))
    with pytest.raises(SpecError, match="test sees 4 pictures at once, expected one"):
        study([Episode.open(path)], engine, 5)


def test_the_part_that_the_network_reads_is_the_brightest(path: Path) -> None:
    told = []
    found = study([Episode.open(path)], CornerEngine(), 5, lambda: told.append(1))
    assert found.pictures == len(told) == 5
    change = found.change[:, :, 0]
    assert np.unravel_index(int(change.argmax()), change.shape) == SEEN
    near = np.zeros((ROWS, COLUMNS), bool)
    near[SEEN[0] - 1 : SEEN[0] + 2, SEEN[1] - 1 : SEEN[1] + 2] = True
    assert (change[near] > 0).all()
    assert not change[~near].any()
    assert not found.change[:, :, 1:].any()
    assert found.spread == pytest.approx([np.std([200, 208, 220, 232, 244]) / 255, 0, 0], abs=0.01)


def test_the_map_is_bright_where_the_network_looks(path: Path) -> None:
    drawn = study([Episode.open(path)], CornerEngine(), 2).draw(0)
    assert drawn.shape == (540, 960, 3)
    grey = cv2.cvtColor(drawn, cv2.COLOR_BGR2GRAY)
    assert grey[390, 810] > 2 * grey[100, 100]


def test_a_cover_is_a_part_and_half_of_its_neighbours() -> None:
    observation = np.zeros((36, 64, 3), np.uint8)
    observation[:18] = 200
    covered = cover(observation, part(2, 3))
    changed = (covered != observation).any(axis=2)
    assert changed[6:14, 10:18].all()
    assert changed.sum() == 64
    assert (covered[6, 10] == 100).all(), "the mean colour"
    assert observation[6, 10, 0] == 200, "a copy"
    corner = part(ROWS - 1, COLUMNS - 1)
    assert (corner.left + corner.width, corner.top + corner.height) == pytest.approx((1, 1))


def test_the_command_tells_and_draws(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "seen.png"
    assert main(["occlusion", str(path), "--engine", "constant", "--pictures", "1", "--out", str(picture)]) == 0
    output = capsys.readouterr().out
    assert "1 pictures" in output
    assert f"wrote {picture}" in output
    assert cv2.imread(str(picture)) is not None
    assert main(["occlusion", str(path), "--engine", "constant", "--pictures", "1", "--json"]) == 0
    assert np.array(json.loads(capsys.readouterr().out)["change"]["steering"]).shape == (ROWS, COLUMNS)


def test_what_cannot_be_done_is_said(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["occlusion", str(path), "--engine", "constant", "--output", "horn"]) == 1
    assert "expected one of: steering, throttle, brake" in capsys.readouterr().err
    other = tmp_path / "other.parquet"
    with EpisodeWriter(other, EpisodeHeader("torcs", "expert", 25.0)) as writer:
        writer.write(EpisodeRow(Frame(np.zeros((4, 4, 3), np.uint8), 0, 0), Controls(), executed=Controls()))
    assert main(["occlusion", str(path), str(other), "--engine", "constant"]) == 1
    assert "carracing and torcs" in capsys.readouterr().err
    arguments = ["occlusion", str(path), "--engine", "constant", "--pictures", "1"]
    assert main([*arguments, "--out", str(tmp_path / "missing" / "seen.png")]) == 1
    assert "cannot be written" in capsys.readouterr().err
