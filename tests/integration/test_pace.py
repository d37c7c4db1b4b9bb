"""How evenly loops keep their rate: the account, and that each loop here can be run."""

import json

import pytest

from agent.cli import main
from agent.contract.errors import MeasurementError
from agent.measuring import loop_jitter
from agent.measuring.loop_jitter import OURS, loop_names, run_turns, summarise

pytestmark = pytest.mark.thorough


def test_the_account_of_some_intervals() -> None:
    account = summarise("ours", "idle", 0.1, [0.1, 0.11, 0.09, 0.3])
    assert account.ticks == 4
    assert account.period_mean_s == pytest.approx(0.15)
    assert account.error_max_s == pytest.approx(0.2)
    assert account.missed_share == pytest.approx(2 / 6)  # the last interval swallowed two slots


def test_each_loop_runs_at_its_rate() -> None:
    assert loop_names() == (OURS, "rtgym")
    turns = []
    paces = list(run_turns(loop_names(), 50.0, 0.5, 1, 0.001, False, lambda: turns.append(1)))
    assert len(turns) == 4
    assert [(each.loop, each.condition) for each in paces] == [
        (OURS, "idle"),
        ("rtgym", "idle"),
        (OURS, "loaded"),
        ("rtgym", "loaded"),
    ]
    for each in paces:
        assert 20 <= each.ticks <= 25
        assert 0.005 < each.period_mean_s < 0.2


def test_a_loop_that_cannot_be_run_is_told() -> None:
    with pytest.raises(MeasurementError, match="the loop another's cannot be run"):
        list(run_turns(["another's"], 50.0, 0.1, 1, 0.0, False))


def test_the_command_prints_a_row_a_loop(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_jitter, "_SETTLING_S", 0.1)
    assert main(["pace", "--seconds", "0.2", "--rounds", "1", "--rate", "50", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(row["loop"], row["condition"]) for row in report["loops"]] == [(OURS, "idle"), (OURS, "loaded")]
    assert main(["pace", "--seconds", "0.2", "--rounds", "1"]) == 0
    assert "p99 off ms" in capsys.readouterr().out
