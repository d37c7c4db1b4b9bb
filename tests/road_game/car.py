"""A car with grip that ends: a bicycle model, its tyres' force limited, slower and looser beside the road."""

import math
from dataclasses import dataclass, field

from .track import FENCE_M, HALF_WIDTH_M, KERB_M, Place, Track

GRAVITY = 9.81
_MASS_KG = 1150.0
_INERTIA = 1700.0  # kg m^2, about the vertical
_FRONT_M, _REAR_M = 1.2, 1.35  # from the centre of mass to the axles
WHEELBASE_M = _FRONT_M + _REAR_M
_POWER_W = 85_000.0
_MOST_DRIVE_N = 5_500.0
_MOST_BRAKE_N = 11_000.0
_DRAG = 0.45  # N s^2/m^2
_ROLLING_N = 180.0
_GRIP, _GRIP_OFF = 1.0, 0.5
_SINKING_N, _SINKING = 900.0, 170.0  # what soft ground holds back with: N, and N s/m
_TYRE_STIFFNESS, _TYRE_SHAPE = 9.0, 1.4  # Pacejka's B and C: the most force at a slip of about 8 degrees
_REAR_MORE = 1.12  # rear tyres grip this much more, or a key held too long would spin the car
_MOST_LOCK, _LOCK_PER_GRIP = 0.5, 1.5  # radians; at speed, of the lock that the grip could still follow
_REVERSE_AFTER_S, _MOST_REVERSE = 0.4, 5.0
_STEP_S = 1 / 240
WHEEL_PER_S, WHEEL_BACK_PER_S = 3.5, 5.0
"""How fast a key turns the wheel, of its way from the middle to the end, and how fast it goes back by itself."""
_PEDAL_PER_S = 6.0


@dataclass(frozen=True)
class Hands:
    """What the driver asks for: steering from -1 (left) to 1, throttle and brake from 0 to 1.

    Attributes:
        direct: Of a stick: the wheel is where the stick is. Keys turn it gradually.
    """

    steering: float = 0.0
    throttle: float = 0.0
    brake: float = 0.0
    direct: bool = False


@dataclass
class Car:
    """A car on a track; starts at the line.

    Attributes:
        track: What it drives on.
        walls: Whether there is a fence that it cannot pass.
        x_m: To the east.
        y_m: To the south.
        heading: Radians.
        forwards: Speed along its heading, m/s.
        sideways: Speed to its right, m/s.
        turning: Radians a second.
        wheel: Where the steering wheel is, -1 to 1.
        throttle: Where the pedal is, 0 to 1.
        brake: Where the pedal is, 0 to 1.
        contacts: How often it has hit the fence.
        place: Where it is, seen from the road.
        distance_m: Along the road since the start; less when it drives back.
    """

    track: Track
    walls: bool = True
    x_m: float = 0.0
    y_m: float = 0.0
    heading: float = 0.0
    forwards: float = 0.0
    sideways: float = 0.0
    turning: float = 0.0
    wheel: float = 0.0
    throttle: float = 0.0
    brake: float = 0.0
    contacts: int = 0
    distance_m: float = 0.0
    place: Place = field(init=False)
    _touching: bool = False
    _braked_at_rest_s: float = 0.0

    def __post_init__(self) -> None:
        self.put(0.0)

    @property
    def speed(self) -> float:
        """In m/s, never negative."""
        return math.hypot(self.forwards, self.sideways)

    @property
    def off_road(self) -> bool:
        """Whether its middle is beyond asphalt and kerb."""
        return abs(self.place.offset_m) > HALF_WIDTH_M + KERB_M

    @property
    def laps(self) -> int:
        """How many laps it has driven, jumps by :meth:`put` not counted."""
        return max(0, int(self.distance_m // self.track.lap_m))

    @property
    def road_angle(self) -> float:
        """How far it points to the right of the road, in radians from -pi to pi."""
        return math.remainder(self.heading - self.place.heading, math.tau)

    def put(self, position_m: float, offset_m: float = 0.0, angle: float = 0.0) -> None:
        """Set it down at rest.

        Args:
            position_m: Along the lap.
            offset_m: From the middle of the road.
            angle: To the right of the road, radians.
        """
        x_m, y_m, heading = self.track.at(position_m)
        self.x_m = x_m - offset_m * math.sin(heading)
        self.y_m = y_m + offset_m * math.cos(heading)
        self.heading = heading + angle
        self.forwards = self.sideways = self.turning = 0.0
        self.wheel = self.throttle = self.brake = 0.0
        self._touching, self._braked_at_rest_s = False, 0.0
        self.place = self.track.locate(self.x_m, self.y_m)

    def drive(self, hands: Hands, seconds: float) -> None:
        """Go on for so long with the same hands on the wheel."""
        if seconds <= 0:
            return
        steps = max(1, round(seconds / _STEP_S))
        for _ in range(steps):
            self._move_wheel_and_pedals(hands, seconds / steps)
            self._roll(seconds / steps)
        before_m = self.place.position_m
        self.place = self.track.locate(self.x_m, self.y_m, self.place.index)
        gone_m = self.place.position_m - before_m
        self.distance_m += math.remainder(gone_m, self.track.lap_m)
        if self.walls:
            self._stay_inside()

    def _move_wheel_and_pedals(self, hands: Hands, step_s: float) -> None:
        if hands.direct:
            self.wheel = hands.steering
        else:
            back = hands.steering * self.wheel <= 0
            most = (WHEEL_BACK_PER_S if back else WHEEL_PER_S) * step_s
            self.wheel += min(most, max(-most, hands.steering - self.wheel))
        most = _PEDAL_PER_S * step_s
        self.throttle += min(most, max(-most, hands.throttle - self.throttle))
        self.brake += min(most, max(-most, hands.brake - self.brake))

    def _roll(self, step_s: float) -> None:
        grip = _GRIP_OFF if self.off_road else _GRIP
        along_n = self._along_n(grip, step_s)
        most_n = grip * _MASS_KG * GRAVITY
        sideways_share = math.sqrt(max(0.1, 1.0 - (along_n / most_n) ** 2))
        speed = abs(self.forwards)
        angle = self.wheel * lock_at(speed)
        rolling = self.forwards * math.tan(angle) / WHEELBASE_M  # how it turns where no tyre slips
        if speed < 3.0:
            self.forwards += along_n / _MASS_KG * step_s
            self.turning += (rolling - self.turning) * min(1.0, 12.0 * step_s)
            self.sideways += (self.turning * _REAR_M - self.sideways) * min(1.0, 12.0 * step_s)
        else:
            axle = sideways_share * most_n / WHEELBASE_M
            front_slip = math.atan2(self.sideways + _FRONT_M * self.turning, speed)
            front_slip -= angle * math.copysign(1.0, self.forwards)
            rear_slip = math.atan2(self.sideways - _REAR_M * self.turning, speed)
            front_n = -axle * _REAR_M * _tyre(front_slip)
            rear_n = -axle * _FRONT_M * _REAR_MORE * _tyre(rear_slip)
            self.forwards += (along_n / _MASS_KG + self.turning * self.sideways) * step_s
            self.forwards -= front_n * math.sin(angle) / _MASS_KG * step_s
            self.sideways += ((front_n + rear_n) / _MASS_KG - self.turning * self.forwards) * step_s
            self.turning += (front_n * _FRONT_M - rear_n * _REAR_M) / _INERTIA * step_s
        self.heading += self.turning * step_s
        ahead_x, ahead_y = math.cos(self.heading), math.sin(self.heading)
        self.x_m += (self.forwards * ahead_x - self.sideways * ahead_y) * step_s
        self.y_m += (self.forwards * ahead_y + self.sideways * ahead_x) * step_s

    def _along_n(self, grip: float, step_s: float) -> float:
        """Return the force along the heading; at rest whatever keeps the car there."""
        speed = abs(self.forwards)
        most_n = 0.95 * grip * _MASS_KG * GRAVITY
        downhill_n = -_MASS_KG * GRAVITY * self.place.slope * math.cos(self.road_angle)
        drive_n = self.throttle * min(_MOST_DRIVE_N, _POWER_W / max(1.0, speed))
        brake_n = self.brake * _MOST_BRAKE_N
        at_rest = speed < 0.3
        self._braked_at_rest_s = self._braked_at_rest_s + step_s if self.brake > 0.5 and self.throttle < 0.1 else 0.0
        reversing = self._braked_at_rest_s > _REVERSE_AFTER_S and self.forwards < 0.3
        if reversing:
            drive_n, brake_n = (-0.5 * _MOST_DRIVE_N if self.forwards > -_MOST_REVERSE else 0.0), 0.0
        elif at_rest and self.throttle < 0.05:  # the handbrake
            return -self.forwards * _MASS_KG / step_s * 0.2
        held_n = brake_n + _ROLLING_N + _DRAG * speed * speed
        if self.off_road:
            held_n += _SINKING_N + _SINKING * speed
        wanted_n = min(most_n, max(-most_n, drive_n))
        return min(most_n, max(-most_n, wanted_n + downhill_n - math.copysign(min(held_n, most_n), self.forwards)))

    def _stay_inside(self) -> None:
        beyond_m = abs(self.place.offset_m) - (FENCE_M - 1.0)
        if beyond_m <= 0:
            self._touching = self._touching and beyond_m > -0.5
            return
        side = math.copysign(1.0, self.place.offset_m)
        out_x, out_y = -math.sin(self.place.heading) * side, math.cos(self.place.heading) * side
        self.x_m -= out_x * beyond_m
        self.y_m -= out_y * beyond_m
        ahead_x, ahead_y = math.cos(self.heading), math.sin(self.heading)
        speed_x = self.forwards * ahead_x - self.sideways * ahead_y
        speed_y = self.forwards * ahead_y + self.sideways * ahead_x
        outwards = speed_x * out_x + speed_y * out_y
        if outwards > 0:
            speed_x, speed_y = speed_x - 1.2 * outwards * out_x, speed_y - 1.2 * outwards * out_y
            rubbing = 0.97 if outwards < 3 else 0.6
            self.forwards = rubbing * (speed_x * ahead_x + speed_y * ahead_y)
            self.sideways = rubbing * (-speed_x * ahead_y + speed_y * ahead_x)
            self.turning *= 0.5
        self.contacts += not self._touching
        self._touching = True
        self.place = self.track.locate(self.x_m, self.y_m, self.place.index)


def lock_at(speed: float) -> float:
    """Return how far the front wheels turn with the wheel hard over, in radians; less the faster the car."""
    return min(_MOST_LOCK, _LOCK_PER_GRIP * WHEELBASE_M * _GRIP * GRAVITY / max(1.0, speed * speed) + 0.03)


def _tyre(slip: float) -> float:
    """Return the share of a tyre's grip that a slip angle makes it give."""
    return math.sin(_TYRE_SHAPE * math.atan(_TYRE_STIFFNESS * slip))
