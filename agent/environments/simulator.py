"""A game that waits for its driver, as a Gymnasium environment."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import GameError
from agent.contract.observation import Frame, Observation
from agent.environments.spaces import Action, View, to_rgb
from agent.games.registry import find_game
from agent.sessions.opening import nearest_hold_ticks

TRACKS = 1_000_000
"""Tracks are drawn from the seeds below this; those from it on are kept for judging."""


class SimulatorEnv(gymnasium.Env[Observation, Action]):
    """Drives a simulator in lockstep: one step is one control period of simulated time.

    The reward is what the game itself gives. ``terminated``: the lap is done, or the car left the field; ``truncated``:
    the episode's time ran out. ``reset(options={"track": N})`` chooses the track; without it, the environment's random
    numbers do.

    Args:
        game: A game that has a simulator.
        width_px: Width of an observation.
        height_px: Height of an observation.
        rate_hz: Decisions a second; None for the profile's rate. It is rounded to whole ticks of the physics.
        outputs: What an action consists of, see :class:`agent.environments.spaces.View`.
        render_mode: ``rgb_array``, or None.

    Raises:
        GameError: If there is no such game, or it does not wait.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012  # as in gymnasium

    def __init__(
        self,
        game: str = "carracing",
        width_px: int = 160,
        height_px: int = 90,
        rate_hz: float | None = None,
        outputs: Sequence[str] | None = None,
        render_mode: str | None = None,
    ) -> None:
        found = find_game(game)
        if found.make_simulator is None:
            raise GameError(f"{game} does not wait for its driver, expected a simulator. Use hoodcam/Window-v0 for it.")
        self._simulator = found.make_simulator()
        self._view = View(found.profile, width_px, height_px, outputs)
        self._hold_ticks = nearest_hold_ticks(rate_hz or found.profile.rate_hz, self._simulator)
        self._return = 0.0
        self._frame: Frame | None = None
        self.observation_space, self.action_space = self._view.observation_space, self._view.action_space
        self.render_mode = render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode on the track that ``options`` names as ``track``; on a random one without it.

        Args:
            seed: Seed of the random tracks, from this episode on.
            options: ``track``: the seed of the track.
        """
        super().reset(seed=seed)
        track = (options or {}).get("track")
        self._simulator.reset(int(self.np_random.integers(TRACKS)) if track is None else int(track))
        self._return = 0.0
        return self._look(), self._describe(NEUTRAL)

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Hold an action's controls for one control period, and look.

        Raises:
            ControlsError: If the action has another shape, or is not finite.
        """
        controls = self._view.controls(action)
        self._simulator.advance(controls, self._hold_ticks)
        state = self._simulator.state
        reward, self._return = state.episode_return - self._return, state.episode_return
        over, late = state.outcome in ("lap", "left"), state.outcome == "timeout"
        return self._look(), float(reward), over, late, self._describe(controls)

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return the game's whole picture as RGB; None without ``render_mode``."""
        return None if self.render_mode is None or self._frame is None else to_rgb(self._frame)

    def close(self) -> None:
        """Release the game; may be called twice."""
        self._simulator.close()

    def _look(self) -> Observation:
        self._frame = Frame(self._simulator.render(), captured_ns=round(self._simulator.state.time_s * 1e9))
        return self._view.observe(self._frame)

    def _describe(self, controls: Controls) -> dict[str, Any]:
        state = self._simulator.state
        return {
            "progress": state.progress,
            "speed": state.speed,
            "outcome": state.outcome,
            "time_s": state.time_s,
            "controls": asdict(controls),
        }
