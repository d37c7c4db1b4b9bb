"""Faults injected into a real drive, and how what the pad shows is judged."""

import itertools
import json
import math
import os
import sys

import pytest

from agent.cli import main
from agent.contract.controls import NEUTRAL, Controls
from agent.measuring.faults.catalogue import FAULTS, LIMIT_S, Outcome, available
from agent.measuring.faults.injection import _away_s, _Drive, _longest_hold_s, _Shown, inject

pytestmark = pytest.mark.thorough

FULL = Controls(1.0, 1.0)


def shown(*states: tuple[float, Controls | None]) -> list[_Shown]:
    return [_Shown(round(at_s * 1e9), controls) for at_s, controls in states]


@pytest.mark.parametrize(
    ("states", "away_s"),
    [
        ([(0.9, FULL), (1.1, NEUTRAL)], 0.1),
        ([(0.9, FULL), (1.1, None)], 0.1),  # unplugged
        ([(0.9, FULL), (1.1, NEUTRAL), (1.2, NEUTRAL), (1.3, NEUTRAL)], 0.1),
        ([(0.9, FULL), (1.1, NEUTRAL), (1.2, FULL), (1.4, NEUTRAL)], 0.4),  # not for good
        ([(0.8, FULL), (0.9, NEUTRAL)], 0.0),  # before it counts
        ([(0.9, FULL), (1.1, NEUTRAL), (2.5, FULL)], 0.1),  # after it has passed
        ([(0.9, FULL)], math.inf),
        ([(0.9, FULL), (1.1, NEUTRAL), (1.9, FULL)], math.inf),
        ([], math.inf),
    ],
)
def test_the_time_away_from_neutral(states: list[tuple[float, Controls | None]], away_s: float) -> None:
    assert _away_s(shown(*states), 1_000_000_000, 2_000_000_000) == pytest.approx(away_s)


def test_the_longest_time_controls_were_held() -> None:
    states = shown((0.0, FULL), (1.05, FULL), (1.2, NEUTRAL), (1.8, FULL), (1.85, FULL), (2.1, FULL))
    assert _longest_hold_s(states, 1_000_000_000, 2_000_000_000) == pytest.approx(0.25)


def test_a_promise_is_broken_by_time_and_by_not_driving_on() -> None:
    assert Outcome("black", LIMIT_S, True).kept
    assert Outcome("killed", LIMIT_S, None).kept
    assert not Outcome("black", LIMIT_S + 0.001, True).kept
    assert not Outcome("black", 0.0, False).kept


def test_a_drive_goes_on_after_what_passes_and_the_pad_is_neutral_after_what_does_not() -> None:
    chosen = [fault for fault in available() if fault.name in ("focus", "nan", "killed", "guard-killed")]
    outcomes = list(inject(chosen, 1))
    assert [outcome.fault for outcome in outcomes] == [fault.name for fault in chosen]
    assert all(math.isfinite(outcome.neutral_s) for outcome in outcomes)
    assert [outcome.drove_on for outcome in outcomes] == [True, None, None, None]


def test_a_window_made_anew_and_a_hotkey_that_is_held_are_survived() -> None:
    chosen = [fault for fault in available() if fault.name in ("window-anew", "hotkey-held")]
    outcomes = list(inject(chosen, 1))
    assert [outcome.fault for outcome in outcomes] == ["window-anew", "hotkey-held"]
    assert all(math.isfinite(outcome.neutral_s) for outcome in outcomes)
    assert [outcome.drove_on for outcome in outcomes] == [True, True]


def test_a_pad_that_falls_asleep_and_an_overload_of_an_ordinary_user_are_survived() -> None:
    chosen = [fault for fault in available() if fault.name in ("pad-asleep", "ordinary-user")]
    outcomes = list(inject(chosen, 1))
    assert [outcome.fault for outcome in outcomes] == ["pad-asleep", "ordinary-user"]
    assert all(math.isfinite(outcome.neutral_s) for outcome in outcomes)
    assert [outcome.drove_on for outcome in outcomes] == [True, True]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_ordinary_users_guard_has_no_right_to_real_time() -> None:
    with _Drive(as_user=True) as drive:
        assert os.sched_getscheduler(drive._log.guard_pid) & ~os.SCHED_RESET_ON_FORK == os.SCHED_OTHER


def test_what_the_harmed_drive_said_is_told_where_it_broke_the_promise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (engine,) = [fault for fault in available() if fault.name == "engine"]
    monkeypatch.setattr(Outcome, "kept", False)
    (outcome,) = inject([engine], 1)
    assert "the runtime failed" in outcome.said
    monkeypatch.setattr("agent.measuring.faults.session.inject", lambda faults, times: iter([outcome]))
    monkeypatch.setattr("agent.measuring.faults.session.guard_latencies_s", lambda sends: [0.001])
    assert main(["faults", "--only", "engine", "--count", "1"]) == 1
    assert "it said: agent.contract.errors.EngineError: the runtime failed" in capsys.readouterr().err


@pytest.mark.slow
def test_every_fault_leaves_the_pad_neutral_in_time() -> None:
    outcomes = list(inject(available(), 3))
    assert len(outcomes) == 3 * len(available())
    assert [outcome for outcome in outcomes if not outcome.kept] == []


def test_the_command_lists_and_chooses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [fault.name for fault in available()]
    assert main(["faults", "--only", "blck"]) == 1
    assert "fault 'blck' is unknown, expected one of: black, " in capsys.readouterr().err


def test_the_command_counts_what_it_injected(capsys: pytest.CaptureFixture[str]) -> None:
    main(["faults", "--only", "minimised", "--count", "2", "--json"])
    report = json.loads(capsys.readouterr().out)
    (row,) = report["faults"]
    assert (report["injected"], report["interrupted"], report["limit_s"]) == (2, False, LIMIT_S)
    assert (row["name"], row["injected"], row["drove_on"], row["never_neutral"]) == ("minimised", 2, 2, 0)
    assert 0 <= row["neutral_after_p50_s"] <= row["neutral_after_max_s"]
    assert 0 < report["guard_latency_s"]["p50"] <= report["guard_latency_s"]["max"]


def test_names_are_keys() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)
    assert all(first.passes >= second.passes for first, second in itertools.pairwise(FAULTS)), "those that pass first"
    assert sys.platform == "win32" or available() == FAULTS
