"""Wheels and other devices: their maps, how they are learnt, and what they then mean."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.commands import inputs
from agent.commands.options import Invocation
from agent.contract.errors import ControllerError
from agent.inputs.device_map import Button, DeviceMap, Pedal, Wheel, find_map, load_map, map_path, save_map
from agent.inputs.gamepad import GamepadInput
from agent.inputs.learning import Learner, Snapshot
from agent.inputs.mapped import MappedDevice
from agent.settings.inputs import InputsSettings, LearnInputSettings

GUID = "030000006d0400004fc2000011010000"
WHEEL = Wheel(0, -1.0, 0.0, 1.0)
# A G29: pedals on axes of their own, 1 when released, and a lever that is a button.
G29 = DeviceMap(
    "G29",
    GUID,
    {
        "steering": WHEEL,
        "throttle": Pedal(1, 1.0, -1.0),
        "brake": Pedal(2, 1.0, -1.0),
        "handbrake": Button(4),
        "back": Button(6),
    },
)


class Device:
    """A wheel as pygame shows it."""

    def __init__(self, axes: int = 4, buttons: int = 8) -> None:
        self.axes, self.buttons = [0.0] * axes, [0] * buttons

    def get_numaxes(self) -> int:
        return len(self.axes)

    def get_axis(self, axis: int) -> float:
        return self.axes[axis]

    def get_numbuttons(self) -> int:
        return len(self.buttons)

    def get_button(self, button: int) -> int:
        return self.buttons[button]

    def get_name(self) -> str:
        return "G29"

    def get_guid(self) -> str:
        return GUID

    def get_instance_id(self) -> int:
        return 1


def moved(axes: dict[int, float], buttons: tuple[int, ...] = ()) -> Snapshot:
    """Return a G29 at rest but for these."""
    values = [0.0, 1.0, 1.0, 1.0]
    for axis, value in axes.items():
        values[axis] = value
    return Snapshot(tuple(values), tuple(number in buttons for number in range(8)))


# --- what values mean -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "share"), [(-1.0, -1.0), (1.0, 1.0), (0.0, 0.0), (0.019, 0.0), (-0.019, 0.0), (0.51, 0.5), (-0.51, -0.5)]
)
def test_a_wheel_has_a_dead_zone_and_reaches_its_ends(value: float, share: float) -> None:
    assert WHEEL.share(value) == pytest.approx(share)


@pytest.mark.parametrize(("value", "share"), [(0.4, -1.0), (0.9, -1.0), (0.1, 0.0), (-0.2, 1.0), (-0.05, 0.5)])
def test_an_inverted_wheel_that_turns_further_than_is_needed(value: float, share: float) -> None:
    """Of 900 degrees a person uses some; its axis runs the other way, and its centre is not 0."""
    assert Wheel(0, 0.4, 0.1, -0.2, dead_zone=0.0).share(value) == pytest.approx(share)


@pytest.mark.parametrize(("value", "pressed"), [(1.0, 0.0), (0.97, 0.0), (0.0, 0.5), (-1.0, 1.0), (-0.97, 1.0)])
def test_an_inverted_pedal_is_released_at_1(value: float, pressed: float) -> None:
    assert Pedal(1, 1.0, -1.0).share(value) == pytest.approx(pressed)


def test_two_pedals_share_an_axis() -> None:
    both = DeviceMap("old", GUID, {"steering": WHEEL, "throttle": Pedal(1, 0.0, -1.0), "brake": Pedal(1, 0.0, 1.0)})
    assert both.controls({1: -0.5}, {}).throttle == pytest.approx(0.5)
    assert both.controls({1: -0.5}, {}).brake == 0.0
    assert both.controls({1: 1.0}, {}).brake == 1.0


@given(st.floats(-1, 1), st.floats(-1, 1), st.booleans())
def test_controls_stay_in_range(steering: float, pedal: float, lever: bool) -> None:
    controls = G29.controls({0: steering, 1: pedal, 2: -pedal}, {4: lever})
    assert controls == controls.clip()
    assert controls.handbrake == float(lever)


def test_an_axis_that_is_missing_is_at_rest() -> None:
    controls = G29.controls({}, {})
    assert (controls.steering, controls.throttle, controls.brake) == (0.0, 0.0, 0.0)


def test_a_pedal_that_has_reported_nothing_yet_is_released() -> None:
    """Until a device's first event SDL says 0: half pressed, for a pedal that rests at 1."""
    device = Device()
    mapped = MappedDevice(device, G29)
    assert mapped.controls().throttle == 0.0
    device.axes[1] = -1.0
    assert mapped.controls().throttle == 1.0
    device.axes[1] = 0.0
    assert mapped.controls().throttle == pytest.approx(0.5)
    device.buttons[6] = 1
    assert mapped.back_pressed()


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_map_survives_its_file(tmp_path: Path) -> None:
    path = save_map(G29, tmp_path)
    assert load_map(path) == G29
    assert find_map(GUID, tmp_path) == G29


def test_the_checksum_of_the_name_in_a_guid_does_not_matter(tmp_path: Path) -> None:
    """SDL 2.26 puts it there, and older versions do not."""
    save_map(G29, tmp_path)
    assert find_map("0300abcd6d0400004fc2000011010000", tmp_path) == G29
    assert find_map("030000006d0400004fc2000011010001", tmp_path) is None
    assert find_map("../../etc/passwd", tmp_path) is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "name and guid must be text"),
        ("\xff", "cannot be read"),
        ("a = [" * 5000, "longer than|cannot be read"),
        (f'guid = "{GUID}"', r"there is no \[steering\]"),
        ('guid = "x"\n[steering]\naxis=0\nleft=-1\ncentre=0\nright=1', "expected 32 hexadecimal digits"),
        (f'guid = "{GUID}"\n[steering]\naxis=0\nleft=-1', r"\[steering\] is incomplete"),
        (f'guid = "{GUID}"\n[steering]\nbutton=0', r"\[steering\] cannot be a button"),
        (f'guid = "{GUID}"\n[steering]\naxis=0\nleft=nan\ncentre=0\nright=1', r"must lie in \[-1, 1\]"),
        (f'guid = "{GUID}"\n[steering]\naxis=0\nleft=1\ncentre=0\nright=1', "different sides"),
        (f'guid = "{GUID}"\n[steering]\naxis=true\nleft=-1\ncentre=0\nright=1', "whole number"),
        (f'guid = "{GUID}"\n[steering]\naxis=-1\nleft=-1\ncentre=0\nright=1', "expected 0 to 255"),
        (f'guid = "{GUID}"\n[clutch]\naxis=1\nreleased=0\npressed=1\n', r"\[clutch\] is unknown|no \[steering\]"),
    ],
)
def test_a_faulty_file_is_told_in_one_line_with_its_name(tmp_path: Path, text: str, complaint: str) -> None:
    path = map_path(GUID, tmp_path)
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ControllerError, match=complaint) as raised:
        find_map(GUID, tmp_path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "inputs learn" in str(raised.value)


# --- learning ---------------------------------------------------------------------------------------------------------


def taught() -> Learner:
    learner = Learner("G29", GUID, moved({}))
    learner.learn_steering(moved({0: -0.8}), moved({0: 0.9, 2: 0.95}))
    return learner


def test_a_wheel_is_learnt() -> None:
    learner = taught()
    learner.learn_pedal("throttle", moved({1: -1.0}))
    learner.learn_pedal("brake", moved({2: -0.7, 0: 0.1}))
    learner.learn_pedal("handbrake", moved({}, buttons=(4,)))
    learner.learn_back(moved({}, buttons=(6,)))
    assert learner.result().sources == {
        "steering": Wheel(0, -0.8, 0.0, 0.9),
        "throttle": Pedal(1, 1.0, -1.0),
        "brake": Pedal(2, 1.0, -0.7),
        "handbrake": Button(4),
        "back": Button(6),
    }


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (moved({}), moved({})),
        (moved({0: -1.0}), moved({3: -1.0})),
        (moved({0: -1.0, 3: 0.0}), moved({0: 1.0})),  # a pedal too
        (moved({0: -1.0}), moved({0: -0.9})),  # twice to the same side
    ],
)
def test_an_unclear_turn_is_told(left: Snapshot, right: Snapshot) -> None:
    with pytest.raises(ControllerError, match=r"both sides|different sides"):
        Learner("G29", GUID, moved({})).learn_steering(left, right)


def test_a_pedal_that_is_not_pressed_is_told() -> None:
    with pytest.raises(ControllerError, match="Press only the throttle"):
        taught().learn_pedal("throttle", moved({0: 0.9}))
    with pytest.raises(ControllerError, match="Press one button"):
        taught().learn_back(moved({}, buttons=(1, 2)))


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def sdl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Device:
    """SDL with one wheel plugged in that it does not know; maps lie in a folder of the test."""
    from pygame._sdl2 import controller

    device = Device()
    device.axes[1:] = [1.0, 1.0, 1.0]
    monkeypatch.setattr("pygame.joystick.get_count", lambda: 1)
    monkeypatch.setattr("pygame.joystick.Joystick", lambda index: device)
    monkeypatch.setattr(controller, "is_controller", lambda index: False)
    monkeypatch.setattr("agent.inputs.device_map.user_config_path", lambda *_, **__: tmp_path)
    return device


def test_the_dialogue_teaches_a_wheel_that_is_then_listened_to(
    sdl: Device, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = list(sdl.axes)
    answers: list[tuple[str, dict[int, float], tuple[int, ...], str]] = [
        ("let go", {}, (), ""),
        ("left", {}, (), ""),  # not turned: asked again
        ("right", {}, (), ""),
        ("left", {0: -1.0}, (), ""),
        ("right", {0: 1.0}, (), ""),
        ("throttle", {1: -1.0}, (), ""),
        ("brake", {2: -1.0}, (), ""),
        ("handbrake", {}, (), "-"),
        ("button", {}, (6,), ""),
    ]

    def answer(question: str) -> str:
        word, axes, buttons, said = answers.pop(0)
        assert word in question
        sdl.axes[:] = [axes.get(axis, value) for axis, value in enumerate(rest)]
        sdl.buttons[:] = [int(number in buttons) for number in range(len(sdl.buttons))]
        return said

    monkeypatch.setattr("builtins.input", answer)
    (learn,) = inputs.COMMAND.actions
    command: Any = learn.command
    assert command.run(LearnInputSettings(), Invocation()) == 0
    assert not answers
    output = capsys.readouterr()
    assert "no single axis moved" in output.err
    assert "axis 0: left -1.00, centre +0.00, right +1.00" in output.out

    sdl.axes[:] = [-1.0, 0.0, 1.0, 1.0]
    sdl.buttons[:] = [0] * 8
    with GamepadInput() as hands:
        hands.read()
        sdl.axes[1] = -1.0
        controls = hands.read()
        assert hands.unheard() is None
        assert not hands.back_pressed()
    assert (controls.steering, controls.throttle, controls.brake) == (-1.0, 1.0, 0.0)


def test_the_list_says_what_each_device_is_read_as(
    sdl: Device, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inputs.COMMAND.run is not None
    inputs.COMMAND.run(InputsSettings(), Invocation())
    assert capsys.readouterr().out == (
        "1. G29: 4 axes, 8 buttons; not listened to; `python -m agent inputs learn` teaches it\n"
    )
    save_map(G29, tmp_path / "inputs")
    inputs.COMMAND.run(InputsSettings(), Invocation(json=True))
    assert '"read_as": "map"' in capsys.readouterr().out


def test_a_persons_own_map_counts_more_than_sdls(sdl: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SDL takes some wheels for gamepads, with pedals that are half pressed at rest."""
    from pygame._sdl2 import controller

    monkeypatch.setattr(controller, "is_controller", lambda index: True)
    monkeypatch.setattr(controller, "Controller", None)
    save_map(G29, tmp_path / "inputs")
    sdl.axes[0] = 1.0
    with GamepadInput() as hands:
        assert hands.read().steering == 1.0


def test_a_device_that_is_not_there_is_told(sdl: Device) -> None:
    (learn,) = inputs.COMMAND.actions
    command: Any = learn.command
    with pytest.raises(ControllerError, match="there is no device 2, expected 1 to 1"):
        command.run(LearnInputSettings(device=2), Invocation())


def test_a_faulty_map_leaves_the_device_unheard_and_is_told(
    sdl: Device, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    map_path(GUID, tmp_path / "inputs").parent.mkdir()
    map_path(GUID, tmp_path / "inputs").write_text("nonsense")
    with GamepadInput() as hands:
        assert "SDL knows no gamepad in 'G29'" in str(hands.unheard())
    assert "the map of G29 is left out" in caplog.text
