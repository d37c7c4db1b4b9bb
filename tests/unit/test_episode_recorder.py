"""Recording must never make the drive wait, and never lose a row without counting it."""

import errno
import itertools
import logging
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.episodes.columns import EncodedRow, EpisodeHeader, EpisodeRow
from agent.contract.episodes.reading import Episode
from agent.contract.episodes.writing import EpisodeWriter, encode_row
from agent.contract.errors import EpisodeError
from agent.contract.observation import Frame
from agent.observers import episode_writer
from agent.observers.base import BlindTick, DrivenTick, LateTick
from agent.observers.episode_writer import QUEUE_ROWS, EpisodeRecorder

HEADER = EpisodeHeader("carracing", "policy:test", rate_hz=10.0)


def make_record(index: int) -> DrivenTick:
    """Return a tick whose picture, number and controls all tell its index."""
    pixels = np.full((4, 6, 4), index, np.uint8)
    frame = Frame(pixels, captured_ns=index * 100_000_000, index=index)
    return DrivenTick(
        index,
        frame,
        pixels[..., :3],
        np.zeros(3, np.float32),
        Controls(index / 256),
        latency_s=0.01,
        sections_s={},
        started_ns=frame.captured_ns,
    )


def assert_nothing_shifted(episode: Episode, indices: list[int]) -> None:
    assert list(episode.tick) == indices
    assert [int(frame.pixels[0, 0, 0]) for frame in episode.frames()] == indices
    assert [round(float(value) * 256) for value in episode.controls[:, 0]] == indices
    np.testing.assert_array_equal(episode.controls, episode.executed)


def test_ticks_that_were_blind_or_late_are_not_recorded(tmp_path: Path) -> None:
    path = tmp_path / "episode.parquet"
    with EpisodeRecorder(path, HEADER, blocking=True) as recorder:
        for index in range(0, 9, 3):
            driven = make_record(index)
            late = LateTick(
                index + 1, driven.frame, driven.observation, driven.prediction, NEUTRAL, 0.3, {}, started_ns=0
            )
            for record in (driven, late, BlindTick(index + 2, "black", NEUTRAL, {}, started_ns=0)):
                recorder.on_tick(record)
    assert_nothing_shifted(Episode.open(path), [0, 3, 6])


def test_what_brings_a_stuck_car_off_is_no_label_and_a_person_is_one_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "episode.parquet"
    states = ("free", "recovering", "given_up", "recovering", "free")
    with EpisodeRecorder(path, HEADER, blocking=True) as recorder:
        for index, state in enumerate(states):
            recorder.on_tick(replace(make_record(index), stuck=state, intervention=index == 3))
    assert_nothing_shifted(Episode.open(path), [0, 3, 4])


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """A disk that takes rows only while the gate is open."""
    gate = threading.Event()
    write = EpisodeWriter.write

    def wait_and_write(self: EpisodeWriter, row: EpisodeRow) -> None:
        gate.wait()
        write(self, row)

    monkeypatch.setattr(EpisodeWriter, "write", wait_and_write)
    return gate


def test_every_tick_is_recorded_with_what_was_sent(tmp_path: Path) -> None:
    states = iter([(12.5, {"yaw_rate": 0.5}), (None, {"yaw_rate": 0.25})])
    with EpisodeRecorder(tmp_path / "a.parquet", HEADER, lambda: next(states)) as recorder:
        recorder.on_tick(make_record(0))
        recorder.on_tick(make_record(1))
    episode = Episode.open(tmp_path / "a.parquet")
    assert_nothing_shifted(episode, [0, 1])
    assert episode.header == HEADER
    assert recorder.dropped == 0
    assert recorder.problem is None
    np.testing.assert_array_equal(episode.speed, [12.5, np.nan])
    np.testing.assert_array_equal(episode.telemetry["yaw_rate"], [0.5, 0.25])


def test_a_slow_disk_never_makes_the_drive_wait(
    tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(episode_writer, "DISK_ROWS", 30)
    with EpisodeRecorder(tmp_path / "a.parquet", HEADER) as recorder:
        recorder.on_tick(make_record(0))
        # The disk's thread holds row 0, the other one the row for which there is no room, and both queues are full.
        room = 2 + 30 + QUEUE_ROWS
        for index in range(1, room):
            while recorder._queue.full():
                time.sleep(0.001)
            recorder.on_tick(make_record(index))
        while not (recorder._queue.full() and recorder._encoded.full()):
            time.sleep(0.001)
        for index in range(room, room + 10):
            recorder.on_tick(make_record(index))  # would never return if it waited
        gate.set()
    assert recorder.dropped == 10
    assert_nothing_shifted(Episode.open(tmp_path / "a.parquet"), list(range(room)))
    assert "lacks 10 ticks" in caplog.text


def test_in_lockstep_nothing_is_dropped(tmp_path: Path, gate: threading.Event) -> None:
    threading.Timer(0.05, gate.set).start()
    with EpisodeRecorder(tmp_path / "a.parquet", HEADER, blocking=True) as recorder:
        for index in range(3 * QUEUE_ROWS):
            recorder.on_tick(make_record(index))
    assert recorder.dropped == 0
    assert_nothing_shifted(Episode.open(tmp_path / "a.parquet"), list(range(3 * QUEUE_ROWS)))


def test_in_lockstep_a_kill_costs_a_second_at_most_however_slow_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, go_on = itertools.count(), threading.Event()

    def stall(descriptor: int) -> None:
        if next(synced) >= 2:  # the calls before: the new file's name, the first half second of rows
            go_on.wait()

    monkeypatch.setattr(os, "fsync", stall)
    taken = 0

    def drive() -> None:
        nonlocal taken
        with EpisodeRecorder(tmp_path / "a.parquet", HEADER, blocking=True) as recorder:
            for index in range(40):
                recorder.on_tick(make_record(index))
                taken += 1

    driving = threading.Thread(target=drive)
    driving.start()
    before = -1
    while before != taken or not taken:
        before = taken
        time.sleep(0.2)
    on_the_disk = len(Episode.open(tmp_path / "a.recording"))
    go_on.set()
    driving.join()
    assert on_the_disk >= 5
    assert before - on_the_disk <= HEADER.rate_hz
    assert_nothing_shifted(Episode.open(tmp_path / "a.parquet"), list(range(40)))


def test_more_than_a_second_that_waits_for_the_disk_is_told_at_once_and_once(
    tmp_path: Path, gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    told = []
    with EpisodeRecorder(tmp_path / "a.parquet", HEADER) as recorder:
        for rows in (range(5), range(5, 20)):
            for index in rows:
                recorder.on_tick(make_record(index))
            told.append(caplog.text.count("more than a second of the drive waits"))
        gate.set()
    assert told == [0, 1]
    assert recorder.dropped == 0
    assert recorder.problem is None, "nothing was lost"
    assert_nothing_shifted(Episode.open(tmp_path / "a.parquet"), list(range(20)))


def test_a_full_disk_is_reported_once_and_every_lost_row_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    synced = itertools.count()

    def disk_full_for_two_seconds(descriptor: int) -> None:
        if next(synced) in (2, 3):  # the calls before: the new file's name, the first second of rows
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full_for_two_seconds)
    recorder = EpisodeRecorder(
        tmp_path / "a.parquet", HEADER
    )  # whose queue holds all of it: a test that fails must not hang

    def drive() -> None:
        with recorder:
            for index in range(17):
                recorder.on_tick(make_record(index))

    with caplog.at_level(logging.ERROR), pytest.raises(EpisodeError, match="10 ticks were not recorded"):
        drive()
    assert "No space left on device" in str(recorder.problem)
    assert recorder.dropped == 10
    assert len(caplog.records) == 1
    assert_nothing_shifted(Episode.open(tmp_path / "a.parquet"), [0, 1, 2, 3, 4, 15, 16])


def test_a_recording_that_cannot_start_says_so_before_the_drive(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"an earlier drive")
    with pytest.raises(EpisodeError, match="never overwritten"):
        EpisodeRecorder(tmp_path / "a.parquet", HEADER).__enter__()


def test_recording_trouble_does_not_hide_why_the_drive_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: EpisodeWriter, row: EpisodeRow) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(EpisodeWriter, "write", fail)

    def drive() -> None:
        with EpisodeRecorder(tmp_path / "a.parquet", HEADER) as recorder:
            recorder.on_tick(make_record(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive()
    assert list(tmp_path.iterdir()) == []


def test_a_row_that_cannot_be_compressed_is_counted_and_the_others_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out_of_memory(row: EpisodeRow) -> EncodedRow:
        if row.frame.index in (2, 4):
            raise MemoryError
        return encode_row(row)

    monkeypatch.setattr(episode_writer, "encode_row", run_out_of_memory)
    recorder = EpisodeRecorder(tmp_path / "a.parquet", HEADER)

    def drive() -> None:
        with recorder:
            for index in range(7):
                recorder.on_tick(make_record(index))

    def drive_with_trouble() -> None:
        with pytest.raises(EpisodeError, match="2 ticks were not recorded"):
            drive()

    leaving = threading.Thread(target=drive_with_trouble, daemon=True)
    leaving.start()
    leaving.join(10)
    assert not leaving.is_alive(), "waits for a thread that has ended"
    assert "picture of tick 2 could not be compressed (MemoryError())" in str(recorder.problem)
    assert recorder.dropped == 2
    assert_nothing_shifted(Episode.open(tmp_path / "a.parquet"), [0, 1, 3, 5, 6])
