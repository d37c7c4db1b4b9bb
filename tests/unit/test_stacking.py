"""Which pictures are seen together: the one rule that driving and training share."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.spec import ModelSpec, Stack
from agent.contract.stacking import SeenPictures, stacked_rows

SPEC = ModelSpec("tiny", "none", "carracing", rate_hz=25.0, stack=Stack(3, every_ticks=2))


def rows_at(*ticks: float) -> list[list[int]]:
    """Return which rows are seen at each row of an episode whose pictures were captured at these ticks."""
    return stacked_rows(np.array([round(tick * 40e6) for tick in ticks], np.int64), SPEC).tolist()


def test_a_network_of_one_picture_sees_each_rows_own() -> None:
    one = ModelSpec("tiny", "none", "carracing")
    assert stacked_rows(np.array([5, 5, 9], np.int64), one).tolist() == [[0], [1], [2]]


def test_rows_are_chosen_by_their_age_with_the_first_repeated_at_the_start() -> None:
    assert rows_at(0, 1, 2, 3, 4, 5, 6) == [
        [0, 0, 0],
        [0, 0, 1],
        [0, 0, 2],
        [0, 1, 3],
        [0, 2, 4],
        [1, 3, 5],
        [2, 4, 6],
    ]


def test_after_a_gap_nothing_older_is_seen_and_a_picture_twice_counts_once() -> None:
    assert rows_at(0, 1, 2, 3, 4, 50, 51, 52)[-3:] == [[5, 5, 5], [5, 5, 6], [5, 5, 7]]
    assert rows_at(0, 1, 2, 2, 2, 3, 4)[-1] == [0, 4, 6]
    assert rows_at(0, 2, 4, 6)[-1] == [1, 2, 3], "at half the rate every picture is one of the stack"


def test_of_two_pictures_as_near_the_older_is_seen() -> None:
    assert rows_at(0, 1, 3, 4)[-1] == [0, 1, 3]


def test_time_since_the_machine_was_started_makes_no_difference() -> None:
    times = np.array([0, 40, 81, 119, 160, 201], np.int64) * 1_000_000
    late = times + 400 * 24 * 3600 * 10**9 + 1  # 400 days: more than a float tells apart to the nanosecond
    assert np.array_equal(stacked_rows(late, SPEC), stacked_rows(times, SPEC))


def test_an_episode_without_rows_has_none() -> None:
    assert stacked_rows(np.array([], np.int64), SPEC).shape == (0, 3)


@given(
    st.lists(st.integers(0, 400_000_000), min_size=1, max_size=40),
    st.integers(2, 5),
    st.integers(1, 3),
    st.sampled_from([10.0, 25.0, 30.0]),
)
def test_the_nearest_of_the_pictures_that_are_kept_is_seen(
    steps_ns: list[int], pictures: int, every_ticks: int, rate_hz: float
) -> None:
    times = np.cumsum(steps_ns).tolist()
    seen: SeenPictures[int] = SeenPictures(Stack(pictures, every_ticks), rate_hz)
    for row, now_ns in enumerate(times):
        shown = seen.see(now_ns, row)
        assert shown[-1] == row
        oldest_ns = round((pictures - 1) * every_ticks * 1e9 / rate_hz)
        kept = [k for k in range(row + 1) if now_ns - times[k] <= oldest_ns + round(0.5e9 / rate_hz)]
        kept = [k for k in kept if k == row or times[k] < min(times[k + 1 : row + 1])]  # the last of equal times
        for place, picked in enumerate(shown):
            wanted_ns = now_ns - round((pictures - 1 - place) * every_ticks * 1e9 / rate_hz)
            assert picked == min(kept, key=lambda k: abs(times[k] - wanted_ns)), "of two as near, the older"
