"""An axis beside the standard three, moved by a person."""

import pygame
import pytest

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.profile import KeyMap, PadMap, PedalAxis
from agent.inputs.gamepad import GamepadInput
from agent.inputs.keyboard import KeyboardInput
from agent.inputs.sampling import ControlTrack
from agent.system.pacing import VirtualClock


class Key:
    def __init__(self, name: str) -> None:
        self.name = name


def test_a_key_moves_a_further_axis() -> None:
    keys = KeyboardInput(KeyMap(others=(("handbrake", "space"),)), VirtualClock())
    keys.press(Key("space"))
    assert keys.read() == Controls(handbrake=1.0)
    keys.release(Key("space"))
    assert keys.read() == NEUTRAL


class HeldPad:
    """What SDL says of a pad: its right shoulder is down, its right stick half way towards the person."""

    def attached(self) -> bool:
        return True

    def get_button(self, button: int) -> bool:
        return button == pygame.CONTROLLER_BUTTON_RIGHTSHOULDER

    def get_axis(self, axis: int) -> int:
        return 16384 if axis == pygame.CONTROLLER_AXIS_RIGHTY else 0


@pytest.mark.parametrize(
    ("place", "felt"),
    [("right_shoulder", 1.0), ("button_a", 0.0), ("right_y_down", 0.5), ("right_y_up", 0.0), ("left_trigger", 0.0)],
)
def test_a_pad_in_the_hand_moves_a_further_axis(place: PedalAxis, felt: float) -> None:
    with GamepadInput(pad=PadMap(others=(("handbrake", place),))) as hands:
        hands._open, hands._pads = {0: HeldPad()}, pygame.joystick.get_count()
        assert hands.read().values == pytest.approx(Controls(handbrake=felt).values, abs=1e-4)


def test_between_two_samples_every_axis_is_on_the_line() -> None:
    track = ControlTrack()
    track.add(0, NEUTRAL)
    track.add(100, Controls(-1.0, 1.0, 0.5, handbrake=0.8))
    assert track.at(25) == Controls(-0.25, 0.25, 0.125, handbrake=0.2)
    assert track.mean(0, 1e-6) == Controls(-0.5, 0.5, 0.25, handbrake=0.4)
