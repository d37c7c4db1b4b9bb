"""The experts of SuperTuxKart: the game's built-in driver, and a driver that follows the road.

Both also label a kart that another driver has in control.
"""

import ctypes
import math

import numpy as np
import numpy.typing as npt
import pystk2

from agent.contract.controls import Controls
from agent.contract.errors import GameError
from agent.games.supertuxkart.simulator import PHYSICS_HZ, SuperTuxKart
from training.collecting.experts.road import BEARINGS_M, Pursuit

_FULL_STEER_TICKS = PHYSICS_HZ // 10  # it turns the wheel from the middle to the stop in 0.1 s ("time-full-steer")


class SuperTuxKartExpert:
    """Labels by the built-in driver ("SkiddingAI"), for every state of the kart, whoever brought it there.

    The binding can let the built-in driver drive a kart, but cannot ask what the driver *would* do with a kart that
    another drives. The game itself can. So a second driver is made for the kart, as the game makes its own, and is
    updated when a label is needed. It writes its decision into the kart's controls. The binding reads them there, and
    the next step overwrites them. Checked on pysupertuxkart2 0.7.4, Linux.

    Only steering, throttle and brake are used, not its nitro, items and drift.

    Args:
        game: The simulator to read from; reset it before :meth:`plan`.

    Raises:
        GameError: If this build of the binding hides the built-in driver.
    """

    def __init__(self, game: SuperTuxKart) -> None:
        self._game = game
        library = ctypes.CDLL(pystk2.__file__)
        try:
            self._worlds = (ctypes.c_void_p * 2).in_dll(library, "_ZN5World7m_worldE")
            self._player_kart = library["_ZNK5World13getPlayerKartEj"]
            self._load_driver = library["_ZN5World16loadAIControllerEP12AbstractKart"]
            self._update_driver = library["_ZN10SkiddingAI6updateEi"]
        except (AttributeError, ValueError) as exc:
            raise GameError(
                f"{pystk2.__file__} hides the game's built-in driver ({exc}), expected it as in pysupertuxkart2 0.7.4 "
                "for Linux. Let the network drive (--driver policy)."
            ) from exc
        self._player_kart.restype = self._load_driver.restype = ctypes.c_void_p
        self._player_kart.argtypes = (ctypes.c_void_p, ctypes.c_uint)
        self._load_driver.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
        self._update_driver.restype = None
        self._update_driver.argtypes = (ctypes.c_void_p, ctypes.c_int)

    def plan(self) -> None:
        """Make the second driver; call this after every reset of the game."""
        world = self._worlds[0]
        self._driver = self._load_driver(world, self._player_kart(world, 0))
        # Read once: the binding builds the whole list at every access, which took 40 % of the time of collecting.
        self._starts, self._ends = (
            np.array([_plane(node[end]) for node in self._game.track.path_nodes]) for end in (0, 1)
        )
        self._successors = [int(following[0]) for following in self._game.track.successors]
        self._asked_s = self._game.state.time_s

    def decide(self) -> Controls:
        """Return the controls for the game's present state, clipped.

        While the rescue bird carries the kart, there is no decision; the last one is returned.
        """
        now_s = self._game.state.time_s
        ticks = max(1, round((now_s - self._asked_s) * PHYSICS_HZ))
        self._asked_s = now_s
        before = self._game.controls.steering
        while True:
            self._update_driver(self._driver, ticks)
            controls = self._game.controls
            # It turns the wheel no faster than a hand would, from its present place. Noise put it there: ask until it
            # has arrived where it should be.
            if abs(controls.steering - before) < ticks / _FULL_STEER_TICKS - 1e-3:
                return controls
            before = controls.steering

    def telemetry(self) -> dict[str, float]:
        """Privileged numbers that describe the scene, for auxiliary losses in training.

        Returns:
            ``lateral_offset`` (m, right of the middle of the road), ``heading_error`` (rad, the road's direction here
            relative to the kart's, positive to the right), and the bearing of the road's middle 10, 20, 30 and 45 m
            ahead (``bearing_10`` ..., rad, positive to the right).
        """
        kart = self._game.kart
        position = _plane(kart.location)
        nose = _plane(kart.front) - position
        line = self._line_ahead(kart.node, 60.0)
        along = line[1] - line[0]
        along /= max(1e-9, float(np.hypot(*along)))
        offset = position - line[0]
        numbers = {
            "lateral_offset": float(_cross(along, offset)),
            "heading_error": _bearing(nose, along),
        }
        travelled = float(np.dot(offset, along))
        steps = np.hypot(*np.diff(line, axis=0).T)
        distance = np.concatenate(([0.0], np.cumsum(steps))) - travelled
        for reach in BEARINGS_M:
            point = np.array([np.interp(reach, distance, line[:, axis]) for axis in (0, 1)])
            numbers[f"bearing_{reach}"] = _bearing(nose, point - position)
        return numbers

    def _line_ahead(self, node: int, reach_m: float) -> npt.NDArray[np.float64]:
        """Return the middle of the road from a node on: float64, shape (n, 2), x and z in metres."""
        points = [self._starts[node]]
        length = 0.0
        while length < reach_m + 30.0:
            points.append(self._ends[node])
            length += max(0.1, float(np.hypot(*(points[-1] - points[-2]))))
            node = self._successors[node]
        return np.array(points)


class SuperTuxKartRoadFollower(SuperTuxKartExpert):
    """Steers along the middle of the road, and leaves throttle and brake to the built-in driver.

    The built-in driver's steering depends on things that no picture shows: the item that it wants, and what it did a
    moment ago. Boosted trees predicted it from the road's course and the kart's speed, on drives that they were not
    fitted to, with a mean squared error of 0.08. (Its variance is 0.25 where it drives itself, and 0.38 where the
    network drives.) This driver's steering follows from the road and the speed exactly.
    """

    _pursuit = Pursuit()

    def decide(self) -> Controls:
        """Return the controls for the game's present state, clipped."""
        pedals = super().decide()
        steering = self._pursuit.steer(self.telemetry(), float(self._game.kart.speed))
        return Controls(steering, pedals.throttle, pedals.brake).clip()


def _plane(point: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return np.array((point[0], point[2]), np.float64)


def _cross(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    """Return a number that is positive if ``second`` is to the right of ``first`` (z ahead, x to the right)."""
    return float(second[0] * first[1] - second[1] * first[0])


def _bearing(nose: npt.NDArray[np.float64], target: npt.NDArray[np.float64]) -> float:
    """Return the angle from the kart's nose to a direction, rad, positive to the right."""
    return math.atan2(_cross(nose, target), float(np.dot(nose, target)))
