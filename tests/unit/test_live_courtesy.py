"""The trainer pauses while the drive is late, and what it costs the drive is counted."""

from itertools import pairwise

from training.live.courtesy import PAUSE_S, RUNS_S, Courtesy


def told(courtesy: Courtesy, misses: list[int], trains: bool = True, start_s: int = 0) -> list[tuple[int, str]]:
    """Have it look every second; ``misses`` are those of each second, of 20 deadlines."""
    orders = []
    missed = courtesy._seen.missed
    for second, new in enumerate(misses, start_s):
        missed += new
        order = courtesy.look(float(second), missed, 20 * second, trains)
        if order is not None:
            orders.append((second, order))
    return orders


def test_a_drive_that_is_in_time_disturbs_nobody() -> None:
    courtesy = Courtesy()
    assert told(courtesy, [0, 1, 0, 1, 1, 0]) == []
    assert (courtesy.while_training.missed, courtesy.while_training.deadlines) == (3, 100)
    assert courtesy.paused_s == 0


def test_a_late_drive_has_the_trainer_pause_for_a_while() -> None:
    courtesy = Courtesy()
    assert told(courtesy, [0, 0, 5, *[0] * 8]) == [(2, "pause"), (2 + PAUSE_S, "go")]
    assert courtesy.paused_s == PAUSE_S
    assert (courtesy.while_training.missed, courtesy.otherwise.missed) == (5, 0)
    assert courtesy.otherwise.deadlines == 20 * PAUSE_S


def test_whatever_makes_the_drive_late_the_trainer_gets_two_thirds_of_the_time() -> None:
    courtesy = Courtesy()
    orders = told(courtesy, [5] * 120)
    pauses = [second for second, order in orders if order == "pause"]
    assert all(after - before == PAUSE_S + RUNS_S for before, after in pairwise(pauses))
    assert 0.3 < courtesy.paused_s / 120 < 0.4


def test_a_trainer_that_waits_for_samples_is_not_told_to_pause() -> None:
    courtesy = Courtesy()
    assert told(courtesy, [5] * 10, trains=False) == []
    assert courtesy.otherwise.missed == 45 + 5
    assert courtesy.while_training.missed == 0
