"""Which rows are learnt from, and which are held out."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.rows import GAP_S, SPAN_S, START_S, hold_out, labelled_rows


class _Episode(SimpleNamespace):
    def __len__(self) -> int:
        return len(self.intervention)


def episode(driver: str, *intervention: bool) -> Any:
    return _Episode(
        header=SimpleNamespace(driver=driver), intervention=np.array(intervention), path=Path("nowhere.parquet")
    )


@pytest.mark.parametrize("driver", ["policy:carracing", "replayed:a"])
def test_of_a_networks_drive_what_a_person_did_is_learnt(driver: str) -> None:
    drive = episode(driver, False, True, True, False)
    assert labelled_rows(drive).tolist() == [1, 2]
    assert labelled_rows(drive, own_driving=True).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("driver", ["expert", "person", "dagger:0123456789ab", "test"])
def test_of_what_somebody_labelled_every_row_is_learnt(driver: str) -> None:
    assert labelled_rows(episode(driver, False, True, False)).tolist() == [0, 1, 2]


def test_spans_of_time_are_held_out_and_starts_are_trained_on() -> None:
    rate_hz, rows = 20.0, 20 * 205
    trained, held_out = hold_out(rows, rate_hz, "a.parquet")
    first, *_ = held_out
    assert first >= START_S * rate_hz
    assert len(held_out) == 5 * SPAN_S * rate_hz, "five spans in 200 s"
    assert rows - len(trained) - len(held_out) == 5 * 2 * GAP_S * rate_hz
    assert set(range(int(START_S * rate_hz))) <= set(trained.tolist())
    spans = np.split(held_out, np.flatnonzero(np.diff(held_out) > 1) + 1)
    assert len(spans) == 5
    assert min(b[0] - a[-1] for a, b in pairwise(spans)) > 2 * GAP_S * rate_hz


def test_the_same_episode_is_always_split_in_the_same_way() -> None:
    first, again, other = (hold_out(2000, 25.0, name)[1].tolist() for name in ("a", "a", "b"))
    assert first == again
    assert first != other


@given(st.integers(0, 5000), st.floats(1, 60), st.text(max_size=5))
def test_no_held_out_row_has_a_neighbour_that_is_trained_on(rows: int, rate_hz: float, name: str) -> None:
    trained, held_out = (set(part.tolist()) for part in hold_out(rows, rate_hz, name))
    assert trained | held_out <= set(range(rows))
    assert not {row + step for row in held_out for step in (-1, 0, 1)} & trained
    if rows < 8:
        assert len(trained) == rows
    else:
        assert 0 not in held_out
        assert 0 < len(held_out) <= 0.2 * rows
        assert len(trained) >= 0.5 * rows
