"""The expert of the roads: pure pursuit of the road's middle, and a plan of speeds for its bends."""

import math

import numpy as np

from agent.contract.controls import Controls
from training.collecting.experts.road import BEARINGS_M, Pursuit
from training.collecting.roads.car import RADIUS_M, RADIUS_S
from training.collecting.roads.course import STEP_M, Line, Road
from training.collecting.roads.simulator import Roads

LATERAL_LIMIT_M_S2 = 6.5
BRAKING_LIMIT_M_S2 = 5.0
CRUISE_M_S = 26.0
_AHEAD_S = 0.3  # the plan is read where the car will be
_THROTTLE_GAIN = 0.2
_BRAKE_GAIN = 0.15
_LEAST_M_S = 5.0


def plan_speeds(road: Road) -> Line:
    """Return the wanted speed at every station, m/s: what its bend allows, less where it must brake for later bends."""
    allowed = np.sqrt(LATERAL_LIMIT_M_S2 / np.maximum(np.abs(road.curvature), 1e-6))
    squares = np.minimum(allowed, CRUISE_M_S) ** 2
    for station in range(len(squares) - 2, -1, -1):
        squares[station] = min(squares[station], squares[station + 1] + 2.0 * BRAKING_LIMIT_M_S2 * STEP_M)
    return np.asarray(np.sqrt(squares))


class RoadsExpert:
    """Labels the car at every place and heading, whoever brought it there.

    Args:
        game: The simulator to read from; reset it before :meth:`plan`.
    """

    def __init__(self, game: Roads) -> None:
        self._game = game
        self._pursuit = Pursuit(radius_m=RADIUS_M, radius_s=RADIUS_S)
        self._speeds: Line = np.empty(0)

    def plan(self) -> None:
        """Study the road; call it after every reset of the game."""
        self._speeds = plan_speeds(self._game.road)

    def decide(self) -> Controls:
        """Return the controls for the game's present state, clipped, at most one pedal pressed."""
        speed = self._game.car.speed
        steering = self._pursuit.steer(self.telemetry(), speed)
        surplus = speed - self._wanted(steering)
        return Controls(steering, max(0.0, -_THROTTLE_GAIN * surplus), max(0.0, _BRAKE_GAIN * (surplus - 1.0))).clip()

    def telemetry(self) -> dict[str, float]:
        """Privileged numbers that describe the scene, for auxiliary losses in training.

        Returns:
            ``lateral_offset`` (m, right of the middle of the road), ``heading_error`` (rad, the road's direction here
            relative to the car's, positive to the right), and the bearing of the road's middle 10, 20, 30 and 45 m
            ahead (``bearing_10`` ..., rad, positive to the right): the same as of SuperTuxKart.
        """
        game, car, road = self._game, self._game.car, self._game.road
        here = float(road.at(road.heading, game.s))
        numbers = {"lateral_offset": game.lateral, "heading_error": _wrap(here - car.heading)}
        for metres in BEARINGS_M:
            x, y = road.point(game.s + metres)
            direction = math.atan2(float(x) - car.x, float(y) - car.y)
            numbers[f"bearing_{metres}"] = _wrap(direction - car.heading)
        return numbers

    def _wanted(self, steering: float) -> float:
        """Return the wanted speed, m/s: the plan's, but no more than the tyres can hold on the present arc."""
        car, road = self._game.car, self._game.road
        planned = float(road.at(self._speeds, self._game.s + _AHEAD_S * car.speed))
        arc = abs(steering) / self._pursuit.gain / (RADIUS_M + RADIUS_S * car.speed)
        held = math.sqrt(LATERAL_LIMIT_M_S2 / max(arc, 1e-6))
        return max(_LEAST_M_S, min(planned, held))


def _wrap(angle: float) -> float:
    return (angle + math.pi) % (2.0 * math.pi) - math.pi
