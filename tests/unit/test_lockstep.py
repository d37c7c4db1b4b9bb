"""What a simulator in lockstep does beyond every controller's behaviour, which ``test_behaviour.py`` tests."""

import pytest
from fake_game import FakeGame

from agent.contract.controls import Controls
from agent.games.lockstep import Lockstep
from agent.system.pacing import Pacer, VirtualClock

LEFT = Controls(-0.5, 0.25, 0.0)


def test_lockstep_holds_each_decision_and_time_passes_with_it() -> None:
    game, clock = FakeGame(), VirtualClock(1_000)
    with Lockstep(game, clock, hold_ticks=3) as lockstep:
        before = lockstep.read()
        again = lockstep.read()
        lockstep.send(LEFT)
        after = lockstep.read()
    assert (before.index, again.index, after.index) == (0, 0, 3)
    assert (before.captured_ns, after.captured_ns) == (1_000, 50_001_000)
    assert (before.pixels.max(), after.pixels.max()) == (0, 3)
    assert game.commands == [(LEFT, 3)]  # leaving costs no simulated time


def test_lockstep_and_its_pacer_agree_to_the_nanosecond() -> None:
    clock = VirtualClock()
    lockstep = Lockstep(FakeGame(), clock, hold_ticks=1)  # 16,666,666.7 ns: rounded steps would add up
    pacer = Pacer(lockstep.period_s, clock, clock.sleep)
    for tick in pacer.ticks():
        assert tick.lateness_s == 0.0
        assert clock() == tick.deadline_ns
        if tick.index == 2_000:
            break
        lockstep.send(LEFT)
    assert pacer.stats.missed == 0


def test_lockstep_refuses_to_hold_for_nothing() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Lockstep(FakeGame(), VirtualClock(), 0)
