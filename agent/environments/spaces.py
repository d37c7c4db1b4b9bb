"""What both kinds of environment share: the observation, the action, and what an action means."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from agent.contract.controls import SIGNED_OUTPUTS, Controls
from agent.contract.observation import Frame, Observation
from agent.contract.preprocess import preprocess
from agent.contract.profile import GameProfile
from agent.contract.spec import ModelSpec, outputs_named

Action = npt.NDArray[np.float32]
"""float32, shape (outputs,): see :class:`View`."""


class View:
    """A game's picture as an observation, and an action as its controls.

    By default an action is steering and ``pedal``, both in [-1, 1]: throttle above 0, brake below. If each pedal had a
    number of its own, a learner that explores at random would press both most of the time, and the brake would win.

    Args:
        profile: The game's facts: its axes and its masks.
        width_px: Width of an observation.
        height_px: Height of an observation.
        outputs: What an action consists of: names of axes, or of :data:`agent.contract.controls.SIGNED_OUTPUTS`. None:
            every axis of the game, throttle and brake in one.

    Attributes:
        observation_space: Box, uint8, shape (height_px, width_px, 3), RGB, masked parts black.
        action_space: Box, float32, shape (outputs,).
    """

    def __init__(
        self, profile: GameProfile, width_px: int, height_px: int, outputs: Sequence[str] | None = None
    ) -> None:
        self.outputs = _joined_pedals(profile.axes) if outputs is None else tuple(outputs)
        self._spec = ModelSpec(
            name="environment",
            backbone="none",
            game=profile.name,
            width_px=width_px,
            height_px=height_px,
            rate_hz=profile.rate_hz,
            outputs=outputs_named(self.outputs),
            masks=profile.masks,
        )
        low = np.array([output.low for output in self._spec.outputs], np.float32)
        high = np.array([output.high for output in self._spec.outputs], np.float32)
        self.observation_space: spaces.Space[Any] = spaces.Box(0, 255, (height_px, width_px, 3), np.uint8)
        self.action_space: spaces.Space[Any] = spaces.Box(low, high, dtype=np.float32)

    def observe(self, frame: Frame) -> Observation:
        """Return what a network of this size would see."""
        return preprocess(frame, self._spec)

    def controls(self, action: Any) -> Controls:
        """Return an action's controls: clipped, and with at most one pedal pressed.

        Raises:
            ControlsError: If the action has another shape, or is not finite.
        """
        return Controls.from_prediction(np.asarray(action, np.float32), self.outputs).clip().arbitrate()


def _joined_pedals(axes: Sequence[str]) -> tuple[str, ...]:
    """Return the axes with every pair of pedals that a signed output drives in its place."""
    joined = list(axes)
    for name, pair in SIGNED_OUTPUTS.items():
        if set(pair) <= set(joined):
            joined[joined.index(pair[0])] = name
            joined.remove(pair[1])
    return tuple(joined)


def to_rgb(frame: Frame) -> npt.NDArray[np.uint8]:
    """Return a whole frame for ``render``: uint8, shape (height, width, 3), RGB."""
    return np.ascontiguousarray(frame.pixels[..., 2::-1])
