"""The loop of rtgym (MIT, github.com/yannbouteiller/rtgym), for `python -m agent pace` to compare ours with."""

import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from rtgym import DEFAULT_CONFIG_DICT, RealTimeGymInterface

from agent.system.pacing import clock_ns


class _Eyes(RealTimeGymInterface):  # type: ignore[misc]
    """Observations of nothing, and when each was asked for."""

    def __init__(self) -> None:
        self.looked_ns: list[int] = []

    def send_control(self, control: Any) -> None:
        pass

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        return [np.zeros(1, np.float32)], {}

    def wait(self) -> None:
        pass

    def get_obs_rew_terminated_info(self) -> Any:
        self.looked_ns.append(clock_ns())
        return [np.zeros(1, np.float32)], 0.0, False, {}

    def get_observation_space(self) -> Any:
        return spaces.Tuple((spaces.Box(-1.0, 1.0, (1,)),))

    def get_action_space(self) -> Any:
        return spaces.Box(-1.0, 1.0, (3,))

    def get_default_action(self) -> Any:
        return np.zeros(3, np.float32)


def run(period_s: float, ticks: int, think: Callable[[], None]) -> list[int]:
    """Run rtgym's loop as its readme shows it; see ``agent.measuring.loop_jitter.Loop``.

    The time-step and the moment of the observation are the control period, as its comments advise where an observation
    takes no time; every other setting is its own.
    """
    eyes = _Eyes()
    config = {
        **DEFAULT_CONFIG_DICT,
        "interface": lambda: eyes,
        "time_step_duration": period_s,
        "start_obs_capture": period_s,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every step that came too late, which is what is counted here
        environment = gymnasium.make("real-time-gym-v1", config=config, disable_env_checker=True)
        environment.reset()
        action = np.zeros(3, np.float32)
        for _ in range(ticks):
            environment.step(action)
            think()
        environment.unwrapped.stop()  # type: ignore[attr-defined]
    return eyes.looked_ns
