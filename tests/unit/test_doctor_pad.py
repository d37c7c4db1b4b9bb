"""What doctor says about the agent's pad, and about the pads that were there before it."""

from collections.abc import Callable
from typing import Any, Self

import pytest

from agent.contract.controls import NEUTRAL, Controls
from agent.measuring import doctor

SHOWN: list[Controls] = []


class Pad:
    """The agent's pad, which shows what it is sent."""

    def __init__(self, *_: object) -> None:
        SHOWN[:] = [NEUTRAL]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, controls: Controls) -> None:
        SHOWN[:] = [controls]


class Game(Pad):
    """A program like a game, which reads it."""

    accepts: Callable[[int], bool]
    name = "the agent's"
    others: tuple[str, ...] = ()

    def instances(self) -> set[int]:
        return set(range(len(self.others)))

    def names(self) -> list[str]:
        return list(self.others)

    def read(self) -> Controls:
        return SHOWN[0]


@pytest.mark.parametrize("others", [(), ("a wireless pad", "a wheel")])
def test_doctor_says_which_pad_a_game_hears_that_hears_only_the_first(
    others: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    game: Any = type("Game", (Game,), {"others": others})
    monkeypatch.setattr(doctor, "GamepadInput", game)
    monkeypatch.setattr(doctor, "Gamepad", Pad)
    findings = list(doctor._gamepad(None))
    assert (findings[0].name, findings[0].verdict) == ("gamepad", "OK")
    told = [(each.name, each.verdict, "hears a wireless pad, which was" in each.text) for each in findings[1:]]
    assert told == ([("first pad", "warning", True)] if others else [])
