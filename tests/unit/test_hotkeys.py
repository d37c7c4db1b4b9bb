"""One press of a hotkey is one action."""

from types import SimpleNamespace

import pytest

from agent.inputs.keyboard import Hotkeys
from agent.system.pacing import VirtualClock

F8 = SimpleNamespace(name="f8")


class Desk:
    """A person at hotkeys, on a virtual clock."""

    def __init__(self) -> None:
        self.actions: list[float] = []
        self.clock = VirtualClock()
        self.hotkeys = Hotkeys({"f8": lambda: self.actions.append(self.clock() / 1e9)}, self.clock)

    def hold(self, seconds: float, repeat_s: float, releases: bool) -> None:
        """Hold F8 as a desktop reports it: repeated after 0.2 s, with a release before each repeat or without."""
        end_s = self.clock() / 1e9 + seconds
        self.hotkeys.press(F8)
        self.clock.sleep(0.2)
        while self.clock() / 1e9 < end_s:
            if releases:
                self.hotkeys.release(F8)
            self.hotkeys.press(F8)
            self.clock.sleep(repeat_s)
        self.hotkeys.release(F8)


@pytest.mark.parametrize("releases", [True, False], ids=["X11", "Windows"])
@pytest.mark.parametrize("seconds", [0.1, 0.35, 1.0, 1.4])
def test_a_key_that_is_held_acts_once(releases: bool, seconds: float) -> None:
    desk = Desk()
    desk.hold(seconds, 0.03, releases)
    assert desk.actions == [0.0]


def test_every_press_acts() -> None:
    desk = Desk()
    for _ in range(3):
        desk.hold(0.3, 0.05, releases=True)
        desk.clock.sleep(0.1)
    assert len(desk.actions) == 3


def test_a_key_may_be_named_in_capitals() -> None:
    pressed: list[bool] = []
    Hotkeys({"F8": lambda: pressed.append(True)}).press(F8)
    assert pressed == [True]


def test_other_keys_do_nothing() -> None:
    desk = Desk()
    desk.hotkeys.press(SimpleNamespace(char="a"))
    desk.hotkeys.release(SimpleNamespace(char="a"))
    assert not desk.actions
