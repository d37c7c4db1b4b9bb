"""What a drive tells its page through shared memory, and what that costs it."""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agent.contract.controls import AXIS_NAMES, Controls
from agent.contract.observation import Frame, Observation
from agent.observers.base import BlindTick, DrivenTick, LateTick
from agent.page.feed import PageObserver
from agent.page.live import Live
from agent.page.records import FRAME_BYTES, TICKS, Facts, PageMemory, Weights
from agent.system.pacing import TickStats

FACTS = Facts(
    "A game", "game", "model", "engine", "policy:model", 25.0, ("steering", "pedal"), ("steering",), (4, 6, 3)
)
MS = 1_000_000


@pytest.fixture
def memory() -> Iterator[PageMemory]:
    made = PageMemory(FACTS)
    yield made
    made.close(unlink=True)


def picture(value: int = 7, height: int = 8, width: int = 12, channels: int = 4) -> np.ndarray:
    return np.random.default_rng(value).integers(0, 256, (height, width, channels), np.uint8)


def seen(value: int) -> Observation:
    return np.full((4, 6, 3), value, np.uint8)


def driven(index: int, started_ns: int = 0, **further: object) -> DrivenTick:
    raw = np.array([0.5, -0.25], np.float32)
    sent = Controls(0.5, 0.0, 0.25)
    sections = {"capture": 0.001, "preprocess": 0.002, "infer": 0.003, "send": 0.004}
    frame = Frame(picture(index), 0, index=10 + index)
    return DrivenTick(index, frame, seen(index % 256), raw, sent, 0.02, sections, started_ns, **further)  # type: ignore[arg-type]


def read(memory: PageMemory, row: int = -1) -> dict[str, float]:
    return dict(zip(FACTS.columns, memory.ticks.read_since(0)[row][2].tolist(), strict=True))


def test_a_tick_arrives_with_all_its_numbers(memory: PageMemory) -> None:
    stats = TickStats(0.04)
    stats.missed = 3
    with PageObserver(memory, stats, started_ns=0, swaps=lambda: 2) as observer:
        observer.on_tick(driven(0, 40 * MS, intervention=True, stuck="recovering"))
    row = read(memory)
    assert {name: value for name, value in row.items() if not math.isnan(value)} == {
        **{"index": 1, "kind": 0, "started_s": 0.04, "age_s": 0.02, "intervention": 1, "stuck": 2, "frame_index": 10},
        **{"capture_s": 0.001, "preprocess_s": 0.002, "infer_s": 0.003, "send_s": 0.004},
        **{"missed": 3, "deadlines": 0, "swaps": 2, "raw_steering": 0.5, "raw_pedal": -0.25},
        **dict(zip((f"sent_{name}" for name in AXIS_NAMES), (0.5, 0.0, 0.25, 0.0), strict=True)),
    }
    found = memory.read_frame()
    assert found is not None
    assert found[0] == 1
    assert np.array_equal(found[1], picture(0))


def test_blind_and_late_ticks_arrive_and_the_reason_is_told_once(memory: PageMemory) -> None:
    with PageObserver(memory, TickStats(0.04), 0) as observer:
        for index in range(3):
            observer.on_tick(BlindTick(index, "the window is gone", Controls(), {}, 0))
        late = driven(3)
        observer.on_tick(
            LateTick(3, late.frame, late.observation, late.prediction, Controls(), 0.3, late.sections_s, 0)
        )
        observer.on_tick(driven(4))
    rows = [memory.ticks.read_since(0)[at][2] for at in range(5)]
    assert [row[1] for row in rows] == [2, 2, 2, 1, 0]
    assert math.isnan(rows[0][FACTS.columns.index("raw_steering")])
    assert read(memory, 3)["age_s"] == 0.3
    _, notes = memory.read_notes(0)
    assert [(note["kind"], note.get("now"), note.get("reason")) for note in notes] == [
        ("begin", None, None),
        ("sight", "blind", "the window is gone"),
        ("sight", "late", ""),
        ("sight", "driven", ""),
        ("finish", None, None),
    ]


def test_weights_that_take_over_are_told_with_the_first_tick_that_they_decided(
    memory: PageMemory, tmp_path: Path
) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"")
    os.utime(tmp_path / "weights.safetensors", (5, 5))
    new = Weights("policy:model-12", "openvino", str(tmp_path))
    live, swaps = Live(memory), 0
    with PageObserver(memory, TickStats(0.04), 0, swaps=lambda: swaps, weights=lambda: new) as observer:
        for index in range(4):
            swaps = int(index >= 2)
            observer.on_tick(driven(index))
    live.read(frozenset())
    (note,) = (each for each in map(json.loads, live.board.notes.after(0)) if each["kind"] == "weights")
    assert (note["tick"], note["name"], note["engine"], note["made_s"]) == (3, "model-12", "openvino", 5)
    before = Weights("policy:model", "engine", "")
    assert [live.weights(stamp) for stamp in (0, 1, 2, 3, 4, None)] == [before, before, before, new, new, new]


def test_the_game_s_picture_is_passed_on_twenty_times_a_second_at_most(memory: PageMemory) -> None:
    with PageObserver(memory, TickStats(0.01), 0) as observer:
        for index in range(200):  # 2 s at 100 a second
            observer.on_tick(driven(index, index * 10 * MS))
    assert memory.frames.newest == 40
    assert memory.inputs.newest == 200


def test_a_very_large_picture_is_passed_on_with_fewer_pixels(memory: PageMemory) -> None:
    large = np.zeros((2160, 3840, 4), np.uint8)
    large[::2, ::2] = 9
    memory.write_frame(large, 5)
    found = memory.read_frame()
    assert found is not None
    assert found[1].shape == (1080, 1920, 4)
    assert found[1].nbytes <= FRAME_BYTES
    assert found[1].min() == 9


def test_a_note_that_is_too_long_is_cut(memory: PageMemory) -> None:
    memory.write_note("sight", reason="x" * 5000)
    (note,) = memory.read_notes(0)[1]
    assert (note["kind"], len(note["reason"])) == ("sight", 300)
    memory.write_note("many", **{f"name{number}": "x" * 290 for number in range(9)})
    assert memory.read_notes(0)[1][-1] == {"kind": "text", "text": "?"}


def test_laps_go_on_counting(memory: PageMemory) -> None:
    for _ in range(2):
        with PageObserver(memory, TickStats(0.04), 0) as observer:
            observer.on_tick(driven(0))
    assert [row[0] for _, _, row in memory.ticks.read_since(0)] == [1, 2]


def test_a_reader_that_was_away_for_long_gets_the_newest_ticks(memory: PageMemory) -> None:
    with PageObserver(memory, TickStats(0.04), 0) as observer:
        for index in range(TICKS + 100):
            observer.on_tick(BlindTick(index, "dark", Controls(), {}, 0))
    rows = memory.ticks.read_since(0)
    assert [int(row[0]) for _, _, row in rows] == list(range(102, TICKS + 101))


def test_pictures_are_made_only_while_somebody_looks(memory: PageMemory) -> None:
    live = Live(memory)
    with PageObserver(memory, TickStats(0.04), 0) as observer:
        observer.on_tick(driven(0))
        assert live.read(frozenset())
        assert live.board.picture(1) == live.board.picture(2) == (0, b"")
        observer.on_tick(driven(1, 100 * MS))
        assert live.read(frozenset({"game", "input"}))
    assert live.board.picture(1)[1][12:14] == live.board.picture(2)[1][12:14] == b"\xff\xd8", "JPEG"
    assert not live.read(frozenset({"game", "input"})) or live.board.notes.newest == 2
    assert not live.read(frozenset({"game", "input"}))


def test_the_last_thirty_seconds_are_remembered_exactly(memory: PageMemory) -> None:
    live = Live(memory)
    with PageObserver(memory, TickStats(0.04), 0) as observer:
        for index in range(800):  # 32 s
            observer.on_tick(driven(index, index * 40 * MS))
            live.read(frozenset())
    remembered = live.remembered()
    assert [int(tick.row[0]) for tick in remembered] == list(range(51, 801))
    assert all((tick.observation() == (tick.row[0] - 1) % 256).all() for tick in remembered)
    assert len(live.board.ticks.after(0)) == 750


def test_a_drive_on_a_virtual_clock_is_shown_in_the_time_of_the_wall(memory: PageMemory) -> None:
    times = iter((1000 * MS, 1010 * MS, 1100 * MS))
    with PageObserver(memory, TickStats(0.04), 500 * MS, clock=lambda: next(times)) as observer:
        for index in range(3):  # of the game's time, 40 ms lie between two
            observer.on_tick(driven(index, index * 40 * MS))
    started_s = [row[FACTS.columns.index("started_s")] for _, _, row in memory.ticks.read_since(0)]
    assert started_s == [0.5, 0.51, 0.6]
    assert memory.frames.newest == 2, "at most one every 50 ms"
