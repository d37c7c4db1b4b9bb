"""One press of a hotkey is one action, and a key is the same one whatever is held beside it."""

from types import SimpleNamespace

import pytest

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.profile import KeyMap
from agent.inputs.keyboard import Hotkeys, KeyboardInput
from agent.inputs.wheels import GameWheel
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


def test_a_hotkey_acts_again_though_it_was_let_go_of_with_alt_gr() -> None:
    """AltGr and E are a euro sign: the key's release was another key's, and E was down for ever."""
    pressed: list[bool] = []
    hotkeys = Hotkeys({"e": lambda: pressed.append(True)}, clock := VirtualClock())
    for _ in range(2):
        hotkeys.press(SimpleNamespace(char="e", vk=0x45))
        hotkeys.release(SimpleNamespace(char="\u20ac", vk=0x45))
        clock.sleep(1.0)
    assert len(pressed) == 2


def test_other_keys_do_nothing() -> None:
    desk = Desk()
    desk.hotkeys.press(SimpleNamespace(char="a"))
    desk.hotkeys.release(SimpleNamespace(char="a"))
    assert not desk.actions


@pytest.mark.parametrize(("down", "up"), [("w", "W"), (",", ";"), ("e", "\u20ac"), ("7", "{")])
def test_a_driving_key_is_up_again_whatever_is_held_as_it_comes_up(down: str, up: str) -> None:
    """A comma comes up as a semicolon beside Shift. It stayed down, and full throttle was recorded to the end."""
    keys = KeyboardInput(KeyMap(throttle=down), VirtualClock(), GameWheel(None))
    keys.press(SimpleNamespace(char=down, vk=7))
    assert keys.read() == Controls(0.0, 1.0)
    keys.press(SimpleNamespace(char=up, vk=7))  # the desktop repeats it
    assert keys.read() == Controls(0.0, 1.0)
    keys.release(SimpleNamespace(char=up, vk=7))
    assert keys.read() == NEUTRAL


def test_keys_that_drive_may_be_named_in_capitals() -> None:
    """They were pressed, and never heard: a recording of zeros."""
    keys = KeyboardInput(KeyMap("A", "D", "W", "Down"), VirtualClock(), GameWheel(None))
    keys.press(SimpleNamespace(char="w"))
    assert keys.read() == Controls(0.0, 1.0)
    keys.press(SimpleNamespace(name="down"))
    assert keys.read() == Controls(0.0, 1.0, 1.0)
