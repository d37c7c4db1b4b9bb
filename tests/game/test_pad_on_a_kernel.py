"""The virtual gamepad on a Linux kernel, read back as games do: evdev, SDL, and the older js interface.

Where /dev/uinput cannot be written, the same tests run in a virtual machine (tests/pad_vm).
"""

import errno
import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.profile import Button, PadMap
from agent.controllers.gamepad import Gamepad
from agent.controllers.pad import STICK_MAX, TRIGGER_MAX
from tests.waiting import wait_for

evdev = pytest.importorskip("evdev")
codes = evdev.ecodes

REPOSITORY = Path(__file__).parents[2]
RUN_IN_VM = REPOSITORY / "tests" / "pad_vm" / "run_in_vm.py"

pytestmark = pytest.mark.game
on_a_kernel = pytest.mark.uinput

FUZZ, FLAT = 16, 128  # what vgamepad declares for a stick, as the real pad's driver does
JS_EVENT = struct.Struct("IhBB")  # linux/joystick.h: milliseconds, value, type, number
JS_BUTTON, JS_AXIS, JS_INITIAL = 1, 2, 0x80
X, Y, Z, RX, RY, RZ = range(6)  # numbers of the axes in js and SDL

STEERING = [(-1.0, -32767), (0.0, 0), (-0.0, 0), (1.0, 32767), (0.5, 16384), (-0.5, -16384), (1.01, 32767)]
BUTTON_EVENTS: dict[Button, tuple[int, int]] = {
    "a": (codes.BTN_A, 1),
    "b": (codes.BTN_B, 1),
    "x": (codes.BTN_X, 1),
    "y": (codes.BTN_Y, 1),
    "start": (codes.BTN_START, 1),
    "back": (codes.BTN_SELECT, 1),
    "guide": (codes.BTN_MODE, 1),
    "left_shoulder": (codes.BTN_TL, 1),
    "right_shoulder": (codes.BTN_TR, 1),
    "left_thumb": (codes.BTN_THUMBL, 1),
    "right_thumb": (codes.BTN_THUMBR, 1),
    "up": (codes.ABS_HAT0Y, -1),
    "down": (codes.ABS_HAT0Y, 1),
    "left": (codes.ABS_HAT0X, -1),
    "right": (codes.ABS_HAT0X, 1),
}


class Reader:
    """A program that has the pad's event node open."""

    def __init__(self, device: Any) -> None:
        self.device = device

    def changes(self) -> list[tuple[int, int]]:
        """Return (code, value) of all axes and buttons that changed since the last call, in order."""
        found = []
        while (event := self.device.read_one()) is not None:
            if event.type == codes.EV_SYN:
                assert event.code == codes.SYN_REPORT, "the kernel dropped events"
            elif event.type in (codes.EV_ABS, codes.EV_KEY):
                found.append((event.code, event.value))
        return found

    def steering(self) -> int:
        """Return where the left stick is now."""
        return int(self.device.absinfo(codes.ABS_X).value)

    def is_unplugged(self) -> bool:
        """Whether the device is gone, both its node and what was opened of it."""
        try:
            self.device.read_one()
        except OSError as exc:
            return exc.errno == errno.ENODEV and self.device.path not in evdev.list_devices()
        return False


def nodes() -> set[str]:
    return set(evdev.list_devices())


@contextmanager
def opened(before: set[str]) -> Iterator[Reader]:
    """Open the one event node that was not there before."""
    (path,) = wait_for("the pad's event node", lambda: nodes() - before)
    with closing(evdev.InputDevice(path)) as device:
        yield Reader(device)


@contextmanager
def plugged_in(pad: PadMap | None = None) -> Iterator[tuple[Gamepad, Reader]]:
    before = nodes()
    with Gamepad(pad or PadMap()) as gamepad, opened(before) as reader:
        yield gamepad, reader


@on_a_kernel
def test_it_is_taken_for_an_xbox_360_pad() -> None:
    with plugged_in() as (_, reader):
        device = reader.device
        assert (device.name, device.info.vendor, device.info.product) == ("Microsoft X-Box 360 pad", 0x045E, 0x028E)
        stick, trigger = device.absinfo(codes.ABS_X), device.absinfo(codes.ABS_RZ)
        assert (stick.value, stick.min, stick.max, stick.fuzz, stick.flat) == (0, -32768, 32767, FUZZ, FLAT)
        assert (trigger.value, trigger.min, trigger.max, trigger.fuzz, trigger.flat) == (0, 0, TRIGGER_MAX, 0, 0)
        assert reader.changes() == []  # plugged in neutral


@on_a_kernel
@pytest.mark.parametrize(("steering", "stick"), STEERING)
def test_steering_moves_the_left_stick_and_nothing_else(steering: float, stick: int) -> None:
    with plugged_in() as (gamepad, reader):
        gamepad.send(Controls(-0.25))  # so that the middle, too, is a change
        assert reader.changes() == [(codes.ABS_X, -8192)]
        gamepad.send(Controls(steering))
        assert reader.changes() == [(codes.ABS_X, stick)]
        assert reader.steering() == stick


@on_a_kernel
def test_every_position_of_the_pedals_arrives_on_its_trigger() -> None:
    with plugged_in() as (gamepad, reader):
        for position in range(1, TRIGGER_MAX + 1):
            gamepad.send(Controls(0.0, position / TRIGGER_MAX, 0.0))
            assert reader.changes() == [(codes.ABS_RZ, position)]
        gamepad.send(Controls(0.0, 1.2, 0.0))  # more than there is: already pulled through
        assert reader.changes() == []
        gamepad.send(NEUTRAL)
        assert reader.changes() == [(codes.ABS_RZ, 0)]
        for position in range(1, TRIGGER_MAX + 1):
            gamepad.send(Controls(0.0, 0.0, position / TRIGGER_MAX))
            assert reader.changes() == [(codes.ABS_Z, position)]
        gamepad.send(NEUTRAL)
        assert reader.changes() == [(codes.ABS_Z, 0)]


@on_a_kernel
def test_sticks_as_pedals_point_the_way_a_real_pad_s_do() -> None:
    with plugged_in(PadMap("right_x", "left_y_up", "left_y_down")) as (gamepad, reader):
        gamepad.send(Controls(-1.0, 1.0, 0.0))
        assert sorted(reader.changes()) == [(codes.ABS_Y, -32768), (codes.ABS_RX, -32767)]  # up is negative in evdev
        gamepad.send(Controls(-1.0, 0.0, 1.0))
        assert reader.changes() == [(codes.ABS_Y, 32766)]


@on_a_kernel
def test_every_button_is_held_and_released_with_the_next_send() -> None:
    with plugged_in() as (gamepad, reader):
        for button, (code, value) in BUTTON_EVENTS.items():
            gamepad.hold(button)
            assert reader.changes() == []
            for _ in range(2):  # it stays down
                gamepad.send(NEUTRAL)
            assert reader.changes() == [(code, value)], button
            gamepad.release(button)
            assert reader.changes() == []
            gamepad.send(NEUTRAL)
            assert reader.changes() == [(code, 0)], button


@on_a_kernel
def test_a_dead_zone_is_jumped_over() -> None:
    with plugged_in(PadMap(steering_dead_zone=0.24, throttle_dead_zone=0.2)) as (gamepad, reader):
        gamepad.send(Controls(1e-9, 1e-9, 0.0))
        assert reader.changes() == [(codes.ABS_X, 7864), (codes.ABS_RZ, 51)]  # 0.24 of 32767, 0.2 of 255
        gamepad.send(Controls(-0.5, 0.0, 0.0))
        assert reader.changes() == [(codes.ABS_X, -20316), (codes.ABS_RZ, 0)]
        gamepad.send(NEUTRAL)
        assert reader.changes() == [(codes.ABS_X, 0)]


@on_a_kernel
@pytest.mark.parametrize("exception", [None, ValueError, KeyboardInterrupt])
def test_a_left_block_leaves_neutral(exception: type[BaseException] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    import vgamepad

    make, kept = vgamepad.VX360Gamepad, []

    def make_and_keep() -> Any:
        kept.append(make())
        return kept[-1]

    # Otherwise the pad is unplugged at once, and the kernel discards what was not yet read.
    monkeypatch.setattr(vgamepad, "VX360Gamepad", make_and_keep)
    before, raised = nodes(), None
    gamepad = Gamepad(PadMap())
    gamepad.__enter__()
    with opened(before) as reader:
        try:
            with gamepad:
                gamepad.hold("a")
                gamepad.send(Controls(-1.0, 0.5, 1.0))
                assert len(reader.changes()) == 4
                if exception is not None:
                    raise exception
        except (ValueError, KeyboardInterrupt) as exc:
            raised = type(exc)
        assert raised is exception
        expected = [(codes.ABS_X, 0), (codes.ABS_Z, 0), (codes.ABS_RZ, 0), (codes.BTN_A, 0)]
        assert sorted(reader.changes()) == sorted(expected)
        kept.clear()
        wait_for("the pad to go", reader.is_unplugged)


@on_a_kernel
@pytest.mark.parametrize("exception", [None, ValueError, KeyboardInterrupt])
def test_a_left_block_removes_the_pad(exception: type[BaseException] | None) -> None:
    before, raised = nodes(), None
    gamepad = Gamepad(PadMap())
    gamepad.__enter__()
    with opened(before) as reader:
        try:
            with gamepad:
                gamepad.send(Controls(1.0, 1.0, 0.0))
                assert not reader.is_unplugged()
                if exception is not None:
                    raise exception
        except (ValueError, KeyboardInterrupt) as exc:
            raised = type(exc)
        assert raised is exception
        wait_for("the pad to go", reader.is_unplugged)
    assert nodes() == before


@on_a_kernel
def test_a_killed_process_takes_its_pad_with_it() -> None:
    script = (
        "import time\n"
        "from agent.contract.controls import Controls\n"
        "from agent.contract.profile import PadMap\n"
        "from agent.controllers.gamepad import Gamepad\n"
        "with Gamepad(PadMap()) as gamepad:\n"
        "    while True:\n"
        "        gamepad.send(Controls(1.0, 1.0, 0.0))\n"
        "        time.sleep(0.01)\n"
    )
    before = nodes()
    process = subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY)
    try:
        with opened(before) as reader:
            wait_for("full lock", lambda: reader.steering() == STICK_MAX)
            process.kill()
            assert process.wait() == -signal.SIGKILL
            wait_for("the pad to go", reader.is_unplugged, seconds=2.0)
    finally:
        process.kill()
        process.wait()
    assert nodes() == before


@on_a_kernel
def test_a_sweep_of_200_steps_arrives_step_by_step() -> None:
    sweep = np.linspace(-1.0, 1.0, 200)
    with plugged_in() as (gamepad, reader):
        arrived = []
        for steering in sweep:
            gamepad.send(Controls(float(steering), 0.0, 0.0))
            arrived += reader.changes()
    # Steps of 329 are far above the fuzz, so not one is lost or softened.
    assert arrived == [(codes.ABS_X, round(steering * STICK_MAX)) for steering in sweep.tolist()]


def softened(old: int, new: int) -> int:
    """Return what Linux makes of a new value: ``input_defuzz_abs_event`` in drivers/input/input.c."""
    change = abs(new - old)
    if change < FUZZ / 2:
        return old
    if change < FUZZ:
        return int((3 * old + new) / 4)  # towards zero, as C divides
    if change < 2 * FUZZ:
        return int((old + new) / 2)
    return new


@on_a_kernel
def test_the_fuzz_is_what_the_kernel_s_source_says() -> None:
    with plugged_in() as (gamepad, reader):
        for start in (0, 5000, -5000):
            for change in range(-40, 41):
                gamepad.send(Controls(1.0))
                gamepad.send(Controls(start / STICK_MAX))
                assert reader.steering() == start
                gamepad.send(Controls((start + change) / STICK_MAX))
                assert reader.steering() == softened(start, start + change), (start, change)
                assert abs(reader.steering() - start - change) <= FUZZ
                reader.changes()


@on_a_kernel
def test_a_slow_sweep_stays_within_the_fuzz() -> None:
    with plugged_in() as (gamepad, reader):
        for position in (*range(201), *range(200, -201, -1), *range(-200, 1)):
            gamepad.send(Controls(position / STICK_MAX))
            assert abs(reader.steering() - position) < FUZZ
            reader.changes()


@on_a_kernel
def test_a_game_may_make_it_rumble() -> None:
    # In another process, as a game is: the call waits for the pad's own thread, and keeps Python's lock meanwhile.
    script = (
        "import sys\n"
        "from evdev import InputDevice, ecodes, ff\n"
        "device = InputDevice(sys.argv[1])\n"
        "rumble = ff.EffectType(ff_rumble_effect=ff.Rumble(strong_magnitude=65535, weak_magnitude=0))\n"
        "effect = ff.Effect(ecodes.FF_RUMBLE, -1, 0, ff.Trigger(0, 0), ff.Replay(100, 0), rumble)\n"
        "number = device.upload_effect(effect)\n"
        "device.write(ecodes.EV_FF, number, 1)\n"
        "device.erase_effect(number)\n"
    )
    with plugged_in() as (gamepad, reader):
        # Unanswered, the kernel fails a request after 30 s.
        subprocess.run([sys.executable, "-c", script, reader.device.path], check=True, timeout=20)
        gamepad.send(Controls(1.0))
        assert reader.changes() == [(codes.ABS_X, STICK_MAX)]


@contextmanager
def js_of(reader: Reader) -> Iterator[int]:
    """Open the js node of a pad."""
    folder = Path("/sys/class/input", Path(reader.device.path).name, "device")
    if not Path("/sys/module/joydev").exists():
        pytest.skip("this kernel has not loaded joydev: `sudo modprobe joydev`")
    (entry,) = wait_for("the js node", lambda: list(folder.glob("js*")))
    node = Path("/dev/input", entry.name)
    wait_for("the js node", lambda: os.access(node, os.R_OK))
    descriptor = os.open(node, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def js_changes(descriptor: int) -> dict[tuple[int, int], int]:
    """Return the last value of each (type, number) that has changed since the last call."""
    found: dict[tuple[int, int], int] = {}
    while True:
        try:
            data = os.read(descriptor, JS_EVENT.size)
        except BlockingIOError:
            return found
        _, value, kind, number = JS_EVENT.unpack(data)
        found[kind & ~JS_INITIAL, number] = value


@on_a_kernel
def test_a_game_on_the_js_interface_sees_the_same() -> None:
    with plugged_in() as (gamepad, reader), js_of(reader) as js:
        start = js_changes(js)
        assert {number: start[JS_AXIS, number] for number in (X, Y, Z, RX, RY, RZ)} == {
            X: 0, Y: 0, Z: -STICK_MAX, RX: 0, RY: 0, RZ: -STICK_MAX,
        }  # fmt: skip
        for steering, stick in STEERING:
            gamepad.send(Controls(-0.25))
            js_changes(js)
            gamepad.send(Controls(steering))
            assert js_changes(js) == {(JS_AXIS, X): pytest.approx(stick, abs=4)}, steering
        gamepad.send(Controls(0.0, 1.0, 0.0))
        assert js_changes(js) == {(JS_AXIS, X): 0, (JS_AXIS, RZ): STICK_MAX}
        gamepad.send(Controls(0.0, 0.0, 1.0))
        assert js_changes(js) == {(JS_AXIS, RZ): -STICK_MAX, (JS_AXIS, Z): STICK_MAX}
        gamepad.hold("b")
        gamepad.send(NEUTRAL)
        assert js_changes(js) == {(JS_AXIS, Z): -STICK_MAX, (JS_BUTTON, 1): 1}


@on_a_kernel
def test_the_js_interface_has_a_dead_zone_of_its_own() -> None:
    with plugged_in() as (gamepad, reader), js_of(reader) as js:
        js_changes(js)
        gamepad.send(Controls(FLAT / STICK_MAX))
        assert reader.changes() == [(codes.ABS_X, FLAT)]
        assert js_changes(js) == {}
        gamepad.send(Controls(4 * FLAT / STICK_MAX))
        assert js_changes(js)[JS_AXIS, X] > 0


@pytest.fixture
def sdl(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """pygame as a running game has it, before the pad is plugged in."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "1")
    if not Path("/run/udev/control").exists():  # nobody would tell it of new devices: it has to look itself
        monkeypatch.setenv("SDL_JOYSTICK_DISABLE_UDEV", "1")
    import pygame
    from pygame._sdl2 import controller

    pygame.display.init()
    pygame.joystick.init()
    controller.init()
    yield pygame
    controller.quit()
    pygame.joystick.quit()
    pygame.display.quit()


@on_a_kernel
def test_a_running_sdl_game_sees_the_pad_come_move_and_go(sdl: Any) -> None:
    from pygame._sdl2 import controller

    def count() -> int:
        sdl.event.pump()
        return int(sdl.joystick.get_count())

    before = count()
    with plugged_in() as (gamepad, _):
        wait_for("SDL to find the pad", lambda: count() > before)
        joystick, pad = sdl.joystick.Joystick(before), controller.Controller(before)
        assert "360" in joystick.get_name()
        gamepad.send(NEUTRAL)

        def axes() -> list[int]:
            """Steering, brake and throttle, as the joystick has them and as the mapped controller has them."""
            sdl.event.pump()
            joystick_axes = [round(joystick.get_axis(number) * 32768) for number in (X, Z, RZ)]
            names = (sdl.CONTROLLER_AXIS_LEFTX, sdl.CONTROLLER_AXIS_TRIGGERLEFT, sdl.CONTROLLER_AXIS_TRIGGERRIGHT)
            return joystick_axes + [pad.get_axis(name) for name in names]

        gamepad.send(Controls(0.0, 1.0, 1.0))  # SDL takes no trigger for known that has never moved
        wait_for("SDL to see the triggers", lambda: axes() == [0, 32767, 32767, 0, 32767, 32767])
        gamepad.send(NEUTRAL)
        assert axes() == [0, -32768, -32768, 0, 0, 0]
        for steering, stick in STEERING:
            gamepad.send(Controls(steering, 0.0, 0.5))
            half = round(128 / 255 * 65535) - 32768
            assert axes() == [stick, half, -32768, stick, pytest.approx(16448, abs=1), 0], steering
        gamepad.send(Controls(0.0, 0.5, 0.0))
        assert axes() == [0, -32768, half, 0, 0, pytest.approx(16448, abs=1)]

        for button, number in (("a", 0), ("b", 1), ("x", 2), ("y", 3), ("start", 7)):
            gamepad.hold(button)
            gamepad.send(NEUTRAL)
            sdl.event.pump()
            pressed = [index for index in range(joystick.get_numbuttons()) if joystick.get_button(index)]
            assert pressed == [number]
            assert pad.get_button(getattr(sdl, f"CONTROLLER_BUTTON_{button.upper()}"))
            gamepad.release(button)
    wait_for("SDL to see the pad go", lambda: count() == before)
    assert not pad.attached()


@on_a_kernel
def test_a_thousand_sends_arrive_in_the_time_that_is_printed() -> None:
    durations = []
    with plugged_in() as (gamepad, reader):
        for number in range(1000):
            controls = Controls(0.9 * (-1) ** number, (number % 256) / TRIGGER_MAX, 0.0)
            start = time.perf_counter()
            gamepad.send(controls)
            durations.append(time.perf_counter() - start)
            stick = 29490 if number % 2 == 0 else -29490
            trigger = [(codes.ABS_RZ, number % 256)] if number else []
            assert reader.changes() == [(codes.ABS_X, stick), *trigger]
    median, slow = np.percentile(durations, (50, 99)) * 1e3
    sys.stdout.write(f"send(): p50 {median:.2f} ms, p99 {slow:.2f} ms\n")


@pytest.mark.virtual_machine
def test_all_of_this_holds_in_a_virtual_machine() -> None:
    check = subprocess.run([sys.executable, str(RUN_IN_VM), "--check"], capture_output=True, text=True)
    if check.returncode:
        pytest.skip(check.stderr.strip())
    inside = [sys.executable, "-m", "pytest", "--run-game", "-rP", "--color=no", "-p", "no:cacheprovider"]
    files = [__file__, str(Path(__file__).with_name("test_wheel_on_a_kernel.py"))]
    done = subprocess.run(
        [sys.executable, str(RUN_IN_VM), "--timeout", "600", *inside, "-k", "not virtual_machine", *files],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stderr
    summary = done.stdout.splitlines()[-1]
    # Nothing failed, and nothing was skipped either.
    assert re.fullmatch(r"=+ \d+ passed, 1 deselected in .* =+", summary), summary
