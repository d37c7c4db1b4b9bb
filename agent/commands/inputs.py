"""``inputs``: lists a person's gamepads, wheels and other devices, shows them move, and learns what they mean."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agent.commands.options import JSON, Command, Entry, Invocation
from agent.commands.wiring import EXIT_DONE, note, say, say_json
from agent.contract.controls import AXIS_NAMES
from agent.contract.errors import ControllerError
from agent.contract.untrusted import printable
from agent.settings.inputs import InputsSettings, LearnInputSettings

_SKIP = "-"
_LOOKS_A_SECOND = 20


def _list(settings: InputsSettings, invocation: Invocation) -> int:
    from agent.inputs.device_map import find_map, map_path

    with _devices() as devices:
        rows = []
        for joystick, is_known in devices:
            guid = joystick.get_guid()
            rows.append(
                {
                    "name": printable(joystick.get_name()),
                    "guid": guid,
                    "axes": joystick.get_numaxes(),
                    "buttons": joystick.get_numbuttons(),
                    "read_as": "map" if find_map(guid) is not None else "gamepad" if is_known else "nothing",
                    "map": str(map_path(guid)),
                }
            )
        if invocation.json:
            say_json({"devices": rows})
            return EXIT_DONE
        if not rows:
            say("no gamepad, wheel or other device is plugged in")
        for number, row in enumerate(rows, 1):
            about = f"{row['axes']} axes, {row['buttons']} buttons"
            say(f"{number}. {row['name']}: {about}; {_READ_AS[str(row['read_as'])]}")
        if rows and settings.seconds is not None:
            _watch(devices, settings.seconds)
    return EXIT_DONE


_READ_AS = {
    "gamepad": "SDL knows it as a gamepad",
    "map": "read by its map",
    "nothing": "not listened to; `python -m agent inputs learn` teaches it",
}


def _watch(devices: list[tuple[Any, bool]], seconds: float) -> None:
    """Show the axes and buttons of all devices while they move."""
    import pygame
    from rich.live import Live
    from rich.text import Text

    end_s = time.monotonic() + seconds
    with Live(refresh_per_second=_LOOKS_A_SECOND) as live:
        while time.monotonic() < end_s:
            pygame.event.pump()
            lines = []
            for number, (joystick, _) in enumerate(devices, 1):
                axes = " ".join(f"{joystick.get_axis(axis):+.2f}" for axis in range(joystick.get_numaxes()))
                down = [str(each) for each in range(joystick.get_numbuttons()) if joystick.get_button(each)]
                lines.append(f"{number}. axes {axes}   buttons {' '.join(down) or 'none'}")
            live.update(Text("\n".join(lines)))
            time.sleep(1 / _LOOKS_A_SECOND)


def _learn(settings: LearnInputSettings, invocation: Invocation) -> int:
    from agent.inputs.device_map import save_map
    from agent.inputs.learning import Learner

    with _devices() as devices:
        if settings.device > len(devices):
            raise ControllerError(
                f"there is no device {settings.device}, expected 1 to {len(devices)}: see `python -m agent inputs`."
                if devices
                else "no gamepad, wheel or other device is plugged in. Plug it in, then try again."
            )
        joystick, _ = devices[settings.device - 1]
        say(f"Learning {printable(joystick.get_name())}. Move every wheel, pedal and lever once, then let them all go.")
        rest = _when_ready("Everything is let go, the wheel straight", joystick)
        learner = Learner(joystick.get_name(), joystick.get_guid(), rest)
        while True:
            left = _when_ready("Turn the wheel left, as far as in the sharpest bend, and hold it", joystick)
            right = _when_ready("Turn it right as far, and hold it", joystick)
            if _done(lambda left=left, right=right: learner.learn_steering(left, right)):
                break
        for name in AXIS_NAMES[1:]:
            _ask_for(name, f"Press the {name} fully, and hold it", joystick, learner)
        _ask_for(None, "Hold the button that shall give the wheel back to the network", joystick, learner)
        path = save_map(learner.result())
    say(f"wrote {path}: record, play and taking over listen to it from now on")
    say("see it move: python -m agent inputs --seconds 20")
    return EXIT_DONE


def _ask_for(name: str | None, what: str, joystick: Any, learner: Any) -> None:
    """Ask for a pedal, or for the Back button if there is no name, until it is learnt or skipped."""
    while True:
        held = _when_ready(f"{what} ({_SKIP} and Enter if there is none)", joystick, may_skip=True)
        if held is None:
            return
        if _done(lambda held=held: learner.learn_back(held) if name is None else learner.learn_pedal(name, held)):
            return


def _done(learn: Any) -> bool:
    """Learn something; return False, and say why, if it must be tried again."""
    try:
        say(f"  {learn()}")
    except ControllerError as exc:
        note(str(exc))
        return False
    return True


def _when_ready(what: str, joystick: Any, may_skip: bool = False) -> Any:
    """Ask, wait for Enter, and return what the device reports; None if it was skipped."""
    import pygame

    from agent.inputs.learning import Snapshot

    try:
        answer = input(f"{what}, then press Enter: ")
    except EOFError:  # the input ended: the same as Ctrl-C
        raise KeyboardInterrupt from None
    if may_skip and answer.strip() == _SKIP:
        return None
    pygame.event.pump()
    return Snapshot.of(joystick)


@contextmanager
def _devices() -> Iterator[list[tuple[Any, bool]]]:
    """Open every device that is plugged in, with whether SDL knows it as a gamepad."""
    from agent.inputs.gamepad import GamepadInput

    with GamepadInput() as hands:
        yield hands.devices()


COMMAND = Command(
    settings=InputsSettings,
    run=_list,
    example="python -m agent inputs --seconds 20",
    notes="a gamepad needs nothing; a wheel that is not listened to, or is read wrongly, is taught once with `learn`",
    json=JSON,
    actions=(
        Entry(
            "learn",
            "teach a wheel or another device: it asks you to turn and press one thing after the other",
            Command(settings=LearnInputSettings, run=_learn, example="python -m agent inputs learn --device 2"),
        ),
    ),
    actions_title="further",
)
