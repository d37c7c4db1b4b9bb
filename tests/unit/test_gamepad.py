"""What the gamepad is told, on a made one: the kernel's own is in tests/game."""

import pytest

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.profile import PadMap
from agent.controllers import gamepad
from agent.controllers.pad import STICK_MAX
from agent.system.pacing import VirtualClock


class Device:
    """Takes down where the left stick is."""

    def __init__(self) -> None:
        self.left_x = 0
        self.buttons: set[object] = set()

    def left_joystick(self, x_value: int, y_value: int) -> None:
        self.left_x = x_value

    def right_joystick(self, x_value: int, y_value: int) -> None:
        pass

    def left_trigger(self, value: int) -> None:
        pass

    def right_trigger(self, value: int) -> None:
        pass

    def press_button(self, button: object) -> None:
        self.buttons.add(button)

    def release_button(self, button: object) -> None:
        self.buttons.remove(button)

    def update(self) -> None:
        pass


def test_letting_go_knows_no_slew_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel that turns back slowly would stay turned: neutral is sent once."""
    device, clock = Device(), VirtualClock()
    monkeypatch.setattr(gamepad, "_plug_in", lambda: device)
    with gamepad.Gamepad(PadMap(steering_slew_per_s=1.0), clock) as pad:
        for _ in range(2):
            clock.sleep(0.25)
            pad.send(Controls(1.0, 1.0))
        assert device.left_x == pytest.approx(0.5 * STICK_MAX, abs=1)
        pad.send(NEUTRAL)
        assert device.left_x == 0
        clock.sleep(0.1)
        pad.send(Controls(1.0, 1.0))
        assert device.left_x == pytest.approx(0.1 * STICK_MAX, abs=1), "the limit begins again from the middle"


def test_a_button_that_is_held_comes_up_when_the_pad_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel lets go of an unplugged pad's buttons; a game that keeps a pad's last state does not."""
    device = Device()
    monkeypatch.setattr(gamepad, "_plug_in", lambda: device)
    monkeypatch.setattr(gamepad, "_button", lambda name: name)
    with gamepad.Gamepad(PadMap()) as pad:
        pad.hold("y")
        pad.send(Controls(1.0, 1.0))
        assert device.buttons == {"y"}
        assert device.left_x == STICK_MAX
    assert (device.buttons, device.left_x) == (set(), 0)
