"""The game's window, keys and gamepad."""

import os

os.environ.setdefault("SDL_AUDIODRIVER", "dummy")

import pygame
from pygame._sdl2 import controller

from .car import Hands
from .game import PICTURES_PER_S, Game

_LONGEST_STEP_S = 0.1  # a machine that is too busy for ten pictures a second slows the game down
_FULL = 32767
_REST = 0.08  # of a stick's travel


class Window:
    """Shows a game and listens to its player.

    Args:
        game: What is played.
        title: Of the window.
        size: Of the picture in pixels.
        gamepad: Whether a gamepad drives, too.
    """

    def __init__(self, game: Game, title: str, size: tuple[int, int], gamepad: bool) -> None:
        self._game = game
        self._title = title
        self._size = size
        self._full = False
        self._open = True
        self._picture = pygame.Surface(size)
        self._pad: controller.Controller | None = None
        self._with_pad = gamepad
        self._window: pygame.Window | None = None
        pygame.display.init()
        if gamepad:
            controller.init()
        self._make()

    def run(self, seconds: float | None) -> None:
        """Play until the window is closed.

        Args:
            seconds: Close it by itself after so many.
        """
        clock = pygame.time.Clock()
        elapsed_s = passed_s = 0.0
        while self._open and (seconds is None or passed_s < seconds):
            for event in pygame.event.get():
                self._hear(event)
            self._game.step(self._hands(), min(_LONGEST_STEP_S, elapsed_s), pygame.key.get_focused())
            self._show()
            elapsed_s = clock.tick(PICTURES_PER_S) / 1000
            passed_s += elapsed_s
        pygame.quit()

    def _make(self) -> None:
        """Open the window; another one each time, as many games do that change to the full screen and back."""
        before = self._window
        size = pygame.display.get_desktop_sizes()[0] if self._full else self._size
        self._window = pygame.Window(self._title, size, fullscreen_desktop=self._full)
        self._window.focus()
        pygame.mouse.set_visible(not self._full)
        if before is not None:
            before.destroy()

    def _hear(self, event: pygame.Event) -> None:
        if event.type == pygame.QUIT:
            self._open = False
        elif event.type == pygame.KEYDOWN:
            self._press(event.key)
        elif event.type == pygame.CONTROLLERDEVICEADDED and self._with_pad and self._pad is None:
            self._pad = controller.Controller(event.device_index)
        elif event.type == pygame.CONTROLLERBUTTONDOWN and event.button == pygame.CONTROLLER_BUTTON_START:
            self._game.confirm()

    def _press(self, key: int) -> None:
        if key == pygame.K_f:
            self._full = not self._full
            self._make()
            return
        actions = {
            pygame.K_RETURN: self._game.confirm,
            pygame.K_ESCAPE: self._game.back_to_menu,
            pygame.K_p: self._game.pause_or_go_on,
            pygame.K_r: self._game.put_back,
        }
        if key in actions:
            actions[key]()

    def _hands(self) -> Hands:
        keys = pygame.key.get_pressed()
        steering = float(keys[pygame.K_RIGHT]) - float(keys[pygame.K_LEFT])
        throttle, brake = float(keys[pygame.K_UP]), float(keys[pygame.K_DOWN])
        if self._pad is None or steering or throttle or brake:
            return Hands(steering, throttle, brake)
        stick = self._pad.get_axis(pygame.CONTROLLER_AXIS_LEFTX) / _FULL
        return Hands(
            stick if abs(stick) > _REST else 0.0,
            self._pad.get_axis(pygame.CONTROLLER_AXIS_TRIGGERRIGHT) / _FULL,
            self._pad.get_axis(pygame.CONTROLLER_AXIS_TRIGGERLEFT) / _FULL,
            direct=True,
        )

    def _show(self) -> None:
        self._game.draw(self._picture)
        assert self._window is not None
        screen = self._window.get_surface()
        if screen.get_size() == self._size:
            screen.blit(self._picture, (0, 0))
        else:
            pygame.transform.scale(self._picture, screen.get_size(), screen)
        self._window.flip()
