"""The expert of CarRacing. It reads the track from the simulator; the network sees only pictures."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agent.contract.controls import Controls
from agent.games.carracing import CarRacing

Line = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ExpertSettings:
    """How the expert drives. Lengths in world units, times in seconds.

    The defaults were found by random search on tracks 10,000 to 10,023, with decisions held for two ticks of 50 Hz. The
    search maximised the return of three drives: undisturbed, disturbed (``training.collecting.disturbances.disturb``),
    and acting one decision late. A driver that is only fast cannot teach a network to recover.
    """

    line_offset: float = 3.0  # how far the racing line may leave the middle of the road (half width 6.67)
    look_ahead: float = 3.58  # pure pursuit: distance to the point that the car steers at, when it stands
    look_ahead_s: float = 0.243  # ... and what each unit of speed adds
    steering_gain: float = 1.0
    lateral_limit: float = 142.0  # acceleration that the plan allows in bends
    braking_limit: float = 68.0  # deceleration that the plan counts on
    horizon: float = 38.0  # how far ahead the plan looks: what the picture shows ahead of the car (37 units)
    top_speed: float = 100.0
    throttle_gain: float = 0.0528
    brake_gain: float = 0.0306
    throttle_limit: float = 1.0
    turning_throttle: float = (
        0.6  # share of the throttle that is kept while |steering| > turning_threshold (rear-wheel drive)
    )
    turning_threshold: float = 0.235
    yaw_damping: float = 0.042  # steering against a rotation that the bend does not need, per rad/s
    off_line_grip: float = 0.625  # share of lateral_limit that the arc back to the line may use
    steering_limit: float = 0.46  # the front wheels stop at 0.4 rad: more moves them no further


class CarRacingExpert:
    """Pure pursuit along a smoothed racing line, with a speed plan over what the picture shows.

    Args:
        game: The simulator to read from; reset it before :meth:`plan`.
        settings: How to drive.
    """

    def __init__(self, game: CarRacing, settings: ExpertSettings | None = None) -> None:
        self._game = game
        self._settings = settings or ExpertSettings()
        self._line: Line = np.empty((0, 2))

    def plan(self) -> None:
        """Read the track; call it after every reset of the game."""
        centre = self._game.centre_line
        self._line = racing_line(centre, self._settings.line_offset)
        steps = np.roll(self._line, -1, axis=0) - self._line
        self._spacing = np.hypot(steps[:, 0], steps[:, 1])
        self._curvature = curvature(self._line)
        self._speed_limit = np.sqrt(self._settings.lateral_limit / np.maximum(np.abs(self._curvature), 1e-4))
        self._centre = centre
        self._nearest = 0

    def decide(self) -> Controls:
        """Return the controls for the game's present state, clipped."""
        settings = self._settings
        hull = self._game.car.hull
        position = np.array(hull.position)
        velocity = np.array(hull.linearVelocity)
        speed = float(np.hypot(*velocity))
        nearest = self._locate(position)

        reach = settings.look_ahead + settings.look_ahead_s * speed
        bearing, distance = self._bearing(position, reach, nearest)
        # The arc through the point that the car steers at. Off the line, it is tighter than the plan's own bends.
        arc = 2 * math.sin(min(abs(bearing), math.pi / 2)) / max(1.0, distance)
        spin = hull.angularVelocity + math.copysign(arc * speed, bearing)  # positive turns left
        steering = settings.steering_gain * bearing + settings.yaw_damping * spin
        steering = min(settings.steering_limit, max(-settings.steering_limit, steering))

        recovery = math.sqrt(settings.lateral_limit * settings.off_line_grip / max(arc, 1e-4))
        wanted = min(self._wanted_speed(nearest), max(15.0, recovery))
        throttle = min(settings.throttle_limit, max(0.0, settings.throttle_gain * (wanted - speed)))
        if abs(steering) > settings.turning_threshold:
            throttle *= settings.turning_throttle
        brake = min(0.8, max(0.0, settings.brake_gain * (speed - wanted)))  # 0.9 locks the wheels
        return Controls(steering, throttle, brake).clip()

    def telemetry(self) -> dict[str, float]:
        """Privileged numbers that describe the scene, for auxiliary losses in training.

        Returns:
            ``lateral_offset`` (right of the line, units), ``heading_error`` (rad), ``wanted_speed``, and the line's
            direction 8, 16, 24 and 32 units ahead relative to the car (``bearing_8`` ..., rad).
        """
        hull = self._game.car.hull
        position = np.array(hull.position)
        nearest = self._locate(position)
        tangent = self._line[(nearest + 1) % len(self._line)] - self._line[nearest]
        tangent = tangent / max(1e-9, float(np.hypot(*tangent)))
        offset = position - self._line[nearest]
        heading = hull.angle
        numbers = {
            "lateral_offset": float(offset[0] * tangent[1] - offset[1] * tangent[0]),
            "heading_error": _wrap(heading - math.atan2(-tangent[0], tangent[1])),
            "wanted_speed": self._wanted_speed(nearest),
        }
        for reach in (8, 16, 24, 32):
            numbers[f"bearing_{reach}"] = self._bearing(position, float(reach), nearest)[0]
        return numbers

    def _bearing(self, position: npt.NDArray[np.float64], reach: float, nearest: int) -> tuple[float, float]:
        """Return angle (rad, positive to the right of the car's nose) and distance to the line ``reach`` ahead."""
        target = self._point_ahead(nearest, reach) - position
        heading = self._game.car.hull.angle
        right = math.cos(heading) * target[0] + math.sin(heading) * target[1]
        ahead = -math.sin(heading) * target[0] + math.cos(heading) * target[1]
        return math.atan2(right, ahead), math.hypot(right, ahead)

    def _locate(self, position: npt.NDArray[np.float64]) -> int:
        """Return the index of the nearest point of the line; near the last one, because the track may cross itself."""
        count = len(self._line)
        window = np.arange(self._nearest - 10, self._nearest + 30) % count
        distance = np.hypot(*(self._line[window] - position).T)
        best = int(distance.argmin())
        if distance[best] > 30.0:  # far away: the car was thrown off the road, so look everywhere
            window = np.arange(count)
            distance = np.hypot(*(self._line - position).T)
            best = int(distance.argmin())
        self._nearest = int(window[best])
        return self._nearest

    def _point_ahead(self, nearest: int, reach: float) -> npt.NDArray[np.float64]:
        count = len(self._line)
        index, travelled = nearest, 0.0
        while travelled + self._spacing[index] < reach:
            travelled += self._spacing[index]
            index = (index + 1) % count
        share = (reach - travelled) / max(1e-9, self._spacing[index])
        following = (index + 1) % count
        point: npt.NDArray[np.float64] = self._line[index] + share * (self._line[following] - self._line[index])
        return point

    def _wanted_speed(self, nearest: int) -> float:
        settings = self._settings
        index = (nearest + np.arange(int(settings.horizon / 3.0) + 1)) % len(self._line)
        distance = np.concatenate(([0.0], np.cumsum(self._spacing[index])[:-1]))
        inside = distance <= settings.horizon
        allowed = np.sqrt(self._speed_limit[index] ** 2 + 2 * settings.braking_limit * distance)
        return float(min(settings.top_speed, allowed[inside].min()))


def racing_line(centre: Line, offset: float, iterations: int = 150) -> Line:
    """Smooth a closed line by minimising its bending while staying within ``offset`` of the centre.

    Args:
        centre: float64, shape (n, 2), world units.
        offset: Largest distance from ``centre``, world units.

    Returns:
        float64, shape (n, 2); point i lies on the cross-section of the road through ``centre[i]``.
    """
    tangent = np.roll(centre, -1, axis=0) - np.roll(centre, 1, axis=0)
    tangent /= np.maximum(1e-9, np.hypot(tangent[:, 0], tangent[:, 1]))[:, None]
    normal = np.stack((tangent[:, 1], -tangent[:, 0]), axis=1)
    shift = np.zeros(len(centre))
    for _ in range(iterations):
        line = centre + shift[:, None] * normal
        bend = np.roll(line, 1, axis=0) + np.roll(line, -1, axis=0) - 2 * line
        gradient = np.roll(bend, 1, axis=0) + np.roll(bend, -1, axis=0) - 2 * bend
        shift = np.clip(shift - 0.1 * np.sum(gradient * normal, axis=1), -offset, offset)
    moved: Line = centre + shift[:, None] * normal
    return moved


def curvature(line: Line) -> npt.NDArray[np.float64]:
    """Return the curvature of a closed line (1 / units, negative to the right), averaged over five points."""
    step = np.roll(line, -1, axis=0) - line
    angle = np.arctan2(step[:, 1], step[:, 0])
    turn = (np.diff(angle, prepend=angle[-1]) + math.pi) % (2 * math.pi) - math.pi
    length = np.maximum(1e-9, np.hypot(step[:, 0], step[:, 1]))
    kernel = np.ones(5) / 5
    padded = np.concatenate((turn[-2:], turn, turn[:2]))
    smooth: npt.NDArray[np.float64] = np.convolve(padded, kernel, mode="valid") / length
    return smooth


def _wrap(angle: float) -> float:
    return (angle + math.pi) % (2 * math.pi) - math.pi
