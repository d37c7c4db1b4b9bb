"""A simulator that waits for its driver, as a frame source and a controller."""

from typing import Self

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.observation import Frame
from agent.games.base import Simulator
from agent.system.pacing import VirtualClock


class Lockstep:
    """Both ends of the loop for one episode: pass it to ``drive`` as source and as controller.

    Simulated time passes only when controls are sent, always by ``hold_ticks`` ticks, and the clock follows it. So a
    pacer with this :attr:`period_s` on the same clock never waits and never misses a deadline, on any machine. The
    latency that it reports is the period, by construction.

    Args:
        simulator: Already reset; the caller closes it.
        clock: The virtual clock that the pacer reads.
        hold_ticks: Physics ticks for which each decision is held.

    Attributes:
        held: The present controls; neutral once the drive is over.
        period_s: Simulated seconds from one decision to the next.
        shown: The state in the newest frame. Once the controls are sent, the simulator's own state is newer.

    Raises:
        ValueError: If ``hold_ticks`` is not positive.
    """

    def __init__(self, simulator: Simulator, clock: VirtualClock, hold_ticks: int) -> None:
        if hold_ticks < 1:
            raise ValueError(f"a decision cannot be held for {hold_ticks} ticks, expected at least 1")
        self.held = NEUTRAL
        self.shown = simulator.state
        self.period_s = hold_ticks * simulator.tick_s
        self._simulator = simulator
        self._clock = clock
        self._hold_ticks = hold_ticks
        self._start_ns = clock()
        self._decisions = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.held = NEUTRAL

    def read(self) -> Frame:
        """Draw the game as it is now. The frame's index is the physics tick."""
        self.shown = self._simulator.state
        return Frame(self._simulator.render(), captured_ns=self._clock(), index=self._decisions * self._hold_ticks)

    def send(self, controls: Controls) -> None:
        """Hold the controls for ``hold_ticks`` physics ticks."""
        self.held = controls
        self._simulator.advance(controls, self._hold_ticks)
        self._decisions += 1
        # From the count, with the pacer's own arithmetic: equal to the nanosecond, so no tick is early or late.
        self._clock.advance_to(self._start_ns + round(self._decisions * self.period_s * 1e9))
