"""Which gamepad is listened to: plugged in, moved, gone, back, or another program's."""

from dataclasses import dataclass, field

import pygame
import pytest

from agent.contract.controls import NEUTRAL, Controls
from agent.inputs.gamepad import GamepadInput

FULL = 32767


@dataclass
class Stick:
    """A device as SDL shows it."""

    instance: int
    model: str = "xbox"
    name: str = "Pad"
    is_pad: bool = True
    steering: float = 0.0
    there: bool = True
    broken: bool = False
    axes: dict[int, int] = field(default_factory=dict)

    def get_instance_id(self) -> int:
        return self.instance

    def get_guid(self) -> str:
        return self.model

    def get_name(self) -> str:
        return self.name

    def attached(self) -> bool:
        return self.there

    def get_axis(self, axis: int) -> int:
        return round(self.steering * FULL) if axis == pygame.CONTROLLER_AXIS_LEFTX else 0

    def get_button(self, button: int) -> bool:
        return False


class Sdl:
    """SDL with devices that the test plugs in and out."""

    def __init__(self) -> None:
        self.devices: list[Stick] = []

    def plug_in(self, *devices: Stick) -> None:
        self.devices += devices

    def unplug(self, device: Stick) -> None:
        device.there = False
        self.devices.remove(device)

    def get_count(self) -> int:
        return len(self.devices)

    def joystick(self, index: int) -> Stick:
        if self.devices[index].broken:
            raise pygame.error("not ready")
        return self.devices[index]

    def is_controller(self, index: int) -> bool:
        return self.devices[index].is_pad


@pytest.fixture
def sdl(monkeypatch: pytest.MonkeyPatch) -> Sdl:
    fake = Sdl()
    monkeypatch.setattr("pygame.joystick.get_count", fake.get_count)
    monkeypatch.setattr("pygame.joystick.Joystick", fake.joystick)
    from pygame._sdl2 import controller

    monkeypatch.setattr(controller, "is_controller", fake.is_controller)
    monkeypatch.setattr(controller, "Controller", fake.joystick)
    return fake


def test_no_gamepad_is_told(sdl: Sdl) -> None:
    with GamepadInput() as hands:
        assert hands.read() == NEUTRAL
        assert hands.unheard() == "no gamepad is plugged in"


def test_a_wheel_that_sdl_knows_no_gamepad_in_is_told_by_its_name(sdl: Sdl) -> None:
    sdl.plug_in(Stick(1, "g29", "Logitech G29", is_pad=False))
    with GamepadInput() as hands:
        assert hands.read() == NEUTRAL
        told = hands.unheard()
        assert told is not None
        assert told.startswith("SDL knows no gamepad in 'Logitech G29'")
        assert "`python -m agent inputs learn`" in told


def test_of_two_pads_the_one_that_is_moved_is_heard(sdl: Sdl) -> None:
    first, second = Stick(1), Stick(2)
    sdl.plug_in(first, second)
    with GamepadInput() as hands:
        second.steering = -0.6
        assert hands.read().steering == pytest.approx(-0.6, abs=1e-3)
        first.steering = 0.2  # a hand resting on the other
        assert hands.read().steering == pytest.approx(-0.6, abs=1e-3)
        first.steering, second.steering = 0.9, 0.0
        assert hands.read().steering == pytest.approx(0.9, abs=1e-3)


def test_of_two_pads_a_worn_one_that_rests_beside_the_middle_is_not_heard_instead(sdl: Sdl) -> None:
    driven, worn = Stick(1), Stick(2, steering=0.4)
    sdl.plug_in(driven, worn)
    with GamepadInput() as hands:
        for worn.steering in (0.4, 0.45):
            assert hands.read() == NEUTRAL
        driven.steering = -0.6
        assert hands.read().steering == pytest.approx(-0.6, abs=1e-3)
        driven.steering, worn.steering = 0.0, -0.9
        assert hands.read().steering == pytest.approx(-0.9, abs=1e-3)
        driven.steering, worn.steering = -0.6, 0.4
        assert hands.read().steering == pytest.approx(-0.6, abs=1e-3), "it rests, as far as it can"


def test_a_pad_that_goes_is_unheard_and_heard_again_when_it_is_back(sdl: Sdl) -> None:
    pad = Stick(1, steering=0.5)
    sdl.plug_in(pad)
    with GamepadInput() as hands:
        assert (hands.read().steering, hands.unheard()) == (pytest.approx(0.5, abs=1e-3), None)
        sdl.unplug(pad)
        assert (hands.read(), hands.unheard()) == (NEUTRAL, "no gamepad is plugged in")
        sdl.plug_in(Stick(4, steering=-0.5))
        assert (hands.read().steering, hands.unheard()) == (pytest.approx(-0.5, abs=1e-3), None)


def test_the_agents_own_pad_is_never_listened_to_and_a_persons_is_again(sdl: Sdl) -> None:
    """The virtual pad has an Xbox pad's model, as the person's may have."""
    pad = Stick(1)
    sdl.plug_in(pad)
    with GamepadInput() as hands:
        hands.keep_to_those_here()
        sdl.plug_in(Stick(2, steering=1.0))  # the agent's own: none is missing when it comes
        assert hands.read() == NEUTRAL
        sdl.unplug(pad)  # it falls asleep
        assert (hands.read(), hands.unheard()) == (NEUTRAL, "no gamepad is plugged in")
        sdl.plug_in(Stick(3, steering=-0.5))
        assert hands.read().steering == pytest.approx(-0.5, abs=1e-3)
        sdl.plug_in(Stick(5, "another model", steering=1.0))
        sdl.unplug(sdl.devices[1])
        assert hands.read() == NEUTRAL


def test_a_second_pad_of_the_same_model_does_not_take_a_sleeping_ones_place_twice(sdl: Sdl) -> None:
    pad = Stick(1)
    sdl.plug_in(pad)
    with GamepadInput() as hands:
        hands.keep_to_those_here()
        sdl.unplug(pad)
        hands.read()
        sdl.plug_in(Stick(2, steering=0.5))
        assert hands.read() != NEUTRAL
        sdl.plug_in(Stick(3, steering=1.0))
        assert hands.read() == Controls(hands.read().steering)
        assert hands.read().steering == pytest.approx(0.5, abs=1e-3)


def test_a_device_that_cannot_be_opened_yet_does_not_shift_the_others(sdl: Sdl) -> None:
    sdl.plug_in(Stick(7, broken=True), Stick(8, steering=-0.5))
    with GamepadInput() as hands:
        assert hands.read().steering == pytest.approx(-0.5, abs=1e-3)
