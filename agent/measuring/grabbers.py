"""Which grabber reads a part of the screen the fastest here."""

import statistics
from collections.abc import Callable, Sequence

from agent.capture.base import Grabber
from agent.capture.registry import grabber_names, open_grabber
from agent.contract.errors import AgentError
from agent.contract.profile import Region
from agent.system.pacing import clock_ns

_GRABS = 20


def grab_times_s(
    region: Region, names: Sequence[str] | None = None, open_it: Callable[[str], Grabber] = open_grabber
) -> dict[str, float]:
    """Return the median seconds of a grab by each grabber that can read a region, the fastest first.

    Args:
        region: The part of the screen.
        names: The grabbers; all that there are if None.
        open_it: Opens one.
    """
    found: dict[str, float] = {}
    for name in grabber_names() if names is None else names:
        try:
            grabber = open_it(name)
        except AgentError:  # not installed, or not for this machine
            continue
        try:
            grabber.grab(region)  # the first is slow with every one of them
            found[name] = statistics.median(_grab_s(grabber, region) for _ in range(_GRABS))
        except AgentError:
            continue
        finally:
            grabber.close()
    return dict(sorted(found.items(), key=lambda each: each[1]))


def _grab_s(grabber: Grabber, region: Region) -> float:
    before_ns = clock_ns()
    grabber.grab(region)
    return (clock_ns() - before_ns) / 1e9
