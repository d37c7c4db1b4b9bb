"""Figures over several laps."""

import numpy as np
import pytest

from agent.driving.summary import DriveSummary
from agent.games.base import DriveState
from agent.sessions.live import Lap, overall_timing
from agent.system.pacing import Tick, TickStats, VirtualClock


def lap(starts_s: list[float], missed: int = 0) -> Lap:
    clock = VirtualClock()
    stats = TickStats(period_s=0.04)
    for index, start_s in enumerate(starts_s):
        tick = Tick(index, 0, round(start_s * 1e9), clock)
        tick.latency_s = 0.01 * (index + 1)
        stats.add(tick, missed if index == 0 else 0, missed if index == 0 else 0)
    state = DriveState(1.0, 0.0, 0.0, "lap", 0.0)
    return Lap(0, state, DriveSummary(stats), 0.0, None, 0, 0.0, 0)


def test_single_lap_keeps_its_own_figures() -> None:
    single = lap([0.0, 0.04, 0.09, 0.12], missed=2)
    timing = single.summary.stats.summarise()
    overall = overall_timing([single])
    assert overall["ticks"] == 4
    assert overall["missed_deadlines"] == 2
    assert overall["missed_share"] == timing.missed_share == pytest.approx(2 / 6)
    for name in ("rate_hz", "period_s", "interval_mean_s", "interval_sd_s", "interval_p99_error_s", "latency_p99_s"):
        assert overall[name] == pytest.approx(getattr(timing, name))


def test_several_laps_are_pooled_and_the_pause_between_them_does_not_count() -> None:
    first, second = [0.0, 0.04, 0.09, 0.12], [100.0, 100.05, 100.11]
    overall = overall_timing([lap(first, missed=1), lap(second)])
    intervals = np.concatenate([np.diff(first), np.diff(second)])
    assert overall["ticks"] == 7
    assert overall["missed_share"] == pytest.approx(1 / 8)
    assert overall["interval_mean_s"] == pytest.approx(intervals.mean())
    assert overall["interval_sd_s"] == pytest.approx(intervals.std())
    assert overall["interval_p99_error_s"] == pytest.approx(np.percentile(np.abs(intervals - 0.04), 99))
    assert overall["latency_max_s"] == pytest.approx(0.04)


def test_latencies_of_several_laps_are_those_of_the_worst() -> None:
    short, long = lap([0.0, 0.04]), lap([0.0, 0.04, 0.08, 0.12])  # the longer a lap, the later its decisions
    for laps in ([short, long], [long, short]):
        overall = overall_timing(laps)
        assert overall["latency_p50_s"] == pytest.approx(0.025)
        assert overall["latency_p99_s"] == pytest.approx(0.0397)
        assert overall["latency_max_s"] == pytest.approx(0.04)


def test_laps_without_ticks_are_harmless() -> None:
    overall = overall_timing([lap([])])
    assert (overall["ticks"], overall["missed_share"], overall["rate_hz"]) == (0, 0.0, 0.0)
