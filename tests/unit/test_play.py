"""The game in its window, of SDL's dummy kind: what is pressed in it."""

import pygame
import pytest

from agent.sessions.play import GameWindow


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> GameWindow:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    return GameWindow(64, 48)


def test_a_tap_between_two_ticks_counts_for_one(window: GameWindow) -> None:
    with window:
        assert window.read(0.02).throttle == 0.0
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_UP))
        pygame.event.post(pygame.event.Event(pygame.KEYUP, key=pygame.K_UP))
        assert window.read(0.02).throttle == 1.0
        assert window.read(0.02).throttle == 0.0
