"""The car. Its wheel and its tyres limit how far it turns; off the road, it slows down."""

import math
from dataclasses import dataclass

from agent.contract.controls import Controls

TICK_S = 0.02

RADIUS_M = 3.0
RADIUS_S = 0.8
"""At full lock, the car drives an arc of radius ``RADIUS_M + RADIUS_S * speed``, as SuperTuxKart's kart does (see
``training.collecting.experts.road.Pursuit``). So the same picture needs the same steering in both games."""

TOP_SPEED_M_S = 32.0
GRIP_M_S2 = 10.0
_GRIP_OFF_ROAD_M_S2 = 5.0
_PULL_M_S2 = 8.0
_BRAKING_M_S2 = 9.0
_DRAG_OFF_ROAD_S = 0.35
_WHEEL_S = 0.12  # how fast the wheel follows the stick
_GRAVITY_M_S2 = 9.81
_ALIGN_RAD_S = 1.5  # a rail turns the nose to its own direction


@dataclass(slots=True)
class Car:
    """Where the car is and how it moves.

    Attributes:
        x: Metres.
        y: Metres.
        heading: rad, positive to the right of the y axis.
        speed: m/s, never backwards.
        wheel: Where the wheels are, [-1, 1].
        yaw_rate: rad/s, positive to the right.
    """

    x: float
    y: float
    heading: float
    speed: float = 0.0
    wheel: float = 0.0
    yaw_rate: float = 0.0

    def step(self, controls: Controls, on_road: bool, slope: float = 0.0) -> None:
        """Drive for ``TICK_S``.

        Args:
            controls: Clipped.
            on_road: Whether the tyres grip as on a road.
            slope: Slope of the ground along the heading; positive is uphill.
        """
        self.wheel += (controls.steering - self.wheel) * min(1.0, TICK_S / _WHEEL_S)
        grip = GRIP_M_S2 if on_road else _GRIP_OFF_ROAD_M_S2
        curvature = self.wheel / (RADIUS_M + RADIUS_S * self.speed)
        most = grip / max(1.0, self.speed**2)
        curvature = min(most, max(-most, curvature))
        pull = controls.throttle * _PULL_M_S2 * (1.0 - self.speed / TOP_SPEED_M_S) - _GRAVITY_M_S2 * slope
        slowing = controls.brake * _BRAKING_M_S2 + 0.2 + (0.0 if on_road else _DRAG_OFF_ROAD_S * self.speed)
        self.speed += pull * TICK_S
        self.speed = max(0.0, self.speed - slowing * TICK_S)
        self.yaw_rate = curvature * self.speed
        middle = self.heading + self.yaw_rate * TICK_S / 2.0
        self.heading += self.yaw_rate * TICK_S
        self.x += self.speed * math.sin(middle) * TICK_S
        self.y += self.speed * math.cos(middle) * TICK_S

    def scrape(self, along: float) -> None:
        """Touch a rail whose direction is ``along`` (rad): lose speed, and turn to that direction."""
        apart = (self.heading - along + math.pi) % (2.0 * math.pi) - math.pi
        if abs(apart) > math.pi / 2.0:  # facing the other way
            apart = (apart + 2.0 * math.pi) % (2.0 * math.pi) - math.pi
        self.speed *= max(0.0, 1.0 - 2.0 * TICK_S * abs(math.sin(apart)))
        turn = min(abs(apart), _ALIGN_RAD_S * TICK_S)
        self.heading -= math.copysign(turn, apart)
