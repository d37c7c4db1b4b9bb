"""The evening with the road game, without a desktop: how questions are answered, what is not done twice, the table."""

import json
import os
import sys
from pathlib import Path

import pytest
from road_game.evening import Evening, Plan, answer_like_a_person, interview, table

ASKS = """
print("about to ask")
name = input("Short name of the game, for the command line: ")
print("  3  Openbox  (9 x 9 px)")
print("  7  Road Game  (640 x 360 px)")
number = input("Which window is the game: ")
rate = input("Decisions a second (20.0): ")
moves = input("What moves the car [gamepad/keyboard] (gamepad): ")
raise SystemExit(0 if [name, number, rate, moves] == ["my-road", "7", "", "keyboard"] else f"got {number!r}")
"""


def ask(program: str, folder: Path) -> list[str]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return interview([sys.executable, "-c", program], answer_like_a_person, folder, environment)


def test_questions_are_answered_like_a_person_does(tmp_path: Path) -> None:
    asked = ask(ASKS, tmp_path)
    assert len(asked) == 4
    assert asked[1] == "Which window is the game: 7"
    assert asked[2] == "Decisions a second (20.0):"


def test_a_window_that_is_not_offered_ends_the_evening(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no window 'Road Game' was offered"):
        ask('input("Which window is the game: ")', tmp_path)


def test_a_program_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"ended with 4: .*oh"):
        ask("print('oh'); raise SystemExit(4)", tmp_path)


NETWORK = {"per_minute": 2.2, "interventions": 9, "seconds": 246.0, "on_road": 0.97, "longest_m": 1113}


def test_an_evening_goes_on_where_it_was_broken_off(tmp_path: Path) -> None:
    steps = ("games new", "doctor", "record", "fit", "corrections", "fit again")
    done = {step: {"took_s": 60.4} for step in steps}
    done |= {
        step: {"took_s": 300.0, "network": {**NETWORK, "pictures_per_s": 30.0}, "starts": "7 of 10"}
        for step in ("drive", "drive again")
    }
    (tmp_path / "evening.json").write_text(json.dumps(done))
    plan = Plan(tmp_path, 0, 8, 10.0, 3.0, 5.0, 10, "--steps 1", "--data {corrections}", 0)
    evening = Evening(plan, {"DISPLAY": ":nowhere"})
    evening.run()  # there is no display: a step that was done again would fail
    told = table(evening.results)
    assert "| demonstrations alone | 2.2 (9 in 4.1 min) | 97.0% | 1,113 m | 7 of 10 | 30.0 |" in told
    assert "| with corrections | 2.2" in told
    assert "| fit again | 60 |" in told
