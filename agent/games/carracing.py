"""CarRacing-v3 from gymnasium: physics untouched, pictures drawn only when somebody looks."""

import os
import warnings
from typing import Any

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame draws into memory; no display is opened
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import numpy as np
import numpy.typing as npt
import pygame

with warnings.catch_warnings():  # Box2D 2.3.10 crashes the interpreter where its deprecation warnings are errors
    warnings.simplefilter("ignore", DeprecationWarning)
    from gymnasium.envs.box2d import car_racing

from agent.contract.controls import Controls
from agent.contract.observation import Pixels
from agent.contract.profile import GameProfile, Rectangle
from agent.games.base import DriveState, Outcome

FRAME_WIDTH_PX = car_racing.WINDOW_W
FRAME_HEIGHT_PX = car_racing.WINDOW_H
TICK_S = 1.0 / car_racing.FPS
HOLD_TICKS = 2  # a decision is held for two 50 Hz ticks: 25 decisions a second
EPISODE_TICKS = 1000  # gymnasium's own limit for CarRacing-v3, in ticks

# The dashboard is a bar in the lowest eighth of the window, laid out on a grid of 40 columns
# (gymnasium 1.x, CarRacing._render_indicators): score, speed (column 5), four wheel speeds (7 to 10), steering angle
# (16 to 24), yaw rate (around 30). Steering and wheel speeds show the last steering and brake: a network copies them
# instead of driving. The score is noise. Speed and yaw rate stay: a driver feels both.
_BAR_TOP = 1 - 5 / 40
MASKS = (
    Rectangle(0.0, _BAR_TOP, 4.5 / 40, 5 / 40),
    Rectangle(6.5 / 40, _BAR_TOP, 18.5 / 40, 5 / 40),
)
# Left and right swap in the scene, and about its own zero line in the yaw-rate bar; the speed bar stays where it is.
MIRRORED = (Rectangle(0.0, 0.0, 1.0, _BAR_TOP), Rectangle(25 / 40, _BAR_TOP, 10 / 40, 5 / 40))

PROFILE = GameProfile(
    name="carracing",
    title="CarRacing-v3 (embedded)",
    rate_hz=1.0 / (HOLD_TICKS * TICK_S),
    masks=MASKS,
    mirrored=MIRRORED,
    notes="Runs inside this process or in a process of its own; verified on gymnasium 1.4.",
)


class _DrawOnDemand(car_racing.CarRacing):
    """CarRacing without the 96 x 96 picture that every step draws and nobody here reads."""

    drawing = False

    def _render(self, mode: str) -> Any:
        return super()._render(mode) if self.drawing else None

    def _create_image_array(self, screen: pygame.Surface, size: tuple[int, int]) -> Pixels:
        # The window's own 1000 x 800 picture, not gymnasium's 600 x 400 reduction of it.
        width, height = screen.get_size()
        rows = np.frombuffer(screen.get_buffer().raw, np.uint8).reshape(height, screen.get_pitch())
        return rows[:, : 4 * width].reshape(height, width, 4)


class CarRacing:
    """The embedded game as a :class:`agent.games.base.Simulator`.

    Frames are uint8, shape (800, 1000, 4), BGRA: what gymnasium shows in its window.

    Args:
        episode_ticks: Ticks of 20 ms after which the episode ends with ``timeout``; None for no limit.
    """

    def __init__(self, episode_ticks: int | None = EPISODE_TICKS) -> None:
        self._env = _DrawOnDemand(render_mode="rgb_array")
        self._episode_ticks = episode_ticks
        self._ticks = 0
        self._return = 0.0
        self._outcome: Outcome = "driving"

    profile = PROFILE
    tick_s = TICK_S

    @property
    def centre_line(self) -> npt.NDArray[np.float64]:
        """Privileged: float64, shape (tiles, 2), the middle of the road in world units, in driving order."""
        return np.array([tile[2:4] for tile in self._env.track])

    @property
    def car(self) -> Any:
        """Privileged: gymnasium's car (``hull.position``, ``hull.angle``, ``hull.linearVelocity``...)."""
        return self._env.car

    @property
    def state(self) -> DriveState:
        hull = self.car.hull
        return DriveState(
            time_s=self._ticks * TICK_S,
            episode_return=self._return,
            progress=self._env.tile_visited_count / len(self._env.track),
            outcome=self._outcome,
            speed=float(np.hypot(*hull.linearVelocity)),
            telemetry={"yaw_rate": float(hull.angularVelocity)},
        )

    def reset(self, seed: int) -> None:
        self._env.reset(seed=seed)
        self._ticks = 0
        self._return = 0.0
        self._outcome = "driving"

    def advance(self, controls: Controls, ticks: int = 1) -> None:
        action = controls.to_array()
        for _ in range(ticks):
            if self._outcome != "driving":
                return
            _, reward, terminated, _, info = self._env.step(action)
            self._return += float(reward)
            self._ticks += 1
            if terminated:
                self._outcome = "lap" if info["lap_finished"] else "left"
            elif self._episode_ticks is not None and self._ticks >= self._episode_ticks:
                self._outcome = "timeout"

    def render(self) -> Pixels:
        self._env.drawing = True
        try:
            pixels: Pixels = self._env.render()  # type: ignore[no-untyped-call]
        finally:
            self._env.drawing = False
        return pixels

    def close(self) -> None:
        self._env.close()  # type: ignore[no-untyped-call]
