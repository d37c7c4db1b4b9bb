"""CarRacing in its own window, on its own clock: for people, and for an agent that sees only pixels.

The game reads a gamepad or the keyboard and knows nothing of the agent. The agent captures its window and drives it
with a virtual pad, like any other game.
"""

import itertools
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
# Otherwise SDL shows each picture through OpenGL. Emulated OpenGL took 52 % of a core instead of 21 % (50 Hz, Xvfb).
os.environ.setdefault("SDL_FRAMEBUFFER_ACCELERATION", "0")

import pygame

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import GameError
from agent.contract.observation import Frame
from agent.games.base import DriveState, Simulator
from agent.inputs.gamepad import GamepadInput
from agent.inputs.wheels import KeySteering
from agent.sessions.opening import Note, ignore
from agent.sessions.pages import PersonOnPage, page_of_person
from agent.settings.play import PlaySettings
from agent.system.pacing import Pacer, clock_ns

TITLE = "Hoodcam CarRacing"
"""The beginning of the window's title; messages follow it. Nothing is written into the picture."""

_BESIDE_PX, _ABOVE_AND_BELOW_PX = 16, 100  # a window's frame; its title and a desktop's panels
_BLIND_DRIVERS = ("dummy", "offscreen", "evdev")
_STARTS = 0.05  # the clock starts with the first steering or throttle above this
_PAUSE_S = 2.0  # between two laps
_KEY_BRAKE = 0.8  # as in gymnasium's own window: from 0.9 on, the wheels lock, and the car slides
_LEFT, _RIGHT = (pygame.K_LEFT, pygame.K_a), (pygame.K_RIGHT, pygame.K_d)
_THROTTLE, _BRAKE = (pygame.K_UP, pygame.K_w), (pygame.K_DOWN, pygame.K_s)


def fitting_size(wanted: tuple[int, int], desktop: tuple[int, int]) -> tuple[int, int]:
    """Return the largest size of a window that fits the desktop, in the same shape: pixels outside are not captured.

    Args:
        wanted: The window's wanted width and height in pixels; never exceeded.
        desktop: The desktop's width and height in pixels.
    """
    room = max(1, desktop[0] - _BESIDE_PX), max(1, desktop[1] - _ABOVE_AND_BELOW_PX)
    scale = min(1.0, *(most / size for most, size in zip(room, wanted, strict=True)))
    width, height = (max(1, int(size * scale)) for size in wanted)
    return width, height


class CarKeys:
    """What the car does while keys are held: a steady hand steers, the pedals are pressed at once."""

    def __init__(self) -> None:
        self._steering = KeySteering()

    def drive(self, left: bool, right: bool, throttle: bool, brake: bool, elapsed_s: float) -> Controls:
        """Return the controls after these keys were held for ``elapsed_s``."""
        return Controls(self._steering.steer(left, right, elapsed_s), float(throttle), _KEY_BRAKE * brake)


class GameWindow:
    """The window and the controls pressed in it; a context manager.

    Args:
        width_px: Width of its inside; less if the desktop is too small, in the same shape.
        height_px: Height of its inside.
    """

    def __init__(self, width_px: int, height_px: int) -> None:
        try:
            pygame.display.init()
            if pygame.display.get_driver() in _BLIND_DRIVERS and not os.environ.get("SDL_VIDEODRIVER"):
                raise pygame.error("no display")  # SDL's last resort is an invisible window
            self._size = fitting_size((width_px, height_px), pygame.display.get_desktop_sizes()[0])
            self._window = pygame.display.set_mode(self._size)
        except pygame.error as exc:
            raise GameError(
                f"no window can be opened ({exc}), expected a desktop. Run it where there is one; on a Linux server, "
                "under Xvfb."
            ) from exc
        self._pad = GamepadInput(own_window=True)
        self._keys = CarKeys()
        self.closed = False
        self.skip = False

    def __enter__(self) -> "GameWindow":
        self._pad.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._pad.__exit__(None, None, None)
        pygame.display.quit()

    def say(self, text: str) -> None:
        """Show a text after the window's title."""
        pygame.display.set_caption(f"{TITLE}: {text}")

    def show(self, pixels: Any) -> None:
        """Show a picture: uint8, shape (height, width, 4), BGRA."""
        height, width = pixels.shape[:2]
        picture = pygame.image.frombuffer(pixels, (width, height), "BGRA")
        picture.set_alpha(None)
        if (width, height) != self._size:
            picture = pygame.transform.smoothscale(picture, self._size)
        self._window.blit(picture, (0, 0))
        pygame.display.flip()

    def read(self, elapsed_s: float) -> Controls:
        """Return the person's controls: the pad's, or the keys' if the pad is at rest."""
        self.skip = False
        tapped = set()  # a tap shorter than a tick counts for the whole tick
        for event in pygame.event.get():
            if event.type == pygame.KEYDOWN:
                tapped.add(event.key)
            if event.type == pygame.QUIT or (event.type == pygame.KEYDOWN and event.key == pygame.K_ESCAPE):
                self.closed = True
            elif event.type == pygame.KEYDOWN and event.key == pygame.K_r:
                self.skip = True
            elif event.type == pygame.WINDOWEXPOSED:  # nothing else keeps the picture of a covered or minimised window
                pygame.display.flip()
        keys = pygame.key.get_pressed()
        left, right, throttle, brake = (
            any(keys[key] or key in tapped for key in keys_of) for keys_of in (_LEFT, _RIGHT, _THROTTLE, _BRAKE)
        )
        by_keys = self._keys.drive(left, right, throttle, brake, elapsed_s)
        by_pad = self._pad.read()
        return by_keys if by_pad == NEUTRAL else by_pad


def play(
    simulator: Simulator,
    window: GameWindow,
    seeds: Iterable[int],
    report: Path | None = None,
    page: PersonOnPage | None = None,
) -> Iterable[tuple[int, DriveState]]:
    """Drive one lap for each seed; yield the result of each.

    The window's close button and Escape end the game; R starts a lap again. A lap's clock stands still until the first
    steering or throttle, so that there is time to get ready.

    Args:
        simulator: The game.
        window: Where it is shown.
        seeds: Seeds of the tracks.
        report: Receives one line of JSON for each lap.
        page: Shows it.
    """
    for seed in seeds:
        state, late = _lap(simulator, window, seed, page)
        if window.closed:
            return
        if report is not None:
            with report.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"seed": seed, "ticks_late": late, **asdict(state)}) + "\n")
        yield seed, state


def _lap(simulator: Simulator, window: GameWindow, seed: int, page: PersonOnPage | None) -> tuple[DriveState, int]:
    """Drive one lap, as often as it is started again; return its end and how many ticks came more than a tick late."""
    while True:
        pacer = Pacer(simulator.tick_s)
        with nullcontext() if page is None else page.lap(pacer.stats, seed, lambda: simulator.state):
            is_over = _drive_lap(simulator, window, seed, pacer, page)
        if is_over:
            return simulator.state, pacer.stats.missed


def _drive_lap(simulator: Simulator, window: GameWindow, seed: int, pacer: Pacer, page: PersonOnPage | None) -> bool:
    """Drive a lap; return whether it is over, or the person wants to start it again."""
    simulator.reset(seed)
    frame = Frame(simulator.render(), clock_ns())
    window.show(frame.pixels)
    window.say(f"track {seed}, waiting for the first throttle")
    started, ended_s = False, 0.0
    for _ in pacer.ticks():
        controls = window.read(simulator.tick_s).arbitrate()
        if window.closed:
            break
        if window.skip:
            return False
        if not started and max(abs(controls.steering), controls.throttle) > _STARTS:
            started = True
            window.say(f"track {seed}")
        if started and simulator.state.outcome == "driving":
            simulator.advance(controls)
            frame = Frame(simulator.render(), clock_ns(), frame.index + 1)
            window.show(frame.pixels)  # at rest nothing changes, and the zoomed-out start is slow to draw
        elif started:
            window.say(f"track {seed}: {simulator.state.outcome}, return {simulator.state.episode_return:.0f}")
            ended_s += simulator.tick_s
            if ended_s >= _PAUSE_S:
                break
        if page is not None:
            page.drove(frame, controls)
    return True


def play_carracing(settings: PlaySettings, note: Note = ignore) -> Iterator[tuple[int, DriveState]]:
    """Play, as ``python -m agent play`` does: yield each lap's track and result, until the window is closed.

    Args:
        settings: Which tracks, in what window.
        note: Called with notes for the user, one line at a time.

    Raises:
        AgentError: If no window can be opened, or the page cannot be served.
    """
    width_px, height_px = round(1000 * settings.scale), round(800 * settings.scale)
    with GameWindow(width_px, height_px) as window:
        from agent.games.carracing import EPISODE_TICKS, CarRacing  # needs no display of its own once there is a window

        with (
            closing(CarRacing(EPISODE_TICKS if settings.limit else None)) as simulator,
            page_of_person(settings, simulator.profile, 1.0 / simulator.tick_s, None, note) as page,
        ):
            seeds = itertools.islice(itertools.count(settings.seed), settings.laps)
            yield from play(simulator, window, seeds, settings.report, page)
