"""A person takes the wheel by moving it, and gives it back by a key or a button."""

from dataclasses import replace
from typing import Any, Literal, Self

import pytest

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import ControllerError
from agent.contract.profile import KeyMap
from agent.driving import guarded
from agent.driving.takeover import THRESHOLD, Takeover
from agent.games.registry import find_game
from agent.inputs.gamepad import GamepadInput
from agent.inputs.keyboard import Hotkeys, KeyboardInput


class Hands:
    controls = NEUTRAL
    trouble: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def read(self) -> Controls:
        return self.controls if self.trouble is None else NEUTRAL

    def unheard(self) -> str | None:
        return self.trouble


def test_hands_at_rest_do_not_take_over() -> None:
    hands = Hands()
    takeover = Takeover(hands)
    assert takeover() is None
    hands.controls = Controls(-THRESHOLD, THRESHOLD, THRESHOLD)
    assert takeover() is None


@pytest.mark.parametrize(
    "moved", [Controls(-0.3), Controls(0.0, 0.3), Controls(0.0, 0.0, 0.3), Controls(handbrake=1.0)]
)
def test_any_control_takes_over_and_keeps_the_wheel(moved: Controls) -> None:
    hands = Hands()
    takeover = Takeover(hands)
    hands.controls = moved
    assert takeover() == moved
    hands.controls = NEUTRAL
    assert takeover() == NEUTRAL  # letting go of the stick is driving straight on, not giving the wheel back
    takeover.give_back()
    assert takeover() is None


def test_a_person_who_presses_both_pedals_brakes_or_not_like_the_network() -> None:
    hands = Hands()
    takeover = Takeover(hands)
    hands.controls = Controls(0.0, 0.4, 0.6)
    assert takeover() == Controls(0.0, 0.0, 0.6)


def test_the_button_gives_the_wheel_back() -> None:
    hands, pressed = Hands(), False
    ask = Takeover(hands, wants_back=lambda: pressed)
    hands.controls = Controls(1.0)
    assert ask() == Controls(1.0)
    hands.controls, pressed = NEUTRAL, True
    assert ask() is None


def test_f8_takes_the_wheel_for_the_keys_and_gives_it_back() -> None:
    pad, keys = Hands(), Hands()
    keys.controls = Controls(1.0, 1.0)  # while nobody has taken over, these are the agent's own
    takeover = Takeover(pad, keys)
    assert takeover() is None
    takeover.change_hands()
    assert takeover() == Controls(1.0, 1.0)
    assert takeover.reach_the_game  # by themselves: the controller must not press them too
    pad.controls = Controls(-1.0)  # whoever has the wheel keeps it
    assert takeover() == Controls(1.0, 1.0)
    pad.controls = NEUTRAL
    takeover.change_hands()
    assert takeover() is None
    assert not takeover.reach_the_game


def test_f8_gives_back_what_the_stick_took() -> None:
    pad = Hands()
    takeover = Takeover(pad, Hands())
    pad.controls = Controls(-1.0)
    assert takeover() == Controls(-1.0)
    assert not takeover.reach_the_game
    pad.controls = NEUTRAL
    takeover.change_hands()
    assert takeover() is None


def test_without_keys_f8_does_nothing() -> None:
    takeover = Takeover(Hands())
    takeover.change_hands()
    assert takeover() is None


@pytest.mark.parametrize(
    ("pad", "keys", "ways"),
    [
        (True, True, "F8 or the pad's Back button"),
        (True, False, "the pad's Back button"),
        (False, True, "F8"),
    ],
)
def test_only_what_is_there_is_named_for_giving_back(
    pad: bool, keys: bool, ways: str, caplog: pytest.LogCaptureFixture
) -> None:
    unplugged = Hands()
    unplugged.trouble = "no gamepad is plugged in"
    takeover = Takeover(Hands() if pad else unplugged, Hands() if keys else None)
    takeover.begin()
    assert caplog.messages[-1] == f"taken over; give the wheel back with {ways}"


def test_a_gamepad_that_goes_gives_the_wheel_back_and_is_heard_again(caplog: pytest.LogCaptureFixture) -> None:
    """Its rows would be neutral controls, recorded as a person's correction."""
    hands = Hands()
    takeover = Takeover(hands)
    hands.controls = Controls(0.9)
    assert takeover() == Controls(0.9)
    hands.trouble = "no gamepad is plugged in"
    assert [takeover(), takeover()] == [None, None]
    hands.trouble = None
    assert takeover() is None, "the stick shows what it showed as it fell asleep, whoever holds it now"
    hands.controls = NEUTRAL
    assert takeover() is None
    hands.controls = Controls(0.9)
    assert takeover() == Controls(0.9)
    assert [line for line in caplog.messages if "gamepad" in line and "Back" not in line] == [
        "the gamepad has gone (no gamepad is plugged in): nobody can take over with it until it is back",
        "the gamepad is back",
        "the gamepad rests at steering 0.90: move it from there to take over",
    ]


def test_a_gamepad_that_goes_between_two_questions_does_not_take_over(caplog: pytest.LogCaptureFixture) -> None:
    """It took the wheel a second time, nobody could give it back, and the rows were recorded as corrections."""

    class Vanishing(Hands):
        def read(self) -> Controls:
            held = super().read()
            self.trouble = "no gamepad is plugged in"
            return held

    hands = Hands()
    takeover = Takeover(hands)
    hands.controls = Controls(0.5)
    assert takeover() == Controls(0.5)
    hands.__class__ = Vanishing
    assert [takeover(), takeover()] == [None, None]
    assert takeover.by is None


@pytest.mark.parametrize("rest", [Controls(0.4), Controls(-0.5), Controls(0.0, 0.0, 0.5), Controls(0.4, 0.3)])
def test_a_worn_stick_does_not_take_over_until_it_is_moved(rest: Controls, caplog: pytest.LogCaptureFixture) -> None:
    hands = Hands()
    hands.controls = rest
    takeover = Takeover(hands)
    (line,) = caplog.messages
    assert line.startswith("the gamepad rests at ")
    jitter = Controls(*(value * 1.1 for value in rest.values))
    for shown in (rest, jitter, rest, jitter):
        hands.controls = shown
        assert takeover() is None
    hands.controls = Controls(*(min(1.0, max(-1.0, value * 1.7)) for value in rest.values))
    assert takeover() == hands.controls.arbitrate(), "further to the same side"
    takeover.give_back()
    hands.controls = replace(rest, steering=-0.3 if rest.steering > 0 else 0.3)
    assert takeover() == hands.controls.arbitrate(), "to the other side"
    takeover.give_back()
    hands.controls = rest
    assert takeover() is None, "it rests where it did before it was used"


def test_what_was_held_as_the_drive_began_takes_over_as_usual_once_it_was_let_go_of() -> None:
    hands, now_ns = Hands(), [0]
    hands.controls = Controls(0.8, 0.4)
    takeover = Takeover(hands, clock=lambda: now_ns[0])
    assert takeover() is None
    hands.controls = Controls(-0.2)  # past the middle: no stick is worn as far as that
    assert takeover() is None
    hands.controls = Controls(0.3)
    assert takeover() == Controls(0.3)
    takeover.give_back()
    hands.controls = Controls(0.0, 0.5)  # a pedal that rested at 0.4, as far as anybody knows
    assert takeover() is None
    hands.controls = Controls(0.0, 0.02)
    for milliseconds in (1000, 1500, 2500):
        now_ns[0] = milliseconds * 1_000_000
        assert takeover() is None
    hands.controls = Controls(0.0, 0.3)
    assert takeover() == Controls(0.0, 0.3), "it has rested at 0 for a second"


def test_who_has_no_gamepad_is_not_told_that_it_has_gone(caplog: pytest.LogCaptureFixture) -> None:
    hands = Hands()
    hands.trouble = "no gamepad is plugged in"
    takeover = Takeover(hands)
    assert takeover() is None
    assert not caplog.messages


@pytest.mark.parametrize(("controller", "heard"), [("keyboard", 1.0), ("gamepad", 0.0)])
def test_a_correction_by_keys_is_heard_as_a_recording_hears_them(
    controller: Literal["keyboard", "gamepad"], heard: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A steady hand's steering was half of what the same keys are in a recording, and 150 ms late."""
    opened: list[Any] = []
    monkeypatch.setattr(guarded, "GuardedController", lambda make, make_hands, *others: opened.append(make_hands))
    monkeypatch.setattr(KeyboardInput, "__enter__", lambda keys: keys)  # no desktop
    monkeypatch.setattr(Hotkeys, "__enter__", lambda keys: keys)
    monkeypatch.setattr(GamepadInput, "__enter__", without_pads)
    profile = replace(find_game("torcs").profile, controller=controller, keys=KeyMap())
    guarded.guarded_controller(profile)
    with opened[0]() as takeover:
        takeover.change_hands()
        keys = takeover.by
        keys.press("right")
        assert takeover().steering == heard
        keys.release("right")
        assert takeover().steering == 0.0


def without_pads(pad: GamepadInput) -> GamepadInput:
    raise ControllerError("there is none")
