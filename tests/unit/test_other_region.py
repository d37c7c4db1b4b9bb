"""Weights that were trained on one part of a window and now see another: that is said before the drive."""

from dataclasses import replace

import pytest

from agent.contract.controls import NEUTRAL
from agent.contract.profile import Capture, GameProfile, Region
from agent.contract.spec import ModelSpec
from agent.engines.constant import ConstantEngine
from agent.policies.network import NetworkPolicy
from agent.sessions.window_drive import _tell_of_another_region
from agent.settings.drive import DriveSettings

PROFILE = GameProfile("race", "Race", 20.0, capture=Capture(window="Race"))
PART = Region(0, 30, 640, 330)


def told(trained: str | None, region: Region | None, profile: GameProfile = PROFILE) -> list[str]:
    policy = NetworkPolicy(ConstantEngine(ModelSpec("mine", "none", "race", region=trained), NEUTRAL))
    lines: list[str] = []
    _tell_of_another_region(policy, DriveSettings(game="race", region=region), profile, lines.append)
    return lines


@pytest.mark.parametrize(("trained", "region"), [(None, PART), (None, None), ("", None), (str(PART), PART)])
def test_the_same_or_an_unknown_region_is_no_matter(trained: str | None, region: Region | None) -> None:
    assert told(trained, region) == []


def test_another_region_is_told() -> None:
    assert told("", PART) == [
        "the weights were trained on all of the window, and now see 0,30,640,330 of the window: expect little, or "
        "record and train again"
    ]
    (line,) = told(str(PART), None)
    assert "trained on 0,30,640,330 of the window, and now see all of the window" in line


def test_the_profiles_own_region_counts() -> None:
    profile = replace(PROFILE, capture=Capture(window="Race", region=PART))
    assert told(str(PART), None, profile) == []
