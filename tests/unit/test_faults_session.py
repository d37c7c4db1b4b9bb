"""What a run of injected faults reports when it ends early."""

from collections.abc import Iterator

import pytest

from agent.contract.errors import ControllerError
from agent.measuring.faults import session
from agent.measuring.faults.catalogue import Fault, Outcome
from agent.measuring.faults.session import measure_faults
from agent.settings.faults import FaultsSettings

WHY = "the drive to be harmed did not get going"


def failing_after(good: int) -> object:
    def inject(faults: tuple[Fault, ...], times: int) -> Iterator[Outcome]:
        for _ in range(good):
            yield Outcome("black", 0.02, drove_on=True)
        raise ControllerError(WHY)

    return inject


def test_what_was_injected_is_kept_when_a_later_drive_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "inject", failing_after(2))
    report = measure_faults(FaultsSettings(count=40, only=("black",)))
    assert report.to_dict()["problem"] == WHY
    assert (len(report.outcomes), report.broken, report.interrupted) == (2, [], False)


def test_a_first_drive_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "inject", failing_after(0))
    with pytest.raises(ControllerError, match=WHY):
        measure_faults(FaultsSettings(count=40, only=("black",)))
