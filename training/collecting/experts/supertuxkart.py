"""Who labels SuperTuxKart: its own driver, asked about a kart that somebody else may be driving, or the road."""

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
    """The built-in driver ("SkiddingAI"), at every state of the kart and whoever brought it there.

    The binding lets the built-in driver drive a kart or reads what it does, but has no call for what it *would* do
    with a kart that others drive. The game itself has: a second driver is made for the kart as the game makes its own,
    and updated when its opinion is wanted. It writes that onto the kart's controls, where the binding reads it and the
    next step overwrites it. Checked on pysupertuxkart2 0.7.4, Linux.

    Steering, throttle and brake are used; its nitro, items and drift are left out.

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
        """Put a driver beside the one at the wheel; call it after every reset of the game."""
        world = self._worlds[0]
        self._driver = self._load_driver(world, self._player_kart(world, 0))
        # Read once: the binding builds the whole list anew at every look, which took 40 % of the time of collecting.
        self._starts, self._ends = (
            np.array([_plane(node[end]) for node in self._game.track.path_nodes]) for end in (0, 1)
        )
        self._successors = [int(following[0]) for following in self._game.track.successors]
        self._asked_s = self._game.state.time_s

    def decide(self) -> Controls:
        """Return the controls for the game's present state, clipped.

        While the rescue bird carries the kart it has no opinion, and the last one is returned.
        """
        now_s = self._game.state.time_s
        ticks = max(1, round((now_s - self._asked_s) * PHYSICS_HZ))
        self._asked_s = now_s
        before = self._game.controls.steering
        while True:
            self._update_driver(self._driver, ticks)
            controls = self._game.controls
            # It turns the wheel no faster than a hand would, from where it is: noise has put it there, so ask until it
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
        """The middle of the road from the start of a node on: float64, shape (n, 2), x and z in metres."""
        points = [self._starts[node]]
        length = 0.0
        while length < reach_m + 30.0:
            points.append(self._ends[node])
            length += max(0.1, float(np.hypot(*(points[-1] - points[-2]))))
            node = self._successors[node]
        return np.array(points)


class SuperTuxKartRoadFollower(SuperTuxKartExpert):
    """Steers along the middle of the road, and leaves throttle and brake to the built-in driver.

    What the built-in driver steers depends on what no picture shows: which item it has set its mind on, what it was
    about a moment ago. From where the road runs and how fast the kart is, its steering can be told to 0.08 (mean
    squared error of boosted trees on drives that they were not fitted to; it varies by 0.25 where it drives itself,
    0.38 where the network does); this one's can be told exactly.
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
    """Positive if ``second`` lies to the right of ``first``; x points right where z points ahead."""
    return float(second[0] * first[1] - second[1] * first[0])


def _bearing(nose: npt.NDArray[np.float64], target: npt.NDArray[np.float64]) -> float:
    """Angle from the kart's nose to a direction, rad, positive to the right."""
    return math.atan2(_cross(nose, target), float(np.dot(nose, target)))
