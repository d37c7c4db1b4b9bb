"""The guard's promises on Windows, by faults that are injected into a drive."""

import pytest
from on_windows import report_of

pytestmark = pytest.mark.windows

ENDING = ("killed", "guard-killed", "guard-stopped", "stopped", "hang", "crash", "closed", "bug")


def test_controls_are_neutral_in_time_after_what_only_the_system_does() -> None:
    report = report_of("faults", "--count", "1", "--only", *ENDING, seconds=400.0)
    assert report["broken"] == 0, report
