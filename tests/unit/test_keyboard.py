"""Driving by keys: each is down for its share of the time, and up in the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import ControllerError
from agent.contract.profile import KeyMap
from agent.controllers.keyboard import Keyboard, keys_down

KEYS = KeyMap()


class FakeKeys:
    def __init__(self) -> None:
        self.down: set[str] = set()
        self.broken = False

    def press(self, name: str) -> None:
        if self.broken:
            raise OSError("no desktop")
        assert name not in self.down
        self.down.add(name)

    def release(self, name: str) -> None:
        self.down.remove(name)


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1000))
def test_each_key_is_down_for_its_share_of_a_cycle(
    steering: float, throttle: float, brake: float, start: float
) -> None:
    steps = 1000
    down = [
        keys_down(Controls(steering, throttle, brake), KEYS, start + step * KEYS.cycle_s / steps)
        for step in range(steps)
    ]
    for key, share in (("left", -steering), ("right", steering), ("up", throttle), ("down", brake)):
        assert sum(key in keys for keys in down) / steps == pytest.approx(max(0.0, share), abs=0.052)


@pytest.mark.parametrize(
    ("controls", "always"), [(NEUTRAL, set()), (Controls(-1.0, 1.0), {"left", "up"}), (Controls(0.97, 0.03), {"right"})]
)
def test_ends_of_the_range_are_steady(controls: Controls, always: set[str]) -> None:
    assert all(keys_down(controls, KEYS, step * 0.003) == always for step in range(100))


def test_keys_follow_the_controls_and_are_up_in_the_end() -> None:
    keys = FakeKeys()
    with Keyboard(KEYS, lambda: keys) as keyboard:
        keyboard.send(Controls(-1.0, 1.0, 0.0))
        assert keys.down == {"left", "up"}
        keyboard.send(Controls(1.0, 0.0, 1.0))
        assert keys.down == {"right", "down"}
    assert keys.down == set()


def crash(keyboard: Keyboard) -> None:
    keyboard.send(Controls(1.0, 1.0, 0.0))
    raise ControllerError


def test_keys_are_up_after_a_crash() -> None:
    keys = FakeKeys()
    keyboard = Keyboard(KEYS, lambda: keys)
    with pytest.raises(ControllerError), keyboard:
        crash(keyboard)
    assert keys.down == set()


def test_what_could_not_be_pressed_is_told() -> None:
    keys = FakeKeys()
    with Keyboard(KEYS, lambda: keys) as keyboard:
        keys.broken = True
        with pytest.raises(ControllerError, match="keys cannot be pressed any more"):
            keyboard.send(Controls(1.0, 0.0, 0.0))
