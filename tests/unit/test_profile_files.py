"""Profiles as files: what is read, and what the message says where something is wrong."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.errors import GameError
from agent.contract.profile import Capture, KeyMap, PadMap, Rectangle, Region, ReturnMarks, SteeringRamp, Stuck
from agent.games import profile_files, registry
from agent.games.profile_files import SHIPPED, load_profile, profile_paths

LEAST = 'title = "A game"\nrate_hz = 20\nnotes = "not verified"\n'


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No profiles of the person who runs the tests."""
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.setattr(profile_files, "user_folder", lambda: folder)
    return folder


def write(folder: Path, text: str, name: str = "mine") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_profiles_are_sound(path: Path) -> None:
    profile = load_profile(path)
    assert profile.name == path.stem
    assert "erified" in profile.notes  # says what was verified and what was not


def test_carracing_hides_the_same_in_its_window_as_in_process() -> None:
    embedded, window = (registry.find_game(name).profile for name in ("carracing", "carracing-window"))
    assert embedded.capture is None
    assert window.capture == Capture(window="Hoodcam CarRacing")
    assert (
        window.masks
        == embedded.masks
        == (Rectangle(0.0, 35 / 40, 4.5 / 40, 5 / 40), Rectangle(6.5 / 40, 35 / 40, 18.5 / 40, 5 / 40))
    )
    assert window.model_name == embedded.model_name == "carracing"


def test_what_is_left_out_has_defaults(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path, LEAST))
    assert (profile.capture, profile.pad, profile.keys) == (Capture(), PadMap(), KeyMap())
    assert (profile.controller, profile.model_name) == ("gamepad", "mine")


@pytest.mark.parametrize("change", [lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n")])
def test_what_an_editor_on_windows_adds_does_no_harm(change: Callable[[str], str], tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(change(LEAST).encode())
    changed = load_profile(path)
    assert changed == load_profile(write(tmp_path, LEAST))


def test_everything_can_be_said(tmp_path: Path) -> None:
    text = (
        LEAST
        + """
controller = "keyboard"
model = "other"
[capture]
window = "Game"
region = [10, 20, 1280, 720]
needs_focus = false
[pad]
steering = "right_x"
throttle = "right_y_up"
brake = "button_b"
steering_dead_zone = 0.2
steering_slew_per_s = 4
[keys]
left = "a"
pulse_s = 0.2
steering_ramp_s = [0.1, 0.3, 0.2]
[stuck]
action = "press"
press = "backspace"
for_s = 0.3
attempts = 5
[returns]
good = 900
poor = -5.5
"""
    )
    profile = load_profile(write(tmp_path, text))
    assert profile.capture == Capture("Game", 1, Region(10, 20, 1280, 720), needs_focus=False)
    assert profile.pad == PadMap("right_x", "right_y_up", "button_b", 0.2, 0.0, 0.0, 4.0)
    assert profile.keys == KeyMap(left="a", pulse_s=0.2, steering_ramp=SteeringRamp(0.1, 0.3, 0.2))
    assert (profile.controller, profile.model_name) == ("keyboard", "other")
    assert profile.stuck == Stuck("press", 4.0, 5.0, 0.3, "backspace", 5)
    assert profile.returns == ReturnMarks(900.0, -5.5)
    assert load_profile(write(tmp_path, LEAST)).returns is None


def test_every_hotkey_can_be_another_one_but_not_one_of_the_others(tmp_path: Path) -> None:
    path = write(tmp_path, LEAST + '\n[hotkeys]\nkeep = "pause"\n')
    assert load_profile(path).hotkeys.keep == "pause"
    path = write(tmp_path, LEAST + '\n[hotkeys]\nkeep = "F12"\n')
    with pytest.raises(GameError, match="'f12' gives two orders"):
        load_profile(path)


def test_a_further_axis_is_mapped_and_so_is_among_what_the_car_can_do(tmp_path: Path) -> None:
    assert load_profile(write(tmp_path, LEAST)).axes == ("steering", "throttle", "brake")
    text = LEAST + '[pad]\nhandbrake = "left_shoulder"\n[keys]\nhandbrake = "space"'
    profile = load_profile(write(tmp_path, text))
    assert profile.axes == ("steering", "throttle", "brake", "handbrake")
    assert profile.pad.others == (("handbrake", "left_shoulder"),)
    assert profile.keys.others == (("handbrake", "space"),)
    assert profile.keys.pressed[-1] == ("handbrake", "space", 1.0)


def test_a_game_without_a_brake(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path, LEAST + 'axes = ["throttle", "steering"]'))
    assert profile.axes == ("steering", "throttle")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "is not TOML"),
        (LEAST + "axes = []", r"axes is \[\], expected a list out of steering, throttle, brake"),
        (LEAST + 'axes = ["wheel"]', r"axes is \['wheel'\], expected a list out of steering, throttle, brake"),
        (LEAST + 'axes = ["steering", "steering"]', "axes is .*, expected each name once"),
        (LEAST + 'axes = ["steering"]\n[pad]\nhandbrake = "button_a"', "axes is .*, expected handbrake among them"),
        (LEAST + '[pad]\nhandbrake = "left_x"', "pad.handbrake is 'left_x', expected one of left_trigger"),
        (LEAST + '[pad]\nhandbrake = "left_trigger"', "pad.handbrake is 'left_trigger' like the brake"),
        (LEAST + '[pad]\nclutch = "button_a"', "pad.clutch is unknown, expected one of"),
        ("rate_hz = 20", "title is missing"),
        (LEAST.replace("20", "0"), "rate_hz is 0, expected a number from 1 to 240"),
        (LEAST.replace("20", "nan"), "rate_hz is nan"),
        (LEAST.replace("20", "true"), "rate_hz is True"),
        (LEAST + 'titel = "A"', "titel is unknown.*Did you mean 'title'"),
        (LEAST + "[pad]\nsteering_deadzone = 0.2", "pad.steering_deadzone is unknown.*mean 'steering_dead_zone'"),
        (LEAST + "[pad]\nsteering_dead_zone = 1.4", r"pad.steering_dead_zone is 1.4, expected a number from 0 to 0.9"),
        (LEAST + '[pad]\nsteering = "left_y"', "pad.steering is 'left_y', expected one of left_x, right_x"),
        (LEAST + '[pad]\nbrake = "right_trigger"', "pad.brake is 'right_trigger' like the throttle"),
        (LEAST + "[capture]\nregion = [1, 2, 3]", r"capture.region is \[1, 2, 3\], expected 4 numbers"),
        (LEAST + "[capture]\nregion = [1, 2, 0, 4]", "region 1,2,0,4 is empty"),
        (LEAST + '[stuck]\naction = "honk"', "stuck.action is 'honk', expected one of wait, forward, reverse"),
        (LEAST + '[stuck]\naction = "reset"', "stuck.action is 'reset', expected another for a game in a window"),
        (LEAST + '[stuck]\naction = "press"', "stuck.press is missing, expected the name of what action"),
        (LEAST + '[stuck]\naction = "press"\npress = "q"', "stuck.press is 'q', expected one of a, b, x"),
        (LEAST + "[returns]\ngood = 5", "returns.poor is missing"),
        (LEAST + "[returns]\ngood = 5\npoor = 6", "returns.poor is 6, expected a number of at most good, 5"),
        (LEAST + "[returns]\ngood = 5\npoor = 4\nbad = 1", "returns.bad is unknown, expected one of: good, poor"),
        (LEAST + "[stuck]\nafter = 3", "stuck.after is unknown.*mean 'after_s'"),
        (LEAST + "capture = 3", r"capture is 3, expected a table, \[capture\]"),
        (LEAST + "[[masks]]\nleft = 0\ntop = 0\nwidth = 2\nheight = 1", r"masks\[0\].width is 2"),
        (LEAST + "[[masks]]\nleft = 0.5\ntop = 0\nwidth = 0.7\nheight = 1", r"masks\[0\]: rectangle"),
        (LEAST + "#" * 100_000, "bytes, more than the 16000 that are read"),
        (LEAST + 'model = "../../elsewhere"', "model is '../../elsewhere', expected the name of a folder"),
        (LEAST + 'model = "/etc"', "model is '/etc', expected the name of a folder"),
        (LEAST + 'model = ".."', "model is '..', expected the name of a folder"),
        (LEAST + "model = 5", "model is 5, expected the name of a folder"),
        (LEAST.replace("A game", r"\u001b[2J"), r"title is .*expected a text"),
        (LEAST.replace("A game", "A" * 301), r"title is .*expected a text"),
        (LEAST.replace("not verified", r"\u0000"), r"notes is .*expected a text"),
        (LEAST + "[keys]\nsteering_ramp_s = [0.2, 0.1, 0.1]", "keys.steering_ramp_s is .*the second more than"),
        (LEAST + '[keys]\nleft = "\\u0007"', "keys.left is .*expected a text"),
        (LEAST + f"[capture]\nregion = [{10**400}, 2, 3, 4]", "capture.region is .*expected 4 numbers"),
        (LEAST + "[capture]\nregion = [1, 2, 100001, 4]", "capture.region is .*100000 at most"),
        (LEAST + f"[pad]\nsteering_dead_zone = {10**400}", "pad.steering_dead_zone is 1000.*from 0 to 0.9"),
        (LEAST + "[[masks]]\n" * 65, r"masks is .*64 at most"),
        (LEAST + f'"{"x" * 9000}" = 1', "is unknown"),
        (LEAST + r'"\n\u001b" = 1', "is unknown"),
        (LEAST + f"rate_hz = [{'[' * 90}{']' * 90}]", "is not TOML"),
        (LEAST.replace("20", f"{'[' * 90}{']' * 90}"), "rate_hz is"),
    ],
)  # fmt: skip
def test_a_fault_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(GameError, match=message) as caught:
        load_profile(path)
    said = str(caught.value).replace(str(path), "mine.toml")
    assert "mine.toml" in said
    assert said.isprintable()
    assert len(said) < 1000


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(GameError, match="cannot be read"):
        load_profile(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GameError, match="is not TOML"):
        load_profile(tmp_path / "binary.toml")


@given(st.binary(max_size=200))
def test_no_bytes_bring_the_reader_down(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(data)
    with pytest.raises(GameError):
        load_profile(path)


@pytest.mark.parametrize("name", ["..", "...", ".hidden", "a b", "[red]", "x" * 101])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(GameError, match="is not a name for a profile"):
        load_profile(write(tmp_path, LEAST, name))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_a_file_that_never_ends_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "endless.toml").symlink_to("/dev/zero")
    with pytest.raises(GameError, match="not a plain file"):
        load_profile(tmp_path / "endless.toml")


def test_the_slowest_profile_takes_seconds_and_not_minutes(tmp_path: Path) -> None:
    dots = "b." * 2000  # tomllib takes the square of a key's parts, for every line below a heading of that many
    text = f"[{dots}a]\n" + "".join(f"{dots}b{line} = 1\n" for line in range(2))
    started = time.process_time()
    with pytest.raises(GameError, match="title is missing"):
        load_profile(write(tmp_path, text))
    assert time.process_time() - started < 5
    with pytest.raises(GameError, match="more than the 16000"):
        load_profile(write(tmp_path, text + f"{dots}c = 1\n"))


def test_own_profiles_come_first(own_folder: Path) -> None:
    write(own_folder, LEAST, "gta5")
    write(own_folder, LEAST, "my-game")
    assert profile_paths()["gta5"].parent == own_folder
    assert registry.find_game("gta5").profile.title == "A game"
    assert registry.game_names()[-1] == "my-game"


def test_a_profile_can_be_given_by_its_path(tmp_path: Path) -> None:
    assert registry.find_game(str(write(tmp_path, LEAST))).profile.title == "A game"


def test_no_other_game_can_claim_to_be_embedded(own_folder: Path) -> None:
    write(own_folder, LEAST + "embedded = true")
    with pytest.raises(GameError, match="embedded is true, expected that only for games that run in this process"):
        registry.find_game("mine")


def test_a_game_in_a_window_waits_for_nobody() -> None:
    with pytest.raises(GameError, match="carracing-window runs in its own window"):
        registry.find_game("carracing-window").simulator_maker()


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        (Region(10, 20, 30, 40), Region(110, 220, 30, 40)),
        (Region(-5, 0, 30, 40), Region(100, 200, 25, 40)),
        (Region(790, 590, 30, 40), Region(890, 790, 10, 10)),
    ],
)
def test_a_region_is_counted_from_the_corner_of_its_window(inner: Region, expected: Region) -> None:
    assert inner.within(Region(100, 200, 800, 600)) == expected


def test_a_region_outside_of_its_window_is_refused() -> None:
    with pytest.raises(GameError, match=r"region 800,0,10,10 lies outside of the 800 x 600 px"):
        Region(800, 0, 10, 10).within(Region(100, 200, 800, 600))
