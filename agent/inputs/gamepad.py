"""A person's gamepad or wheel: SDL knows the layouts of about a thousand gamepads, others are read by a map."""

import logging
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, Self

os.environ.setdefault("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "1")  # the game's window has the focus, not ours
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

from agent.contract.controls import AXIS_BY_NAME, NEUTRAL, Controls
from agent.contract.errors import ControllerError
from agent.contract.profile import STEERING_AXES, PadMap, PedalAxis, SteeringAxis
from agent.inputs.device_map import DeviceMap, find_map
from agent.inputs.mapped import MappedDevice
from agent.inputs.resting import RestingPlace
from agent.system.pacing import clock_ns

_log = logging.getLogger(__name__)

# SDL's names for the places in a profile. In SDL, down is positive on a stick.
_SDL_AXES: dict[SteeringAxis | PedalAxis, tuple[str, int]] = {
    "left_x": ("LEFTX", 1),
    "right_x": ("RIGHTX", 1),
    "left_trigger": ("TRIGGERLEFT", 1),
    "right_trigger": ("TRIGGERRIGHT", 1),
    "left_y_up": ("LEFTY", -1),
    "left_y_down": ("LEFTY", 1),
    "right_y_up": ("RIGHTY", -1),
    "right_y_down": ("RIGHTY", 1),
}
_SDL_BUTTONS: dict[SteeringAxis | PedalAxis, str] = {
    "button_a": "A",
    "button_b": "B",
    "button_x": "X",
    "button_y": "Y",
    "left_shoulder": "LEFTSHOULDER",
    "right_shoulder": "RIGHTSHOULDER",
}

_FULL = 32767
_LOOK_AGAIN_NS = 500_000_000
_MOVED = 0.25  # so far from its rest, another pad is read instead
_REST = 0.08
"""Deflection that a stick may show at rest. Microsoft allows three times as much for the left stick: 7849 of 32767
(XInput.h)."""


class GamepadInput:
    """A gamepad that is plugged in now or later; steering on the left stick, pedals on the triggers.

    A device that has a map (:mod:`agent.inputs.device_map`) is read by it, whether or not SDL knows it as a gamepad. Of
    several devices, the one that is moved is read. Another takes its place when it moves while this one rests.

    Args:
        own_window: Whether this program shows a window, and so receives events anyway.
        pad: The game's map of the pad, for its further axes; None if there are none.

    Attributes:
        accepts: Which pads are read, by SDL's instance id: the agent's own virtual pad looks like any other.
    """

    def __init__(self, own_window: bool = False, pad: PadMap | None = None) -> None:
        self.accepts: Callable[[int], bool] = lambda instance: True
        self._own_window = own_window
        self._others = () if pad is None else pad.others
        self._pad: Any = None  # the pad that is read
        self._open: dict[int, Any] = {}  # every open pad, by SDL's instance id
        self._rests: dict[int, RestingPlace] = {}  # where each of them rests
        self._mine: dict[int, str] | None = None  # instance ids and models of the pads that may be read; None: any pad
        self._strangers: set[int] = set()
        self._others_there: list[str] = []  # joysticks that neither SDL nor a map knows
        self._look_again_ns = 0
        self._pads = 0

    def __enter__(self) -> Self:
        """Start looking for pads.

        Raises:
            ControllerError: If SDL cannot be started.
        """
        import pygame

        if not self._own_window:
            os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # events need a display, and this one opens none
        try:
            pygame.display.init()
            pygame.joystick.init()
            _controllers().init()
        except pygame.error as exc:
            raise ControllerError(f"SDL cannot look for gamepads ({exc}), expected it to start.") from exc
        self._find()
        return self

    def __exit__(self, *exc_info: object) -> None:
        import pygame

        self._pad = None
        self._open.clear()
        _controllers().quit()
        pygame.joystick.quit()
        if not self._own_window:
            pygame.display.quit()  # otherwise SDL would keep looking at every device that is plugged in

    @property
    def name(self) -> str | None:
        """The pad's own name; None if there is none."""
        return None if self._pad is None else str(self._pad.name)

    def instances(self) -> set[int]:
        """Return SDL's instance ids of the pads that are plugged in now."""
        return set(self._plugged_in())

    def names(self) -> list[str]:
        """Return the names of the pads, wheels and joysticks that are plugged in now, in the order of SDL."""
        return [str(joystick.get_name()) for _, joystick in self._plugged_in().values()]

    def devices(self) -> list[tuple[Any, bool]]:
        """Return every device that is plugged in now, open, and whether SDL knows it as a gamepad."""
        return [(stick, bool(_controllers().is_controller(index))) for index, stick in self._plugged_in().values()]

    def keep_to_those_here(self) -> None:
        """Read only the pads that are plugged in now. A pad that is unplugged may be replaced by one of the same model.

        The agent's own virtual pad is plugged in later and looks like an Xbox pad. It is not read, because no pad is
        missing at that time.
        """
        self._mine = {instance: joystick.get_guid() for instance, (_, joystick) in self._plugged_in().items()}
        self._find()

    def _plugged_in(self) -> dict[int, tuple[int, Any]]:
        import pygame

        if not self._own_window:
            pygame.event.pump()
        found = {}
        for index in range(pygame.joystick.get_count()):
            with suppress(pygame.error):  # unplugged meanwhile
                joystick = pygame.joystick.Joystick(index)
                found[joystick.get_instance_id()] = index, joystick
        return found

    def _is_mine(self, instance: int, model: str, here: Collection[int]) -> bool:
        """Return whether a pad may be read; a pad that comes back takes the place of the one that was unplugged."""
        if self._mine is None or instance in self._mine:
            return True
        if instance not in self._strangers:
            missing = [gone for gone, other in self._mine.items() if other == model and gone not in here]
            if missing:
                self._mine[instance] = self._mine.pop(missing[0])
                return True
            self._strangers.add(instance)
        return False

    def unheard(self) -> str | None:
        """Say that there is no gamepad, and which other devices there are; None if there is one."""
        if self._pad is not None:
            return None
        if self._others_there:
            return (
                f"SDL knows no gamepad in {' and '.join(map(repr, self._others_there))}: teach it once with `python -m "
                "agent inputs learn`, or drive with the keys"
            )
        return "no gamepad is plugged in"

    def read(self) -> Controls:
        """Return the pad's controls; neutral without one."""
        import pygame

        if not self._own_window:
            pygame.event.pump()
        for instance, pad in list(self._open.items()):
            if not pad.attached() or not self.accepts(instance):
                del self._open[instance]
                self._pads = -1
        if pygame.joystick.get_count() != self._pads or (not self._open and clock_ns() >= self._look_again_ns):
            self._find()
        if self._pad not in self._open.values():
            self._pad = next(iter(self._open.values()), None)
        if self._pad is None:
            return NEUTRAL
        controls = self._read(self._pad)
        if len(self._open) > 1:
            return self._of_the_pad_that_is_moved(controls)
        return controls

    def _of_the_pad_that_is_moved(self, controls: Controls) -> Controls:
        """Return the controls of the pad that is read, or of another one that is moved while this one rests."""
        now_ns = clock_ns()
        shown = {instance: controls if pad is self._pad else self._read(pad) for instance, pad in self._open.items()}
        moved = {instance: self._rests[instance].moved(each, now_ns) for instance, each in shown.items()}
        if any(pad is self._pad and moved[instance] > _REST for instance, pad in self._open.items()):
            return controls
        for instance, pad in self._open.items():
            if moved[instance] > _MOVED:
                self._pad = pad
                return shown[instance]
        return controls

    def _read(self, pad: Any) -> Controls:
        if isinstance(pad, MappedDevice):
            return pad.controls()

        import pygame

        steering = pad.get_axis(pygame.CONTROLLER_AXIS_LEFTX) / _FULL
        throttle = pad.get_axis(pygame.CONTROLLER_AXIS_TRIGGERRIGHT) / _FULL
        brake = pad.get_axis(pygame.CONTROLLER_AXIS_TRIGGERLEFT) / _FULL
        others = {name: AXIS_BY_NAME[name].value_at(self._share(pad, place)) for name, place in self._others}
        return Controls(steering if abs(steering) > _REST else 0.0, throttle, brake, **others).clip()

    def _share(self, pad: Any, place: SteeringAxis | PedalAxis) -> float:
        """Return how far the stick, trigger or button is moved: [-1, 1] for a whole stick axis, else [0, 1]."""
        import pygame

        if place in _SDL_BUTTONS:
            return float(pad.get_button(getattr(pygame, f"CONTROLLER_BUTTON_{_SDL_BUTTONS[place]}")))
        name, sign = _SDL_AXES[place]
        share = float(sign * pad.get_axis(getattr(pygame, f"CONTROLLER_AXIS_{name}")) / _FULL)
        if place not in STEERING_AXES:
            share = max(0.0, share)
        return share if abs(share) > _REST else 0.0

    def back_pressed(self) -> bool:
        """Return whether the Back button is down."""
        if isinstance(self._pad, MappedDevice):
            return self._pad.back_pressed()

        import pygame

        return self._pad is not None and bool(self._pad.get_button(pygame.CONTROLLER_BUTTON_BACK))

    def _find(self) -> None:
        import pygame

        self._pads = pygame.joystick.get_count()
        self._look_again_ns = clock_ns() + _LOOK_AGAIN_NS  # SDL counts a pad a moment before it can be opened
        here = self._plugged_in()
        for instance in self._open.keys() - here.keys():
            del self._open[instance]
        self._others_there = []
        for instance, (index, joystick) in here.items():
            with suppress(pygame.error):  # unplugged meanwhile
                if not self.accepts(instance) or not self._is_mine(instance, joystick.get_guid(), here):
                    continue
                if instance in self._open:
                    continue
                if (device_map := _map_of(joystick)) is not None:  # a person's own map counts more than SDL's
                    pad: Any = MappedDevice(joystick, device_map)
                elif _controllers().is_controller(index):
                    pad = _controllers().Controller(index)
                else:
                    self._others_there.append(joystick.get_name())
                    continue
                self._rests[instance] = RestingPlace(self._read(pad), clock_ns())
                self._open[instance] = pad
        if self._pad is None:
            self._pad = next(iter(self._open.values()), None)


def _map_of(joystick: Any) -> DeviceMap | None:
    """Return the map of a device; None if there is none, or, with a warning, if it is faulty."""
    try:
        return find_map(joystick.get_guid())
    except ControllerError as exc:
        _log.warning("the map of %s is left out: %s", joystick.get_name(), exc)
        return None


def _controllers() -> Any:
    from pygame._sdl2 import controller

    return controller
