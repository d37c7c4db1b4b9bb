"""What a live training draws from: balanced at the door, fresh before old, whole after a restart."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agent.contract.errors import TrainingError
from agent.contract.spec import outputs_named
from training.data.buffers import EncodedSample
from training.live.arrivals import Arrival, Place
from training.live.door import MOST_COPIES, Door
from training.live.stock import CHUNK_SAMPLES, Stock

OUTPUTS = outputs_named(("steering", "throttle"))


def arrival(number: int, steering: float = 0.0, correction: bool = False, held_out: bool = False) -> Arrival:
    labels = np.array([steering, number % 2], np.float32)
    return Arrival(EncodedSample(number.to_bytes(4, "little"), labels), correction, held_out)


def numbers(batch: list[EncodedSample]) -> list[int]:
    return [int.from_bytes(sample.picture, "little") for sample in batch]


@pytest.fixture
def stock(tmp_path: Path) -> Callable[..., Stock]:
    return lambda **options: Stock(OUTPUTS, tmp_path, **{"start": 20, "capacity": 100, **options})


def test_a_door_evens_out_what_is_rare_and_what_is_common() -> None:
    door = Door(OUTPUTS[0], 0)
    let_in: Counter[float] = Counter()
    for number in range(20_000):
        label = float(np.float32(0.55)) if number % 5 == 0 else 0.0
        door.count(label)
        let_in[label] += door.copies(label)
    rare, common = sorted(let_in.values())
    assert rare / common > 0.95, "one in five arrives of the one, four in five of the other"
    assert 19_000 < rare + common < 21_000


def test_a_door_takes_no_more_than_some_copies_of_a_single_moment() -> None:
    door = Door(OUTPUTS[0], 0)
    for _ in range(1000):
        door.count(0.0)
    door.count(1.0)
    assert door.copies(1.0) == MOST_COPIES


def test_nothing_is_drawn_before_enough_has_arrived(stock: Callable[..., Stock]) -> None:
    held = stock()
    for number in range(19):
        held.add(arrival(number))
    assert not held.ready
    held.add(arrival(19))
    assert held.ready
    assert len(held.draw(8)) == 8


def test_every_sample_is_drawn_before_one_comes_again(stock: Callable[..., Stock]) -> None:
    held = stock(start=40)
    for number in range(40):
        held.add(arrival(number))
    assert held.ready
    assert set(numbers([sample for _ in range(60) for sample in held.draw(4)])) == set(range(40))
    assert held.passes == pytest.approx(6.0)


def test_fresh_samples_are_drawn_soon_while_they_keep_coming(stock: Callable[..., Stock]) -> None:
    held = stock()
    ages: list[int] = []
    for number in range(2000):
        held.add(arrival(number))
        if held.ready and number >= 1000:
            ages += [number - drawn for drawn in numbers(held.draw(1))]
    assert len(ages) == 1000
    assert np.mean(ages) < 150, "a buffer of 100 holds what has arrived not long ago"


def test_corrections_come_at_once_and_count_more(stock: Callable[..., Stock]) -> None:
    held = stock(capacity=1000, weight=4.0)
    for number in range(500):
        held.add(arrival(number))
    assert held.ready
    for number in range(500, 520):
        held.add(arrival(number, correction=True))
    first = numbers([sample for _ in range(10) for sample in held.draw(20)])
    assert sum(number >= 500 for number in first) >= 20
    later = numbers([sample for _ in range(300) for sample in held.draw(20)])
    share = sum(number >= 500 for number in later) / len(later)
    assert 3.0 < share / (20 / 520) < 6.5, "four times, and once more as any other sample"


def test_what_is_held_out_is_never_drawn(stock: Callable[..., Stock]) -> None:
    held = stock()
    for number in range(60):
        held.add(arrival(number, held_out=number % 10 == 0))
    assert held.ready
    drawn = set(numbers([sample for _ in range(50) for sample in held.draw(10)]))
    assert drawn == {number for number in range(60) if number % 10}
    assert sorted(numbers(held.judges)) == [0, 10, 20, 30, 40, 50]


def test_a_restart_brings_back_what_was_saved(stock: Callable[..., Stock]) -> None:
    held = stock()
    for number in range(50):
        held.add(arrival(number, correction=number % 10 == 0, held_out=number % 10 == 5))
    assert held.ready
    held.draw(10)
    held.save({"a": Place(50, 7)})
    held.add(arrival(99))  # in no file when it is killed
    again = stock()
    assert again.places == {"a": Place(50, 7)}
    assert (again.arrived, again.drawn, len(again), again.corrections) == (45, 10, 45, 5)
    assert sorted(numbers(again.judges)) == [5, 15, 25, 35, 45]
    assert again.ready


def test_the_disk_holds_a_bounded_copy(stock: Callable[..., Stock], tmp_path: Path) -> None:
    held = stock(capacity=3 * CHUNK_SAMPLES, start=20)
    for number in range(10 * CHUNK_SAMPLES):
        held.add(arrival(number))
        if held.unsaved == CHUNK_SAMPLES:
            held.save({})
    assert len(list((tmp_path / "drives").glob("*"))) == 3
    assert sorted(numbers(list(stock(capacity=3 * CHUNK_SAMPLES)._kept))) == list(range(1750, 2500))


def test_a_disk_that_is_full_is_an_error_that_leaves_the_stock_as_it_is(
    stock: Callable[..., Stock], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = stock()
    for number in range(30):
        held.add(arrival(number))

    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.data.buffers.save_file", full)
    with pytest.raises(TrainingError, match="No space left"):
        held.save({"a": Place(30, 0)})
    assert held.places == {}
    assert held.ready


def test_a_damaged_note_says_what_to_do(stock: Callable[..., Stock], tmp_path: Path) -> None:
    (tmp_path / "places.json").write_text("{")
    with pytest.raises(TrainingError, match=r"Delete it"):
        stock()
