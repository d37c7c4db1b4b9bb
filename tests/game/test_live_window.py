"""A live training of a game in its window: a person at the keys, the trainer beside them, and weights at the wheel."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from road_game.driver import Manner
from road_game.person import Patience, person_at

from agent.contract.episodes.reading import Episode
from agent.games.virtual_desktop import joined
from tests.waiting import Environment, running, running_game, wait_for

pytestmark = [pytest.mark.game, pytest.mark.slow]  # minutes of driving and training

TITLE = "A Road to Learn"
PROFILE = f"""
title = "Road"
rate_hz = 15
controller = "keyboard"
notes = "of the tests"

[capture]
window = "{TITLE}"
"""
OPTIONS = "--width 64 --height 36 --start 250 --steps-per-round 15 --warmup-steps 5 --nice 0 --json"


def test_a_person_drives_and_the_network_takes_the_wheel(display: Environment, tmp_path: Path) -> None:
    profile, race, said = tmp_path / "road.toml", tmp_path / "race.jsonl", tmp_path / "said"
    profile.write_text(PROFILE)
    game = [sys.executable, "-m", "tests.road_game", "--title", TITLE, "--log", str(race), "--size", "320x180"]
    live = [sys.executable, "-m", "training", "live", "--game", str(profile), "--out", str(tmp_path / "run")]
    with (
        joined(display),
        running_game(game, display, tmp_path / "game", TITLE),
        running([*live, *OPTIONS.split(), "--minutes", "12"], display, said) as learner,
        person_at(race, Manner(wait_s=(0.1, 0.2)), seed=0) as person,
    ):
        wait_for("the wheel", lambda: "taken over" in said.read_text(), 120)
        person.begin_race()
        give_up_s = time.monotonic() + 400
        while "there are weights" not in said.read_text():
            assert learner.poll() is None, said.read_text()
            assert time.monotonic() < give_up_s, said.read_text()
            person.drive(2.0)
        person._keyboard.tap("f8")
        wait_for("the network to drive", lambda: "the network drives again" in said.read_text(), 10)
        person.watch(15.0, Patience())
        learner.send_signal(2)
        told: dict[str, Any] = json.loads(learner.communicate(timeout=60)[0])
    assert told["rounds"] >= 1
    assert told["samples"] >= 250
    assert told["alone_s"] > 2.0
    assert (tmp_path / "run" / "weights").exists()
    drivers = [Episode.open(path).header.driver for path in sorted((tmp_path / "run" / "episodes").glob("*.parquet"))]
    assert drivers[0] == "human"
    assert drivers[-1] == "policy:road"
