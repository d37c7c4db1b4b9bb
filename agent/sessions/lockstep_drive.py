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
    """Put a simulator on a track and drive until the episode is over; nothing depends on how fast the machine is.

    Args:
        simulator: Left open, in the state in which the drive ended.
        policy: What decides; stays open.
        seed: The track's.
        hold_ticks: Physics ticks for which each decision is held.
        observers_for: Makes the side jobs, once the simulator is on its track.
        limit_s: Simulated seconds after which the drive ends at the latest.

    Returns:
        The loop's account; how the drive itself went, the simulator's state tells.

    Raises:
        ValueError: If ``hold_ticks`` is not positive.
        AgentError: If the game or the policy fails.
    """
    simulator.reset(seed)
    clock = VirtualClock()
    lockstep = Lockstep(simulator, clock, hold_ticks)
    pacer = Pacer(lockstep.period_s, clock, clock.sleep)
    # The clock of physics adds up rounding errors: half a tick keeps the last one from slipping in.
    last_s = limit_s - simulator.tick_s / 2

    def is_over() -> bool:
        state = simulator.state
        return state.outcome != "driving" or state.time_s > last_s

    return drive(lockstep, lockstep, policy, pacer, observers_for(lockstep), is_over)
