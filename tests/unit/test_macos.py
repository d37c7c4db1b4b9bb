"""What macOS lacks is refused in one line, with what to do instead."""

import sys

import pytest

from agent.capture.desktop import open_desktop
from agent.contract.errors import CaptureError, ControllerError
from agent.contract.profile import PadMap
from agent.controllers.gamepad import Gamepad


@pytest.fixture(autouse=True)
def macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setitem(sys.modules, "vgamepad", None)  # it is no requirement there


def test_a_window_by_its_title() -> None:
    with pytest.raises(
        CaptureError, match=r"cannot be found by title on macOS, expected .* Use --monitor or --region"
    ) as told:
        open_desktop()
    assert len(str(told.value).splitlines()) == 1


def test_a_virtual_gamepad() -> None:
    with pytest.raises(ControllerError, match=r"it does not exist for darwin.* --controller keyboard") as told:
        Gamepad(PadMap()).__enter__()
    assert len(str(told.value).splitlines()) == 1
