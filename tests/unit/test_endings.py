"""What ended a drive is returned if it had begun, and raised if it never began."""

import pytest

from agent.contract.errors import AgentError, CaptureError
from agent.driving.summary import DriveSummary
from agent.sessions.endings import end_of
from agent.system.pacing import TickStats


@pytest.mark.parametrize("end", [None, KeyboardInterrupt(), CaptureError("the window was closed")])
def test_a_drive_that_had_begun_returns_what_ended_it(end: BaseException | None) -> None:
    summary = DriveSummary(TickStats(0.1))

    def run() -> None:
        if isinstance(end, AgentError):
            summary.fault = str(end)
        if end is not None:
            raise end

    assert end_of(run, summary) is end


def test_a_drive_that_never_began_is_an_error() -> None:
    def run() -> None:
        raise CaptureError("no window")

    with pytest.raises(CaptureError, match="no window"):
        end_of(run, DriveSummary(TickStats(0.1)))
