"""Our faster drawing against gymnasium's own, pixel by pixel."""

from typing import Any

import numpy as np
import pytest
from gymnasium.envs.box2d import car_racing

from agent.contract.controls import Controls
from agent.contract.observation import Pixels
from agent.games.carracing import CarRacing


class Gymnasium(car_racing.CarRacing):
    """The original, asked for its window instead of a reduced picture of it, and only when wanted."""

    wanted = False

    def _render(self, mode: str) -> Any:
        return super()._render(mode) if self.wanted else None

    def _create_image_array(self, screen: Any, size: tuple[int, int]) -> Pixels:
        width, height = screen.get_size()
        return np.frombuffer(screen.get_buffer().raw, np.uint8).reshape(height, width, 4)

    def draw(self) -> Pixels:
        self.wanted = True
        pixels: Pixels = self.render()
        self.wanted = False
        return pixels


def assert_equal_pictures(ours: CarRacing, theirs: Gymnasium) -> None:
    pictures = ours.render()[..., :3], theirs.draw()[..., :3]
    assert pictures[0].shape == pictures[1].shape == (800, 1000, 3)
    assert np.ptp(pictures[0]) > 100, "something is in the picture"
    differing = int((pictures[0] != pictures[1]).any(axis=2).sum())
    assert differing == 0, f"{differing} pixels differ at {ours.state.time_s:.2f} s"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_picture_of_a_wild_drive_is_gymnasiums_own(seed: int) -> None:
    """Zooming in at the start, sliding, skid marks, spinning wheels, scores below zero and the bars at full length."""
    ours, theirs = CarRacing(episode_ticks=None), Gymnasium(render_mode="rgb_array")
    ours.reset(seed)
    theirs.reset(seed=seed)
    random = np.random.default_rng(seed)
    controls = Controls()
    for tick in range(300):
        if tick % 12 == 0:
            controls = Controls(random.uniform(-1, 1), random.uniform(), random.choice([0.0, 0.0, 0.9]))
        ours.advance(controls)
        theirs.step(controls.to_array())
        if tick % 9 == 0:
            assert_equal_pictures(ours, theirs)


@pytest.mark.parametrize("position", [(330.0, 0.0), (0.0, -320.0), (333.0, 333.0), (-310.0, 200.0), (500.0, 0.0)])
def test_edge_of_the_field_and_the_nothing_beyond(position: tuple[float, float]) -> None:
    ours, theirs = CarRacing(episode_ticks=None), Gymnasium(render_mode="rgb_array")
    ours.reset(0)
    theirs.reset(seed=0)
    for angle in (0.0, 0.7, 2.5):
        for car in (ours.car, theirs.car):
            car.hull.position = position
            car.hull.angle = angle
        assert_equal_pictures(ours, theirs)


def test_pictures_are_independent_of_each_other() -> None:
    game = CarRacing()
    game.reset(0)
    first = game.render()
    kept = first.copy()
    game.advance(Controls(throttle=1.0), ticks=60)
    second = game.render()
    assert np.array_equal(first, kept)
    assert not np.array_equal(first, second)
