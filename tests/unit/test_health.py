"""What a drive takes from the system: sampled now and then, with trends."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from agent.contract.controls import NEUTRAL
from agent.contract.errors import AgentError
from agent.contract.observation import Frame
from agent.observers.base import BlindTick, DrivenTick
from agent.observers.health import HealthLog, HealthSample
from agent.system.pacing import Pacer, TickStats, VirtualClock

PICTURE = np.zeros((2, 2, 3), np.uint8)


def drive(log: HealthLog, clock: VirtualClock, seconds: float) -> None:
    """Tick ten times a second, every tenth tick taking three periods."""
    pacer = Pacer(0.1, clock, clock.sleep)
    with log.of(pacer.stats) as observer:
        for tick in pacer.ticks():
            if pacer.stats.deadlines > seconds * 10:
                break
            frame = Frame(PICTURE, tick.started_ns)
            clock.sleep(0.25 if tick.index % 10 == 9 else 0.01)
            observer.on_tick(DrivenTick(tick.index, frame, PICTURE, np.zeros(3), NEUTRAL, 0.0, {}, clock()))


def test_a_drive_that_sees_nothing_is_sampled_too(tmp_path: Path) -> None:
    clock = VirtualClock()
    log = HealthLog(tmp_path / "health.json", 10.0, clock)
    with log.of(TickStats(0.1)) as observer:
        for index in range(3):
            observer.on_tick(BlindTick(index, "black", NEUTRAL, {}, clock()))
            clock.sleep(10)
    assert [sample.time_s for sample in log.samples] == [0, 10, 20]


def test_samples_are_taken_every_so_often_over_several_laps(tmp_path: Path) -> None:
    path = tmp_path / "health.json"
    clock = VirtualClock()
    log = HealthLog(path, 10.0, clock)
    drive(log, clock, 60)
    drive(log, clock, 60)
    report = json.loads(path.read_text())
    samples = report["samples"]
    assert len(samples) == pytest.approx(12, abs=1)
    assert [sample["time_s"] for sample in samples] == pytest.approx(np.arange(len(samples)) * 10, abs=3)
    assert all(sample["memory_mb"] > 10 and sample["handles"] >= 3 and sample["threads"] >= 1 for sample in samples)
    missed = sum(sample["missed"] for sample in samples) / sum(sample["deadlines"] for sample in samples)
    assert missed == pytest.approx(2 / 12, abs=0.03)
    assert set(report["growth_per_hour"]) == {"memory_mb", "children_memory_mb", "handles", "threads", "missed"}
    assert "handles" in log.describe()
    assert os.listdir(tmp_path) == ["health.json"]


def test_trends_are_slopes_without_the_beginning() -> None:
    log = HealthLog(Path("unused"))
    for index in range(100):
        memory_mb = 500.0 if index < 10 else 100.0 + index * 0.5
        log.samples.append(HealthSample(index * 36.0, memory_mb, 50.0, 12, 4, 300, index % 2))
    trends = log.trends()
    assert trends["memory_mb"] == pytest.approx(50.0)
    assert trends["children_memory_mb"] == pytest.approx(0.0, abs=1e-9)
    assert trends["missed"] == pytest.approx(0.0, abs=0.1)
    assert log.describe().startswith("growth per hour, over 0.99 h: memory +50.00 MB")


def test_a_short_drive_has_no_trends() -> None:
    assert HealthLog(Path("unused")).describe() == ""


def test_a_file_that_cannot_be_written_prevents_the_drive(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    observer = HealthLog(tmp_path / "file" / "health.json").of(TickStats(0.1))
    with pytest.raises(AgentError, match="cannot be written"):
        observer.__enter__()
