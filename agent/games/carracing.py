"""CarRacing-v3 from gymnasium: unchanged physics; pictures are drawn only on request."""

import os
import warnings
from typing import Any

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame draws into memory; no display is opened
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import numpy as np
import numpy.typing as npt
import pygame

from agent.contract.controls import Controls
from agent.contract.observation import Pixels
from agent.games.base import DriveState, Outcome
from agent.games.profile_files import SHIPPED, load_profile

with warnings.catch_warnings():  # Box2D 2.3.10 crashes the interpreter if its deprecation warnings are errors
    warnings.simplefilter("ignore", DeprecationWarning)
    from gymnasium.envs.box2d import car_racing

FRAME_WIDTH_PX = car_racing.WINDOW_W
FRAME_HEIGHT_PX = car_racing.WINDOW_H
TICK_S = 1.0 / car_racing.FPS
HOLD_TICKS = 2  # a decision is held for two 50 Hz ticks: 25 decisions a second
EPISODE_TICKS = 1000  # gymnasium's own limit for CarRacing-v3, in ticks

PROFILE = load_profile(SHIPPED / "carracing.toml")


Corners = npt.NDArray[np.float64]
"""float64, shape (polygons, 4, 2): quadrilaterals in world units, or in window pixels."""

# gymnasium's _render_road draws these below the road: the playing field, and darker squares on it.
_BOUND = car_racing.PLAYFIELD
_SQUARES = range(-20, 20, 2)
_FIELD = [(_BOUND, _BOUND), (_BOUND, -_BOUND), (-_BOUND, -_BOUND), (-_BOUND, _BOUND)]
_GRASS = [
    [(right, bottom), (left, bottom), (left, top), (right, top)]
    for left, right in ((car_racing.GRASS_DIM * x, car_racing.GRASS_DIM * x + car_racing.GRASS_DIM) for x in _SQUARES)
    for bottom, top in ((car_racing.GRASS_DIM * y, car_racing.GRASS_DIM * y + car_racing.GRASS_DIM) for y in _SQUARES)
]
_GRASS_CORNERS: Corners = np.array(_GRASS)
_WINDOW_CORNERS = np.array([(0, 0), (FRAME_WIDTH_PX, 0), (FRAME_WIDTH_PX, FRAME_HEIGHT_PX), (0, FRAME_HEIGHT_PX)])
_MARGIN_PX = 4  # for rounding and softened edges: a polygon this far outside cannot touch the window


def _in_window(corners: Corners) -> list[int]:
    """Return the indices of polygons that may be visible, in order; all others are certainly invisible."""
    low, high = corners.min(axis=1), corners.max(axis=1)
    inside = (high > -_MARGIN_PX).all(axis=1) & (low < _WINDOW_CORNERS[2] + _MARGIN_PX).all(axis=1)
    return np.flatnonzero(inside).tolist()


class _DrawOnDemand(car_racing.CarRacing):
    """CarRacing with faster drawing, and without the 96 x 96 picture of every step, which is not used here.

    The picture equals gymnasium's own 1000 x 800 window to the last pixel, but takes 2.0 ms instead of 6.0 ms (median
    processor time, two-core EPYC, pygame-ce 2.5.8). Only work without effect was dropped: transforming 700 polygons one
    corner at a time to draw a dozen, filling a polygon that covers the window, reading the font from disk, and
    allocating two windows for every picture.
    """

    car: Any
    surf: Any
    drawing = False
    _scene: pygame.Surface | None = None
    _font: pygame.font.Font
    _road: Corners

    def reset(self, **arguments: Any) -> Any:
        result = super().reset(**arguments)
        self._road = np.array([corners for corners, _ in self.road_poly])
        return result

    def _render(self, mode: str) -> Pixels | None:
        if not self.drawing:
            return None
        if self._scene is None:
            pygame.font.init()
            self._font = pygame.font.Font(pygame.font.get_default_font(), 42)
            self._scene = pygame.Surface((FRAME_WIDTH_PX, FRAME_HEIGHT_PX))
        # As in gymnasium: the scene is upside down until everything that turns with the car is drawn.
        self.surf = self._scene
        angle = -self.car.hull.angle
        zoom = 0.1 * car_racing.SCALE * max(1 - self.t, 0) + car_racing.ZOOM * car_racing.SCALE * min(self.t, 1)
        scroll = pygame.math.Vector2(-self.car.hull.position[0] * zoom, -self.car.hull.position[1] * zoom)
        scroll = scroll.rotate_rad(angle)
        translation = (FRAME_WIDTH_PX / 2 + scroll[0], FRAME_HEIGHT_PX / 4 + scroll[1])
        self._render_road(zoom, translation, angle)
        self.car.draw(self.surf, zoom, translation, angle, True)

        picture: Any = pygame.surfarray.pixels2d(self._scene).T[::-1].copy()
        self.surf = pygame.image.frombuffer(picture, (FRAME_WIDTH_PX, FRAME_HEIGHT_PX), "BGRA")
        self._render_indicators(FRAME_WIDTH_PX, FRAME_HEIGHT_PX)  # type: ignore[no-untyped-call]
        text = self._font.render(f"{self.reward:04.0f}", True, (255, 255, 255), (0, 0, 0))
        self.surf.blit(text, text.get_rect(center=(60, FRAME_HEIGHT_PX - FRAME_HEIGHT_PX * 2.5 / 40.0)))
        pixels: Pixels = picture.view(np.uint8).reshape(FRAME_HEIGHT_PX, FRAME_WIDTH_PX, 4)
        return pixels

    def _render_road(self, zoom: float, translation: tuple[float, float], angle: float) -> None:
        draw: Any = self._draw_colored_polygon
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        window_in_world = (_WINDOW_CORNERS - translation) / zoom @ turn.T
        if np.abs(window_in_world).max() < car_racing.PLAYFIELD - _MARGIN_PX / zoom:
            self.surf.fill(self.bg_color)
        else:  # the field's edge is in sight
            self.surf.fill((0, 0, 0))
            draw(self.surf, _FIELD, self.bg_color, zoom, translation, angle, clip=False)
        for index in _in_window(_GRASS_CORNERS @ turn * zoom + translation):
            draw(self.surf, _GRASS[index], self.grass_color, zoom, translation, angle)
        for index in _in_window(self._road @ turn * zoom + translation):
            corners, colour = self.road_poly[index]
            rgb = [int(value) for value in colour]
            draw(self.surf, corners, rgb, zoom, translation, angle)


class CarRacing:
    """The embedded game as a :class:`agent.games.base.Simulator`.

    Frames are uint8, shape (800, 1000, 4), BGRA: the picture of gymnasium's window.

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
        """Privileged: float64, shape (tiles, 2); the middle of the road in world units, in driving order."""
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
