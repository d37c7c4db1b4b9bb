"""What is drawn from a feed: everything, once an epoch, in an order that a resumed run repeats."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.balancing.base import Feed
from training.buffers import Buffer


def feed(length: int, order: Callable[[np.random.Generator], npt.NDArray[np.int64]] | None = None) -> Feed:
    return Feed("all", np.ones((length, 1), np.float32), order or (lambda rng: rng.permutation(length)))


@given(st.integers(1, 60), st.integers(1, 80), st.integers(0, 5))
def test_an_epoch_is_drawn_without_replacement_whatever_the_capacity(length: int, capacity: int, number: int) -> None:
    buffer = Buffer(feed(length), (3,), capacity)
    assert sorted(buffer.draw(number * length, length)) == list(range(length))


@given(st.lists(st.integers(1, 17), min_size=1, max_size=8), st.integers(1, 30))
def test_a_position_holds_the_same_sample_however_it_is_reached(counts: list[int], capacity: int) -> None:
    whole = Buffer(feed(20), (3,), capacity).draw(0, sum(counts))
    buffer = Buffer(feed(20), (3,), capacity)
    first = 0
    for count in counts:
        assert np.array_equal(buffer.draw(first, count), whole[first : first + count])
        first += count
    later = Buffer(feed(20), (3,), capacity)  # a resumed run has drawn nothing before
    assert np.array_equal(later.draw(first - counts[-1], counts[-1]), whole[first - counts[-1] :])


def test_a_sample_waits_no_longer_ahead_than_the_buffer_is_large() -> None:
    in_order = feed(1000, lambda rng: np.arange(1000))
    drawn = Buffer(in_order, (1,), 100).draw(0, 1000)
    assert (drawn <= np.arange(1000) + 100).all()  # nothing comes before it has arrived
    assert not np.array_equal(drawn, np.arange(1000))
    # Random: within what is held, early and late arrivals are drawn alike.
    assert 30 < np.abs(drawn - np.arange(1000)).mean() < 120


def test_a_buffer_of_one_keeps_the_order_of_its_feed() -> None:
    in_order = feed(50, lambda rng: np.arange(50))
    assert np.array_equal(Buffer(in_order, (1,), 1).draw(0, 50), np.arange(50))


def test_it_is_topped_up_below_nine_tenths_and_not_before() -> None:
    in_order = feed(200, lambda rng: np.arange(200))
    seen = [Buffer(in_order, (seed,), 100).draw(0, 200) for seed in range(40)]
    # The first 11 draws come from the first 100 samples; only then (89 left) do others arrive.
    assert all((drawn[:11] < 100).all() for drawn in seen)
    assert any((drawn[11:15] >= 100).any() for drawn in seen)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    drawn = Buffer(feed(50), (1,)).draw(0, 100)
    assert not np.array_equal(drawn[:50], drawn[50:])
    assert not np.array_equal(drawn[:50], Buffer(feed(50), (2,)).draw(0, 50))


def test_a_feed_whose_epochs_change_their_length_is_refused() -> None:
    lengths = iter([10, 11])
    buffer = Buffer(feed(10, lambda rng: np.arange(next(lengths))), (1,))
    with pytest.raises(ValueError, match="epoch 1 of feed all has another length"):
        buffer.draw(0, 15)
