"""Gymnasium's own checks of our environments, made by name as a user would make them."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env


@pytest.fixture(scope="module")
def env() -> "gymnasium.Env[np.ndarray, np.ndarray]":  # type: ignore[type-arg]
    env = gymnasium.make("agent.environments:hoodcam/CarRacing-v0", width_px=120, height_px=68)
    yield env  # type: ignore[misc]
    env.close()


def test_gymnasium_has_no_complaint(env: "gymnasium.Env[np.ndarray, np.ndarray]") -> None:  # type: ignore[type-arg]
    check_env(env.unwrapped, skip_render_check=True)  # warnings are errors here


def test_rewards_are_the_games_own_and_a_track_can_be_chosen(
    env: "gymnasium.Env[np.ndarray, np.ndarray]",  # type: ignore[type-arg]
) -> None:
    first, _ = env.reset(options={"track": 100})
    again, _ = env.reset(options={"track": 100})
    other, _ = env.reset(options={"track": 101})
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    env.reset(options={"track": 100})
    total, info = 0.0, {}
    for _ in range(60):
        _, reward, terminated, truncated, info = env.step(np.array([0.0, 0.5], np.float32))
        total += float(reward)
        assert not terminated
        assert not truncated
    assert total > 5  # a tile is worth some 3 points, and waiting costs 0.1 a tick
    assert info["progress"] > 0
    assert info["speed"] > 10
    assert info["controls"]["throttle"] == 0.5


def test_both_are_registered() -> None:
    assert {"hoodcam/CarRacing-v0", "hoodcam/Window-v0"} <= set(gymnasium.registry)
