"""A steering wheel on a Linux kernel, as SDL shows it: taught by the dialogue, listened to, unplugged and back.

Where /dev/uinput cannot be written, the same tests run in a virtual machine (tests/pad_vm).
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.commands import inputs
from agent.commands.options import Invocation
from agent.contract.controls import NEUTRAL, Controls
from agent.driving.takeover import Takeover
from agent.inputs.gamepad import GamepadInput
from agent.settings.inputs import LearnInputSettings
from tests.waiting import wait_for

evdev = pytest.importorskip("evdev")
codes = evdev.ecodes

pytestmark = [pytest.mark.game, pytest.mark.uinput]

# hid-logitech's G29: 16 bits of wheel; pedals of 8 bits that are 255 when released; 25 buttons.
LOGITECH, G29 = 0x046D, 0xC24F
WHEEL, CLUTCH, THROTTLE, BRAKE = codes.ABS_X, codes.ABS_Y, codes.ABS_Z, codes.ABS_RZ
CENTRE, RELEASED = 32768, 255
BACK = codes.BTN_TRIGGER + 6


@contextmanager
def plugged_in() -> Iterator[Any]:
    wheel = evdev.AbsInfo(value=CENTRE, min=0, max=65535, fuzz=0, flat=0, resolution=0)
    pedal = evdev.AbsInfo(value=RELEASED, min=0, max=255, fuzz=0, flat=0, resolution=0)
    events = {
        codes.EV_KEY: list(range(codes.BTN_TRIGGER, codes.BTN_TRIGGER + 25)),
        codes.EV_ABS: [(WHEEL, wheel), (CLUTCH, pedal), (THROTTLE, pedal), (BRAKE, pedal)],
    }
    name = "Logitech G29 Driving Force Racing Wheel"
    with closing(evdev.UInput(events, name, LOGITECH, G29, version=0x111)) as device:
        yield device


def move(device: Any, axes: dict[int, int], buttons: dict[int, int]) -> None:
    for code, value in ({WHEEL: CENTRE, CLUTCH: RELEASED, THROTTLE: RELEASED, BRAKE: RELEASED} | axes).items():
        device.write(codes.EV_ABS, code, value)
    for code, value in ({BACK: 0} | buttons).items():
        device.write(codes.EV_KEY, code, value)
    device.syn()


@pytest.fixture
def maps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder for the maps of the test; SDL looks for devices itself where nobody would tell it."""
    if not Path("/run/udev/control").exists():
        monkeypatch.setenv("SDL_JOYSTICK_DISABLE_UDEV", "1")
    monkeypatch.setattr("agent.inputs.device_map.user_config_path", lambda *_, **__: tmp_path)
    return tmp_path / "inputs"


def teach(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer the dialogue as a person with a G29 does."""
    steps: list[tuple[str, dict[int, int], dict[int, int], str]] = [
        ("let go", {}, {}, ""),
        ("left", {WHEEL: 8192}, {}, ""),  # a person turns a 900-degree wheel by less than its way
        ("right", {WHEEL: 57344}, {}, ""),
        ("throttle", {THROTTLE: 0}, {}, ""),
        ("brake", {BRAKE: 20}, {}, ""),
        ("handbrake", {}, {}, "-"),
        ("button", {}, {BACK: 1}, ""),
    ]

    def answer(question: str) -> str:
        import pygame

        word, axes, buttons, said = steps.pop(0)
        assert word in question
        if word == "let go":  # everything is moved once first, as the dialogue says
            move(device, {WHEEL: 0, CLUTCH: 0, THROTTLE: 0, BRAKE: 0}, {})
            pygame.time.wait(100)
            pygame.event.pump()
        move(device, axes, buttons)
        pygame.time.wait(100)
        return said

    monkeypatch.setattr("builtins.input", answer)
    wait_for("SDL to find the wheel", has_device)
    (learn,) = inputs.COMMAND.actions
    command: Any = learn.command
    assert command.run(LearnInputSettings(), Invocation()) == 0
    assert not steps
    move(device, {}, {})


def has_device() -> bool:
    with GamepadInput() as hands:
        return bool(hands.devices())


def controls_of(hands: GamepadInput, wanted: Controls) -> bool:
    read = hands.read()
    return all(abs(a - b) < 0.02 for a, b in zip(read.values, wanted.values, strict=True))


def test_a_g29_is_taught_and_then_drives(maps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with plugged_in() as device:
        teach(device, monkeypatch)
        (path,) = maps.iterdir()
        assert path.name.startswith("03000000" + "6d040000" + "4fc20000")
        with GamepadInput() as hands:
            wait_for("the wheel to be heard", lambda: hands.read() is not None and hands.unheard() is None)
            for axes, wanted in (
                ({WHEEL: 57344}, Controls(1.0)),
                ({WHEEL: 65535}, Controls(1.0)),
                ({WHEEL: 8192, THROTTLE: 0}, Controls(-1.0, 1.0)),
                ({WHEEL: CENTRE + 400}, NEUTRAL),
                ({THROTTLE: 128}, Controls(0.0, 0.5)),
                ({BRAKE: 20}, Controls(0.0, 0.0, 1.0)),
            ):
                move(device, axes, {})
                wait_for(f"{wanted}", lambda wanted=wanted: controls_of(hands, wanted))
            move(device, {}, {BACK: 1})
            wait_for("the button", lambda: hands.read() == NEUTRAL and hands.back_pressed())


def test_a_g29_takes_over_gives_back_goes_and_comes_back(maps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with plugged_in() as device:
        teach(device, monkeypatch)
    with plugged_in() as device, GamepadInput() as hands:
        takeover = Takeover(hands, None, hands.back_pressed)
        wait_for("the wheel to be heard", lambda: takeover() is None and hands.unheard() is None)
        move(device, {WHEEL: 57344}, {})
        wait_for("the person to take over", lambda: (at := takeover()) is not None and at.steering > 0.98)
        move(device, {}, {BACK: 1})
        wait_for("the network to drive again", lambda: takeover() is None)
        device.close()
        wait_for("the wheel to go", lambda: takeover() is None and hands.unheard() == "no gamepad is plugged in")
        with plugged_in() as again:
            move(again, {}, {})
            wait_for("the wheel to be back", lambda: takeover() is None and hands.unheard() is None)
            move(again, {WHEEL: 8192}, {})
            wait_for("the person to take over again", lambda: (at := takeover()) is not None and at.steering < -0.98)
