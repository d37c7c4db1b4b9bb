"""One episode of a simulator that waits for its driver."""

import math
from collections.abc import Callable, Sequence

from agent.driving.loop import drive
from agent.driving.summary import DriveSummary
from agent.games.base import Simulator
from agent.games.lockstep import Lockstep
from agent.observers.base import TickObserver
from agent.policies.base import Policy
from agent.system.pacing import Pacer, VirtualClock


def drive_in_lockstep(
    simulator: Simulator,
    policy: Policy,
    seed: int,
    hold_ticks: int,
    observers_for: Callable[[Lockstep], Sequence[TickObserver]] = lambda lockstep: (),
    limit_s: float = math.inf,
) -> DriveSummary:
    """Reset a simulator to a track and drive until the episode is over; nothing depends on the machine's speed.

    Args:
        simulator: Left open, in the state at the end of the drive.
        policy: What decides; stays open.
        seed: The track's seed.
        hold_ticks: Physics ticks for which each decision is held.
        observers_for: Makes the observers, once the simulator is on its track.
        limit_s: Simulated seconds after which the drive ends at the latest.

    Returns:
        The loop's summary; the result of the drive is in the simulator's state.

    Raises:
        ValueError: If ``hold_ticks`` is not positive.
        AgentError: If the game or the policy fails.
    """
    simulator.reset(seed)
    clock = VirtualClock()
    lockstep = Lockstep(simulator, clock, hold_ticks)
    pacer = Pacer(lockstep.period_s, clock, clock.sleep)
    # The clock of the physics adds up rounding errors. Half a tick of tolerance prevents one tick too many.
    last_s = limit_s - simulator.tick_s / 2

    def is_over() -> bool:
        state = simulator.state
        return state.outcome != "driving" or state.time_s > last_s

    return drive(lockstep, lockstep, policy, pacer, observers_for(lockstep), is_over)
