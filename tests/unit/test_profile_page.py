"""The page of a profile's keys names every one of them."""

import re
from pathlib import Path

from agent.contract.controls import AXES
from agent.games import profile_files
from agent.games.profile_files import load_profile

PAGE = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text(encoding="utf-8")


def test_every_key_of_a_profile_is_described() -> None:
    code = Path(profile_files.__file__).read_text(encoding="utf-8")
    asked_for = set(re.findall(r'\.(?:line|text|name|names|number|numbers|flag|choice|table|tables)\(\s*"(\w+)"', code))
    asked_for |= {"left", "top", "width", "height", "right", "good", "poor", *(axis.name for axis in AXES)}
    asked_for |= {"takeover", "start", "pause", "discard", "mark", "keep"}
    assert len(asked_for) > 40
    described = set(re.findall(r"`(?:\[+)?(\w+)(?:\]+)?`", PAGE))
    assert asked_for - described == set()


def test_the_pages_example_is_a_profile(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    path = tmp_path / "my-game.toml"
    path.write_text(example[1], encoding="utf-8")
    profile = load_profile(path)
    assert (profile.hotkeys.takeover, profile.hotkeys.mark, profile.hotkeys.keep) == ("f7", "f12", "insert")
    assert profile.stuck is not None
    assert profile.stuck.press == "r"
