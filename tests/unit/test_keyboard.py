"""Driving by keys: each is down for its share of the time, and up in the end."""

import itertools
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.controls import Controls
from agent.contract.errors import ControllerError, GameError
from agent.contract.profile import KeyMap, SteeringRamp
from agent.controllers.key_pulses import KeyPulse, KeyPulses, KeyRamp
from agent.controllers.keyboard import Keyboard, _quiet, release_keys
from agent.inputs.wheels import GameWheel

KEYS = KeyMap()


class FakeKeys:
    def __init__(self) -> None:
        self.down: set[str] = set()
        self.broken = False

    def check(self, name: str) -> None:
        if name == "dwon":
            raise ControllerError("key 'dwon' is unknown")

    def press(self, name: str) -> None:
        if self.broken:
            raise OSError("no desktop")
        assert name not in self.down
        self.down.add(name)

    def release(self, name: str) -> None:
        self.down.remove(name)


STEP_S = 0.005


def play(shares: list[float]) -> list[bool]:
    pulse = KeyPulse(KEYS.pulse_s)
    return [pulse.step(share, 7.0 + step * STEP_S) for step, share in enumerate(shares)]


def runs(down: list[bool]) -> list[int]:
    """How many steps each stretch without a change lasts, but for the last, which is cut off."""
    return [len(list(group)) for _, group in itertools.groupby(down)][:-1]


@given(st.floats(0.05, 0.95))
def test_a_key_is_down_for_its_share_of_the_time(share: float) -> None:
    down = play([share] * 4000)
    assert sum(down) / 4000 == pytest.approx(share, abs=0.004)


@given(st.lists(st.floats(0.06, 0.94), min_size=50, max_size=200))
def test_no_pulse_is_too_short_for_a_game_to_see(shares: list[float]) -> None:
    down = play([share for share in shares for _ in range(10)])  # a decision every 50 ms
    assert min(runs(down)) * STEP_S >= KEYS.pulse_s


@pytest.mark.parametrize("phase", range(4))
def test_a_game_in_step_with_the_pulses_sees_a_tenth_of_the_throttle(phase: int) -> None:
    # Failed with a fixed cycle of 100 ms: 10 ms down, always or never seen by a game that looks every 20 ms.
    down = play([0.1] * 4000)
    looks = down[phase::4]
    assert sum(looks) / len(looks) == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(("share", "always"), [(0.0, False), (0.04, False), (0.96, True), (1.0, True)])
def test_ends_of_the_range_are_steady_and_at_once(share: float, always: bool) -> None:
    assert play([0.5] * 3 + [share] * 100)[3:] == [always] * 100


RAMP = SteeringRamp(half_s=0.085, full_s=0.225, centre_s=0.1)  # SuperTuxKart's


def steer(key: "KeyPulse | KeyRamp", share: float, pictures_per_s: float) -> float:
    """Return the mean steering of a game that looks at a key once a picture, and turns its wheel by the ramp."""
    value, held, next_look_s, values = 0.0, False, 0.0, []
    for step in range(4000):
        down = key.step(share, step * STEP_S)
        if step * STEP_S >= next_look_s:
            held, next_look_s = down, next_look_s + 1 / pictures_per_s
        value = RAMP.turned(value, held, STEP_S)
        values.append(value)
    return sum(values[200:]) / len(values[200:])


@pytest.mark.parametrize("pictures_per_s", [31.0, 47.0, 60.0])
@pytest.mark.parametrize("share", [0.2, 0.35, 0.5, 0.65, 0.8])
def test_a_wheel_that_the_game_turns_gradually_is_where_it_should_be(share: float, pictures_per_s: float) -> None:
    assert steer(KeyRamp(RAMP, 0.025), share, pictures_per_s) == pytest.approx(share, abs=0.15)


AT_ONCE = SteeringRamp(half_s=0.0333, full_s=0.0667, centre_s=0.02)  # TORCS'


@pytest.mark.parametrize("ramp", [RAMP, AT_ONCE, None])
@pytest.mark.parametrize("share", [0.07, 0.2, 0.3, 0.5, 0.7])
def test_keys_are_taken_for_what_they_were_pressed_for(ramp: SteeringRamp | None, share: float) -> None:
    # `record` listens while `Keyboard` plays. With KeySteering 0.2 came back as 0.83, 0.07 and 0.03 on these wheels,
    # and TORCS' was not held for long enough: 0.7 came back as 0.42.
    key = KeyPulse(KEYS.pulse_s) if ramp is None else KeyRamp(ramp, KEYS.pulse_s)
    wheel = GameWheel(ramp)
    heard = [wheel.steer(key.step(share, step * STEP_S), False, STEP_S) for step in range(4000)]
    assert sum(heard[200:]) / len(heard[200:]) == pytest.approx(-share, abs=0.02)


def test_a_share_of_the_time_is_not_that_share_of_such_a_wheel() -> None:
    # What drove SuperTuxKart at first: half of the steering was asked for, and the kart went nearly straight on.
    assert steer(KeyPulse(KEYS.pulse_s), 0.5, 47.0) < 0.15


def test_full_and_no_steering_are_at_once_for_such_a_wheel_too() -> None:
    key = KeyRamp(RAMP, 0.025)
    assert key.step(1.0, 0.0)
    assert not key.step(0.0, 0.005)
    assert key.step(0.97, 0.010)


def test_a_game_with_a_ramp_gets_it_for_its_steering_keys_alone() -> None:
    pulses = KeyPulses(KeyMap(steering_ramp=RAMP))
    kinds = {name: type(pulse) for name, pulse in pulses._pulses.items()}
    assert kinds == {"left": KeyRamp, "right": KeyRamp, "up": KeyPulse, "down": KeyPulse}


def test_keys_follow_the_controls_and_are_up_in_the_end() -> None:
    keys = FakeKeys()
    with Keyboard(KEYS, lambda: keys) as keyboard:
        keyboard.send(Controls(-1.0, 1.0, 0.0))
        assert keys.down == {"left", "up"}
        keyboard.send(Controls(1.0, 0.0, 1.0))
        assert keys.down == {"right", "down"}
    assert keys.down == set()


def test_a_further_axis_has_a_key_of_its_own() -> None:
    keys = FakeKeys()
    with Keyboard(KeyMap(others=(("handbrake", "space"),)), lambda: keys) as keyboard:
        keyboard.send(Controls(0.0, 1.0, handbrake=1.0))
        assert keys.down == {"up", "space"}
        keyboard.send(Controls(0.0, 1.0))
        assert keys.down == {"up"}
        keyboard.send(Controls(handbrake=1.0))
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


def test_a_key_is_held_beside_those_that_drive() -> None:
    keys = FakeKeys()
    with Keyboard(KEYS, lambda: keys) as keyboard:
        keyboard.send(Controls(0.0, 1.0))
        keyboard.hold("backspace")
        assert keys.down == {"up", "backspace"}
        keyboard.release("backspace")
        assert keys.down == {"up"}
        keyboard.hold("backspace")
    assert keys.down == set()


def test_keys_that_a_killed_guard_left_down_are_let_go_of() -> None:
    class Left(FakeKeys):
        def release(self, name: str) -> None:
            self.down.discard(name)

    keys = Left()
    keys.down = {"left", "up", "r", "space"}
    release_keys(KeyMap(others=(("handbrake", "space"),)), ["no such key", "r"], lambda: keys)
    assert keys.down == set()


@pytest.mark.parametrize(("keys", "further"), [(KeyMap(brake="dwon"), ()), (KEYS, ("dwon",))])
def test_an_unknown_key_is_told_before_anything_is_driven(keys: KeyMap, further: tuple[str, ...]) -> None:
    with pytest.raises(ControllerError, match="'dwon' is unknown"):
        Keyboard(keys, FakeKeys, further=further).__enter__()


def test_one_key_cannot_drive_two_things() -> None:
    with pytest.raises(GameError, match="the key 'a' drives two things"):
        KeyMap(left="a", right="A")
    with pytest.raises(GameError, match="the key 'space' drives two things"):
        KeyMap(brake="space", others=(("handbrake", "space"),))


def test_a_keyboard_whose_x_server_has_gone_ends_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def __del__(self) -> None:
            raise OSError("display connection closed by server")

    said: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    keyboard = _quiet(Gone)()
    del keyboard
    assert said == []
