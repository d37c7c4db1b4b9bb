"""The control rate that this machine can hold."""

import math

import numpy as np

from agent.contract.controls import Controls
from agent.contract.observation import Frame
from agent.contract.spec import SLOWEST_HZ
from agent.policies.base import Policy, untimed
from agent.system.pacing import clock_ns

# The share of a control period that a decision may take, measured in an otherwise idle process. The rest is for
# capture, sending, and the game that runs beside the agent.
_INFERENCE_SHARE = 0.75


def warm_up(policy: Policy, runs: int = 10) -> float:
    """Have a policy decide on noise until its speed is steady, before anything depends on that speed.

    Args:
        policy: What decides.
        runs: Decisions to measure. Two more come first, unmeasured: the first compiles, the second allocates.

    Returns:
        Seconds of a slow decision: the second longest of ten. A rate chosen by the median would miss deadlines all the
        time on a machine whose speed varies.

    Raises:
        ValueError: If ``runs`` is not positive.
        AgentError: If no decision can be made, or the prediction is unusable.
    """
    if runs < 1:
        raise ValueError(f"cannot warm up in {runs} runs, expected at least 1")
    spec = policy.spec
    noise = np.random.default_rng(0).integers(0, 256, (spec.height_px, spec.width_px, 3), np.uint8)
    frame = Frame(noise, clock_ns())
    durations_s = []
    for _ in range(2 + runs):
        started_ns = clock_ns()
        prediction, _ = policy.decide(frame, untimed)
        durations_s.append((clock_ns() - started_ns) / 1e9)
        Controls.from_prediction(prediction, spec.output_names)
    return sorted(durations_s[2:])[-1 - runs // 10]


def sustainable_rate(wanted_hz: float, inference_s: float) -> float:
    """Return the rate that this machine can hold, at most the wanted one.

    Args:
        wanted_hz: The rate asked for.
        inference_s: Seconds of a slow forward pass, from :func:`warm_up`.

    Returns:
        ``wanted_hz`` if a forward pass leaves a quarter of the period for the rest of a tick and for the game;
        otherwise the highest rate at which it does, rounded down to a tenth of a hertz, but at least
        :data:`agent.contract.spec.SLOWEST_HZ`, even if the machine cannot hold that.
    """
    if inference_s * wanted_hz <= _INFERENCE_SHARE:
        return wanted_hz
    return min(wanted_hz, max(SLOWEST_HZ, math.floor(10 * _INFERENCE_SHARE / inference_s) / 10))
