"""How a drive begins and ends, for every kind of live drive alike."""

import logging
from collections.abc import Callable
from typing import Self

from agent.contract.errors import AgentError
from agent.driving.summary import DriveSummary
from agent.observers.base import TickRecord

_log = logging.getLogger(__name__)


def end_of(run: Callable[[], object], summary: DriveSummary) -> KeyboardInterrupt | AgentError | None:
    """Drive; return what ended the drive early: Ctrl-C, or the fault that is in its summary. None if nothing did.

    Raises:
        AgentError: If the drive never began.
    """
    try:
        run()
    except KeyboardInterrupt as exc:
        return exc
    except AgentError as exc:
        if summary.fault is None:
            raise
        _log.debug("the fault", exc_info=exc)
        return exc
    return None


class FirstDecision:
    """Notes when the first controls were sent.

    Attributes:
        sent_ns: The time, on the clock that stamps the frames; None if none were sent.
    """

    sent_ns: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def on_tick(self, record: TickRecord) -> None:
        if self.sent_ns is None and record.kind == "driven":
            self.sent_ns = record.frame.captured_ns + round(record.latency_s * 1e9)
