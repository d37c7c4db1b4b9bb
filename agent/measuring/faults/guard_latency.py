"""Measures how long controls take through the guard."""

import functools
import json
import tempfile
from pathlib import Path
from typing import Self

from agent.contract.controls import Controls
from agent.controllers.guard.client import GuardedController
from agent.measuring.faults.catalogue import RATE_HZ
from agent.system.pacing import Pacer, clock_ns


def guard_latencies_s(sends: int) -> list[float]:
    """Return how many seconds controls take from the sender to the guard's pad, at the rate of a drive.

    Without a guard, a controller would have them at once. So this is the cost of the guard.

    Args:
        sends: How many controls to send. The first is not measured, because both processes are still cold.

    Returns:
        One time for each, except for controls that expired on their way.

    Raises:
        ControllerError: If the guard ends.
    """
    handed_ns = dict[float, int]()
    with tempfile.TemporaryDirectory() as folder:
        arrivals = Path(folder) / "arrivals"
        with GuardedController(functools.partial(_ClockPad, arrivals)) as controller:
            for tick in Pacer(1.0 / RATE_HZ).ticks():
                if tick.index > sends:
                    break
                controls = Controls(steering=(tick.index + 1) / (sends + 1))
                handed_ns[controls.steering] = clock_ns()
                controller.send(controls)
        arrived_ns: dict[float, int] = dict(json.loads(arrivals.read_text()))
    handed_ns.pop(min(handed_ns))
    return [(arrived_ns[steering] - at_ns) / 1e9 for steering, at_ns in handed_ns.items() if steering in arrived_ns]


class _ClockPad:
    """A gamepad that notes what it is sent and when. It tells this at the end, so as to disturb nobody before."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._sent: list[tuple[float, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.write_text(json.dumps(self._sent))

    def send(self, controls: Controls) -> None:
        self._sent.append((controls.steering, clock_ns()))

    def hold(self, name: str) -> None:
        pass

    def release(self, name: str) -> None:
        pass
