"""Steers to where the picture is brighter."""

import numpy as np

from agent.contract.observation import Observation
from agent.contract.spec import ModelSpec
from agent.engines.base import Prediction


class Follower:
    """An engine without weights."""

    name = "follower"

    def __init__(self, game: str) -> None:
        self.spec = ModelSpec(name="follower", backbone="none", game=game, width_px=32, height_px=16, rate_hz=20.0)

    def infer(self, observation: Observation) -> Prediction:
        half = observation.shape[1] // 2
        left, right = float(observation[:, :half].mean()), float(observation[:, half:].mean())
        return np.array([(right - left) / 255, 0.8, 0.0], np.float32)

    def close(self) -> None:
        pass
