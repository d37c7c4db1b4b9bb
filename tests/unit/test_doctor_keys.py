"""What doctor says of keys that are pressed before anybody hears them."""

from collections.abc import Callable
from typing import Any, Self

import pytest

from agent.contract.profile import ControllerName, GameProfile, KeyMap, SteeringRamp
from agent.measuring import doctor


class Desktop:
    """A keyboard and a listener that hears nothing of its first presses."""

    deaf_to = 0
    action: Callable[[], None]
    held: list[str]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def hold(self, name: str) -> None:
        self.held.append(name)
        if len(self.held) > self.deaf_to:
            self.action()

    def release(self, name: str) -> None:
        assert self.held[-1] == name


@pytest.mark.parametrize(("deaf_to", "verdict"), [(0, "OK"), (2, "OK"), (99, "warning")])
def test_a_key_that_is_pressed_before_anybody_listens_is_pressed_again(
    deaf_to: int, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    desktop = Desktop()
    desktop.deaf_to, desktop.held = deaf_to, []

    def listen(actions: dict[str, Callable[[], None]]) -> Desktop:
        (desktop.action,) = actions.values()
        return desktop

    def open_keyboard(*_: Any, **__: Any) -> Desktop:
        return desktop

    monkeypatch.setattr(doctor, "Hotkeys", listen)
    monkeypatch.setattr(doctor, "Keyboard", open_keyboard)
    (finding,) = doctor._keys(None)
    assert finding.verdict == verdict
    assert len(desktop.held) == min(deaf_to + 1, 8)


@pytest.mark.parametrize(
    ("controller", "ramp", "found"),
    [
        ("keyboard", None, ["warning"]),
        ("keyboard", SteeringRamp(0.1, 0.2, 0.1), []),
        ("gamepad", None, []),
    ],
)
def test_wheels_that_keys_turn_at_once_are_asked_about(
    controller: ControllerName, ramp: SteeringRamp | None, found: list[str]
) -> None:
    profile = GameProfile("mine", "Mine", 20.0, controller=controller, keys=KeyMap(steering_ramp=ramp))
    findings = list(doctor._wheels(profile))
    assert [each.verdict for each in findings] == found
    assert all("steering_ramp_s" in each.text for each in findings)
