"""What is drawn from a feed: everything, once an epoch, in an order that a resumed run repeats; and from a stream."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError

from agent.contract.errors import TrainingError
from training.data import buffers as module
from training.data.balancing.base import Feed
from training.data.buffers import Buffer, BufferStorage, EncodedSample, StreamBuffer, equal_shares, make_buffers


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
    lengths = iter([10, 10, 11])
    buffer = Buffer(feed(10, lambda rng: np.arange(next(lengths))), (1,))
    with pytest.raises(ValueError, match="epoch 1 of feed all has another length"):
        buffer.draw(0, 15)


def test_capacity_is_lowered_to_what_the_data_allows() -> None:
    assert Buffer(feed(50), (1,), 25_000).capacity == 50
    assert Buffer(feed(50), (1,), 20).capacity == 20


def test_threads_draw_what_one_would() -> None:
    expected = Buffer(feed(300), (1,), 100).draw(0, 1500)
    buffer = Buffer(feed(300), (1,), 100)
    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(lambda first: buffer.draw(first, 10), range(0, 1500, 10)))
    assert np.array_equal(np.concatenate(drawn), expected)


def test_feeds_with_the_same_samples_are_drawn_in_different_orders() -> None:
    first, second = make_buffers([feed(50), feed(50)], 1)
    assert not np.array_equal(first.draw(0, 50), second.draw(0, 50))


@given(st.integers(0, 100), st.integers(1, 9))
def test_shares_are_equal(total: int, parts: int) -> None:
    shares = equal_shares(total, parts)
    assert (len(shares), sum(shares)) == (parts, total)
    assert max(shares) - min(shares) <= 1


# --- samples that stream in -------------------------------------------------------------------------------------------


def sample(number: int) -> EncodedSample:
    return EncodedSample(b"picture %d" % number, np.array([number, -number], np.float32))


def numbers(samples: list[EncodedSample]) -> list[int]:
    found = [int(one.labels[0]) for one in samples]
    assert [one.picture for one in samples] == [b"picture %d" % number for number in found]
    assert [int(one.labels[1]) for one in samples] == [-number for number in found]
    return found


def test_a_stream_is_drawn_from_once_full_and_while_nine_tenths_are_there() -> None:
    buffer = StreamBuffer(seed=1, capacity=20)
    for number in range(19):
        buffer.add(sample(number))
        assert not buffer.ready, "not full yet"
    with pytest.raises(ValueError, match="2 samples asked of a buffer that holds 19 of 20"):
        buffer.draw(2)
    buffer.add(sample(19))
    drawn = numbers(buffer.draw(2))
    assert buffer.ready
    drawn += numbers(buffer.draw(1))
    assert (len(buffer), buffer.ready) == (17, False)
    buffer.add(sample(20))
    assert buffer.ready, "full once is enough"
    for number in range(21, 200):
        buffer.add(sample(number))
        drawn += numbers(buffer.draw(1))
    assert len(drawn) == len(set(drawn)) == 182
    assert drawn != sorted(drawn)


def test_a_stream_of_little_data_starts_earlier_and_fills_up_further() -> None:
    buffer = StreamBuffer(seed=1, capacity=20, start=10)
    for number in range(9):
        buffer.add(sample(number))
    assert not buffer.ready
    buffer.add(sample(9))
    assert (buffer.ready, buffer.lacking) == (True, 0)
    buffer.draw(1)
    assert (buffer.ready, buffer.lacking) == (True, 1)
    buffer.draw(1)
    assert (buffer.ready, buffer.lacking) == (False, 2), "below nine tenths of what it held"
    for number in range(10, 30):
        buffer.add_again(sample(number))
    assert (len(buffer), buffer.lacking) == (20, 0)
    buffer.draw(3)
    assert not buffer.ready, "it was full once: nine tenths of its capacity count now"


def test_a_start_beyond_the_capacity_is_refused() -> None:
    with pytest.raises(ValueError, match="start is 21, expected 1 to the capacity of 20"):
        StreamBuffer(seed=1, capacity=20, start=21)


def test_what_waits_for_its_file_can_be_written_at_once_and_what_came_before_is_not_stored_again(
    tmp_path: Path,
) -> None:
    storage = BufferStorage(tmp_path, chunks=2, chunk_samples=100)
    buffer = StreamBuffer(seed=1, capacity=8, storage=storage)
    buffer.add(sample(1))
    buffer.add_again(sample(2))
    assert storage.waiting == 1
    assert list(storage.read()) == []
    storage.flush()
    storage.flush()
    assert (storage.waiting, numbers(list(storage.read()))) == (0, [1])


def test_a_full_stream_buffer_holds_no_more_than_its_capacity() -> None:
    buffer = StreamBuffer(seed=1, capacity=20)
    for number in range(100):
        buffer.add(sample(number))
    assert len(buffer) == 20
    assert len(set(numbers(buffer.draw(20)))) == 20


def test_a_storage_rotates_and_refills_a_buffer(tmp_path: Path) -> None:
    storage = BufferStorage(tmp_path, chunks=3, chunk_samples=4)
    buffer = StreamBuffer(seed=1, capacity=8, storage=storage)
    for number in range(30):
        buffer.add(sample(number))
    assert len(list(tmp_path.iterdir())) == 3
    kept = numbers(list(BufferStorage(tmp_path, 3, 4).read()))
    assert kept == list(range(16, 28)), "the last full files, oldest first"
    storage = BufferStorage(tmp_path, chunks=3, chunk_samples=4)
    refilled = StreamBuffer(seed=1, capacity=8, storage=storage)
    assert refilled.ready
    assert set(numbers(refilled.draw(8))) < set(kept)
    for number in range(30, 34):
        refilled.add(sample(number))
    assert numbers(list(BufferStorage(tmp_path, 3, 4).read())) == [*range(20, 28), *range(30, 34)]


WRITER = """
import sys, pathlib, numpy as np
from training.data.buffers import BufferStorage, EncodedSample
storage = BufferStorage(pathlib.Path(sys.argv[1]), chunks=3, chunk_samples=2)
for number in range(10**9):
    storage.append(EncodedSample(b"picture %d" % number, np.array([number, -number], np.float32)))
    if number == 20: print("writing", flush=True)
"""


def test_a_kill_at_any_moment_leaves_a_storage_that_opens(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(float(np.random.default_rng().uniform(0, 0.02)))
        process.kill()
    kept = numbers(list(BufferStorage(tmp_path, chunks=3, chunk_samples=2).read()))
    assert len(kept) in (6, 8)  # a file more where the kill came before the oldest was deleted
    assert kept == list(range(kept[0], kept[0] + len(kept)))
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("where", ["save_file", "replace"])
def test_a_full_disk_loses_the_samples_that_waited_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    storage = BufferStorage(tmp_path, chunks=3, chunk_samples=2)
    for number in range(4):
        storage.append(sample(number))

    def fill_up(tensors: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    def fail(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        if where == "save_file":
            full.setattr(module, "save_file", fill_up)
        else:
            full.setattr(os, "replace", fail)
        storage.append(sample(4))
        with pytest.raises((SafetensorError, OSError), match="No space left"):
            storage.append(sample(5))
        assert len(list(tmp_path.iterdir())) == 2
    for number in (6, 7):
        storage.append(sample(number))
    assert numbers(list(BufferStorage(tmp_path, 3, 2).read())) == [0, 1, 2, 3, 6, 7]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    storage = BufferStorage(tmp_path, chunks=3, chunk_samples=2)
    storage.append(sample(0))
    storage.append(sample(1))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(TrainingError, match=rf"{path.name} cannot be read .* Delete it"):
        list(BufferStorage(tmp_path, 3, 2).read())
