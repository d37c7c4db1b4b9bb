"""The game in its window, of SDL's dummy kind: what is pressed in it."""

import pygame
import pytest

from agent.sessions.play import GameWindow, fitting_size


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


@pytest.mark.parametrize("desktop", [(1920, 1080), (1366, 768), (1280, 800), (800, 600)])
def test_a_window_has_room_on_the_desktop_and_keeps_its_shape(desktop: tuple[int, int]) -> None:
    width, height = fitting_size((1000, 800), desktop)
    assert width <= desktop[0]
    assert height <= desktop[1] - 100
    assert width / height == pytest.approx(1.25, abs=0.01)
    assert desktop[1] < 1000 or (width, height) == (1000, 800)
