"""The pacer on a virtual clock: exact equality, no waiting."""

import math
import subprocess
import sys
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.system.pacing import Pacer, Tick, TickStats, VirtualClock, clock_ns

MS = 1_000_000


def starts(pacer: Pacer, clock: VirtualClock, work_ns: list[int]) -> list[int]:
    """Run one tick per entry, each taking that long, and return when they started."""
    started = []
    ticks = pacer.ticks()
    for work in work_ns:
        started.append(next(ticks).started_ns)
        clock.advance_to(clock() + work)
    next(ticks)  # completes the last one
    return started


def test_ticks_start_on_the_grid_whatever_the_work_below_a_period() -> None:
    clock = VirtualClock(5 * MS)
    pacer = Pacer(0.04, clock, clock.sleep)
    assert starts(pacer, clock, [1 * MS, 39 * MS, 40 * MS, 0]) == [5 * MS, 45 * MS, 85 * MS, 125 * MS]
    assert (pacer.stats.ticks, pacer.stats.missed, pacer.stats.deadlines) == (4, 0, 4)


@given(st.floats(0.001, 1.0), st.integers(0, 100_000))
def test_ticks_never_drift(period_s: float, slot: int) -> None:
    clock = VirtualClock()
    ticks = Pacer(period_s, clock, clock.sleep).ticks()
    next(ticks)
    clock.advance_to(round(slot * period_s * 1e9))
    assert next(ticks).deadline_ns == round(max(slot, 1) * period_s * 1e9)


def test_a_long_stall_skips_its_slots_and_counts_them() -> None:
    clock = VirtualClock()
    pacer = Pacer(0.03, clock, clock.sleep)
    # 75 ms of work: the deadlines at 30 and 60 ms pass; 60 is 15 ms ago, half a period, so 90 is next.
    assert starts(pacer, clock, [75 * MS, 0, 0]) == [0, 90 * MS, 120 * MS]
    assert (pacer.stats.missed, pacer.stats.deadlines) == (2, 5)
    assert pacer.stats.summarise().missed_share == 2 / 5


def test_a_slight_overrun_starts_the_next_tick_at_once_and_returns_to_the_grid() -> None:
    clock = VirtualClock()
    pacer = Pacer(0.04, clock, clock.sleep)
    assert starts(pacer, clock, [42 * MS, 1 * MS, 0]) == [0, 42 * MS, 80 * MS]
    assert (pacer.stats.missed, pacer.stats.deadlines) == (1, 3)


@pytest.mark.parametrize(("late_ms", "next_ms"), [(10, 50), (10.001, 80)])
def test_a_tick_starts_late_by_a_quarter_of_a_period_at_most(late_ms: float, next_ms: int) -> None:
    clock = VirtualClock()
    pacer = Pacer(0.04, clock, clock.sleep)
    assert starts(pacer, clock, [round((40 + late_ms) * MS), 0]) == [0, next_ms * MS]


def test_work_that_ends_exactly_at_the_deadline_misses_nothing() -> None:
    clock = VirtualClock()
    pacer = Pacer(1 / 30, clock, clock.sleep)
    ticks = pacer.ticks()
    for slot in range(1, 1000):
        next(ticks)
        clock.advance_to(round(slot * (1 / 30) * 1e9))
    assert (next(ticks).lateness_s, pacer.stats.missed) == (0.0, 0)


@given(st.lists(st.integers(1, 200 * MS), min_size=1, max_size=50))
def test_there_is_never_a_burst_and_every_deadline_is_accounted_for(work_ns: list[int]) -> None:
    clock = VirtualClock()
    period_ns = 40 * MS
    pacer = Pacer(0.04, clock, clock.sleep)
    started, missed = [], 0
    ticks = pacer.ticks()
    for work in work_ns:
        started.append(next(ticks).started_ns)
        clock.advance_to(clock() + work)
        missed += (clock() - 1) // period_ns - started[-1] // period_ns  # grid points strictly within the work
    pending = next(ticks)
    assert all(later - earlier >= 0.75 * period_ns for earlier, later in pairwise(started))
    assert pacer.stats.missed == missed
    assert pacer.stats.deadlines == pending.deadline_ns // period_ns


def test_sleep_that_wakes_early_is_repeated() -> None:
    clock = VirtualClock()
    pacer = Pacer(0.04, clock, lambda seconds: clock.advance_to(clock() + max(1, round(seconds * 1e9 / 2))))
    assert starts(pacer, clock, [0, 0]) == [0, 40 * MS]


@pytest.mark.parametrize("period_s", [0.0, -1.0, math.nan, math.inf])
def test_an_impossible_period_is_refused(period_s: float) -> None:
    with pytest.raises(ValueError, match="positive number of seconds"):
        Pacer(period_s)


def test_the_account_of_a_drive() -> None:
    clock = VirtualClock()
    pacer = Pacer(0.1, clock, clock.sleep)
    ticks = pacer.ticks()
    for latency_ms in (10, 20, 30, 120):
        tick = next(ticks)
        captured_ns = clock()
        with tick.section("capture"):
            clock.sleep(0.004)
        with tick.section("infer"):
            clock.advance_to(captured_ns + latency_ms * MS)
        assert tick.mark_sent(captured_ns) == latency_ms / 1000
    next(ticks)
    timing = pacer.stats.summarise()
    assert (timing.ticks, timing.missed_deadlines, timing.missed_share) == (4, 1, 0.25)  # 420 ms: late, not skipped
    assert (timing.rate_hz, timing.interval_mean_s, timing.interval_sd_s) == (
        10.0,
        pytest.approx(0.1),
        pytest.approx(0),
    )
    assert (timing.latency_p50_s, timing.latency_max_s) == (0.025, 0.12)
    assert timing.latency_p90_s == pytest.approx(0.093)
    assert timing.sections_s == {"capture": 0.004, "infer": pytest.approx(0.021)}


def test_jitter_is_measured_between_starts() -> None:
    stats = TickStats(0.1)
    for index, started_ms in enumerate((0, 90, 210, 300)):
        stats.add(Tick(index, 0, started_ms * MS, clock_ns))
    timing = stats.summarise()
    assert timing.interval_mean_s == pytest.approx(0.1)
    assert timing.interval_sd_s == pytest.approx(math.sqrt((0.01**2 + 0.02**2 + 0.01**2) / 3))
    assert timing.interval_p99_error_s == pytest.approx(0.0198)  # between 10, 10 and 20 ms


def test_an_empty_drive_has_an_account_too() -> None:
    timing = TickStats(0.1).summarise()
    assert (timing.ticks, timing.rate_hz, timing.interval_sd_s, timing.latency_p99_s) == (0, 0.0, 0.0, 0.0)


def test_memory_is_bounded_and_percentiles_are_those_of_the_newest_ticks() -> None:
    stats = TickStats(1.0, remembered_ticks=3)
    for index in range(10):
        tick = Tick(index, 0, index * 1_000 * MS, clock_ns)
        tick.latency_s = float(index)
        stats.add(tick)
    timing = stats.summarise()
    assert (timing.ticks, timing.latency_p50_s, timing.latency_max_s, timing.rate_hz) == (10, 8.0, 9.0, 1.0)


def test_the_account_of_a_lap_is_no_larger_than_the_lap() -> None:
    """Every lap's is kept to the end of the drive: in ten minutes of laps they once took 140 MB."""
    tracemalloc.start()
    laps = [TickStats(0.04) for _ in range(30)]
    for stats in laps:
        for index in range(600):
            tick = Tick(index, 0, index * 40 * MS, clock_ns)
            tick.latency_s = index / 600
            tick.sections_s = {"infer": 0.01}
            stats.add(tick)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert laps[-1].summarise().latency_p50_s == pytest.approx(299.5 / 600)
    assert taken < 30 * 600 * 3 * 8 * 2


def test_a_virtual_clock_does_not_run_backwards() -> None:
    clock = VirtualClock(10)
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance_to(9)


def test_the_real_clock_is_the_default_and_is_waited_for() -> None:
    ticks = Pacer(0.002).ticks()
    first = next(ticks)
    assert next(ticks).started_ns - first.started_ns >= 2 * MS


def test_the_clock_is_the_same_in_every_process_and_fine_enough_to_pace() -> None:
    before_ns = clock_ns()
    program = "from agent.system.pacing import clock_ns; print(clock_ns())"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert before_ns < int(answer.stdout) < clock_ns()
    readings = {clock_ns() for _ in range(10_000)}
    assert min(later - earlier for earlier, later in pairwise(sorted(readings))) < 100_000, (
        "not in timer ticks of 16 ms"
    )
