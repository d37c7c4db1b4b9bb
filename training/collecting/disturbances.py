"""Disturbances of the executed controls, so that recoveries are recorded."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from agent.contract.controls import Controls


def disturb(
    rng: np.random.Generator, strength: float, rate_hz: float = 25.0
) -> Iterator[Callable[[Controls], Controls]]:
    """Yield, for each decision, a function that changes the wanted controls on their way to the car.

    Most decisions pass unchanged. From time to time, the wheel is pulled aside, the throttle sticks, the brake bites,
    or the car is stopped. A network gets into such situations by its own errors, so it must have seen the way out. The
    durations were chosen at 25 decisions a second and are the same at any ``rate_hz``.
    """
    scale = rate_hz / 25.0

    def lasting(decisions: int) -> int:
        return max(1, round(decisions * scale))

    while True:
        for _ in range(lasting(1 + int(rng.exponential(30.0 / max(strength, 1e-9)) if strength > 0 else 1000))):
            yield _unchanged
        disturbance: Callable[[Controls], Controls]
        kind = rng.choice(5, p=(0.45, 0.25, 0.12, 0.08, 0.10))
        if kind == 0:  # the wheel is pulled aside
            offset, length = float(rng.normal(0.0, 0.45)), int(rng.integers(3, 13))
            disturbance = _Offset(offset)
        elif kind == 1:  # noise on the wheel for a second
            for offset in rng.normal(0.0, 0.35, lasting(25)):
                yield _Offset(float(offset))
            continue
        elif kind == 2:
            disturbance, length = _Fixed(throttle=float(rng.uniform(0.3, 1.0)), brake=0.0), int(rng.integers(4, 15))
        elif kind == 3:  # brought nearly or wholly to a stand
            disturbance, length = _Fixed(throttle=0.0, brake=float(rng.uniform(0.3, 0.9))), int(rng.integers(5, 40))
        else:
            disturbance, length = _Fixed(throttle=0.0, brake=0.0), int(rng.integers(5, 25))
        for _ in range(lasting(length)):
            yield disturbance


def _unchanged(controls: Controls) -> Controls:
    return controls


@dataclass(frozen=True, slots=True)
class _Offset:
    steering: float

    def __call__(self, controls: Controls) -> Controls:
        return replace(controls, steering=controls.steering + self.steering).clip()


@dataclass(frozen=True, slots=True)
class _Fixed:
    throttle: float
    brake: float

    def __call__(self, controls: Controls) -> Controls:
        return replace(controls, throttle=self.throttle, brake=self.brake)
