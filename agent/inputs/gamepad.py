"""A gamepad in somebody's hands, through SDL: it knows where the sticks of some thousand models are."""

import os
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

os.environ.setdefault("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "1")  # the game's window has the focus, not ours
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

from agent.contract.controls import AXIS_BY_NAME, NEUTRAL, Controls
from agent.contract.errors import ControllerError
from agent.contract.profile import STEERING_AXES, PadMap, PedalAxis, SteeringAxis
from agent.system.pacing import clock_ns

# SDL's names of the places that a profile knows; it counts a stick's way down as positive.
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
_REST = 0.08
"""Deflection that a stick at rest may show; a third of what Microsoft allows the left one, 7849 of 32767 (XInput.h)."""


class GamepadInput:
    """The first gamepad that is plugged in, now or later; steering on the left stick, pedals on the triggers.

    Args:
        own_window: Whether this program shows a window, and so hears of events by itself.
        pad: The game's map of the pad: its further axes are read where they lie there; None: there are none.

    Attributes:
        accepts: Which pads are read, by SDL's instance id; the agent's own virtual one looks like any other.
    """

    def __init__(self, own_window: bool = False, pad: PadMap | None = None) -> None:
        self.accepts: Callable[[int], bool] = lambda instance: True
        self._own_window = own_window
        self._others = () if pad is None else pad.others
        self._pad: Any = None
        self._instance = -1
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

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        import pygame

        self._pad = None
        _controllers().quit()
        pygame.joystick.quit()
        if not self._own_window:
            pygame.display.quit()  # or SDL would go on looking at every device that is plugged in

    @property
    def name(self) -> str | None:
        """The pad's own name; None if there is none."""
        return None if self._pad is None else str(self._pad.name)

    def instances(self) -> set[int]:
        """Return SDL's instance ids of the pads that are plugged in now."""
        import pygame

        if not self._own_window:
            pygame.event.pump()
        return {pygame.joystick.Joystick(index).get_instance_id() for index in range(pygame.joystick.get_count())}

    def read(self) -> Controls:
        """Return the pad's controls; neutral without one."""
        import pygame

        if not self._own_window:
            pygame.event.pump()
        if self._pad is not None and (not self._pad.attached() or not self.accepts(self._instance)):
            self._pad, self._pads = None, -1
        if pygame.joystick.get_count() != self._pads or (self._pad is None and clock_ns() >= self._look_again_ns):
            self._find()
        if self._pad is None:
            return NEUTRAL
        steering = self._pad.get_axis(pygame.CONTROLLER_AXIS_LEFTX) / _FULL
        throttle = self._pad.get_axis(pygame.CONTROLLER_AXIS_TRIGGERRIGHT) / _FULL
        brake = self._pad.get_axis(pygame.CONTROLLER_AXIS_TRIGGERLEFT) / _FULL
        others = {name: AXIS_BY_NAME[name].value_at(self._share(place)) for name, place in self._others}
        return Controls(steering if abs(steering) > _REST else 0.0, throttle, brake, **others).clip()

    def _share(self, place: SteeringAxis | PedalAxis) -> float:
        """Return how far what lies there is moved: [-1, 1] for a whole stick, else [0, 1]."""
        import pygame

        if place in _SDL_BUTTONS:
            return float(self._pad.get_button(getattr(pygame, f"CONTROLLER_BUTTON_{_SDL_BUTTONS[place]}")))
        name, sign = _SDL_AXES[place]
        share = float(sign * self._pad.get_axis(getattr(pygame, f"CONTROLLER_AXIS_{name}")) / _FULL)
        if place not in STEERING_AXES:
            share = max(0.0, share)
        return share if abs(share) > _REST else 0.0

    def back_pressed(self) -> bool:
        """Return whether the Back button is down."""
        import pygame

        return self._pad is not None and bool(self._pad.get_button(pygame.CONTROLLER_BUTTON_BACK))

    def _find(self) -> None:
        import pygame

        self._pads = pygame.joystick.get_count()
        self._look_again_ns = clock_ns() + _LOOK_AGAIN_NS  # a pad is counted a moment before it can be opened
        for index in range(self._pads):
            if self._pad is not None:
                return
            with suppress(pygame.error):  # unplugged meanwhile
                instance = pygame.joystick.Joystick(index).get_instance_id()
                if self.accepts(instance) and _controllers().is_controller(index):
                    self._pad, self._instance = _controllers().Controller(index), instance


def _controllers() -> Any:
    from pygame._sdl2 import controller

    return controller
