"""Spans that are marked as bad: kept beside the episode, and left out of training."""

import json
from pathlib import Path

import numpy as np
import pytest

from agent.contract.controls import Controls
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.edits import edits_path, good_rows, read_edits, write_edits
from agent.contract.episodes.reading import Episode
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.errors import EpisodeError
from agent.contract.observation import Frame
from training.data.balance_report import read_labels
from training.data.rows import labelled_rows


def write_episode(path: Path, rows: int = 20) -> Path:
    with EpisodeWriter(path, EpisodeHeader("carracing", "expert", 25.0, 7)) as writer:
        for row in range(rows):
            controls = Controls(row / 100, 0.5, 0.0)
            frame = Frame(np.full((8, 12, 3), row, np.uint8), row * 40_000_000, row)
            writer.write(EpisodeRow(frame, controls, controls))
    return path


def test_spans_are_kept_in_order_and_joined_where_they_touch(tmp_path: Path) -> None:
    path = tmp_path / "drive.parquet"
    assert read_edits(path, 100) == ()
    assert write_edits(path, [[50, 60], (1, 3), [4, 4], [55, 70]], 100) == ((1, 4), (50, 70))
    assert read_edits(path, 100) == ((1, 4), (50, 70))
    assert edits_path(path).name == "drive.edits.json"
    assert good_rows(path, 100).sum() == 100 - 4 - 21
    write_edits(path, [], 100)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "span", [[1], [1, 2, 3], [2, 1], [-1, 2], [5, 10], [1.0, 2], [True, 2], "12", None, {"a": 1}, [[1], 2]]
)
def test_what_is_no_span_of_the_episode_is_refused(tmp_path: Path, span: object) -> None:
    path = tmp_path / "drive.parquet"
    with pytest.raises(ValueError, match="no span"):
        write_edits(path, [[0, 1], span], 10)
    assert read_edits(path, 10) == ()


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", '{"format": "hoodcam-edits/2", "bad": []}', '{"format": "hoodcam-edits/1"}'),
        *('{"format": "hoodcam-edits/1", "bad": [[0, 10]]}', "[" * 10_000),
    ],
)
def test_a_damaged_edit_list_is_one_line_that_names_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "drive.parquet"
    edits_path(path).write_text(text)
    with pytest.raises(EpisodeError, match=r"drive\.edits\.json cannot be used .*Delete it"):
        read_edits(path, 10)


def test_fit_and_balance_leave_bad_rows_out(tmp_path: Path) -> None:
    path = write_episode(tmp_path / "drive.parquet")
    before = path.read_bytes()
    write_edits(path, [[3, 5], [19, 19]], 20)
    kept = [row for row in range(20) if row not in (3, 4, 5, 19)]
    assert labelled_rows(Episode.open(path)).tolist() == kept
    assert labelled_rows(Episode.open(path), edited=False).tolist() == list(range(20))
    assert read_labels([path])[:, 0] == pytest.approx(np.array(kept) / 100)
    assert path.read_bytes() == before
    assert json.loads(edits_path(path).read_text())["bad"] == [[3, 5], [19, 19]]
