"""A gamepad in somebody's hands, through SDL: it knows where the sticks of some thousand models are."""

import os
from types import TracebackType
from typing import Any, Self

os.environ.setdefault("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "1")  # the game's window has the focus, not ours
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import ControllerError

_FULL = 32767
_REST = 0.08
"""Deflection that a stick at rest may show; a third of what Microsoft allows the left one, 7849 of 32767 (XInput.h)."""


class GamepadInput:
    """The first gamepad that is plugged in, now or later; steering on the left stick, pedals on the triggers.

    Args:
        own_window: Whether this program shows a window, and so hears of events by itself.

    Attributes:
        ignored: SDL's instance ids of the pads that are not read, such as the agent's own virtual one.
    """

    def __init__(self, own_window: bool = False) -> None:
        self.ignored: set[int] = set()
        self._own_window = own_window
        self._pad: Any = None
        self._instance = -1
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
        if self._pad is not None and (not self._pad.attached() or self._instance in self.ignored):
            self._pad = None
        if self._pad is None or pygame.joystick.get_count() != self._pads:
            self._find()
        if self._pad is None:
            return NEUTRAL
        steering = self._pad.get_axis(pygame.CONTROLLER_AXIS_LEFTX) / _FULL
        throttle = self._pad.get_axis(pygame.CONTROLLER_AXIS_TRIGGERRIGHT) / _FULL
        brake = self._pad.get_axis(pygame.CONTROLLER_AXIS_TRIGGERLEFT) / _FULL
        return Controls(steering if abs(steering) > _REST else 0.0, throttle, brake).clip()

    def pressed(self, button: int) -> bool:
        """Return whether an SDL controller button is down."""
        return self._pad is not None and bool(self._pad.get_button(button))

    def _find(self) -> None:
        import pygame

        self._pads = pygame.joystick.get_count()
        if self._pad is not None:
            return
        for index in range(self._pads):
            instance = pygame.joystick.Joystick(index).get_instance_id()
            if instance not in self.ignored and _controllers().is_controller(index):
                self._pad, self._instance = _controllers().Controller(index), instance
                return


def _controllers() -> Any:
    from pygame._sdl2 import controller

    return controller
