"""The game without a window: its menu, its pause, the race, and what it writes into its log."""

import functools
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self

import pygame

from .car import Car, Hands
from .picture import Painter
from .track import HALF_WIDTH_M, KERB_M, Track

State = Literal["menu", "driving", "paused"]

PICTURES_PER_S = 30
_HOOD: tuple[int, int, int] = (150, 34, 38)


class Log:
    """Lines of JSON: first what the race is, then one a picture.

    ``clock_s`` is the system's monotonic time, which other programs on the machine share.

    Args:
        path: Is written anew; None writes nothing.
        clock: Seconds.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._file: Any = None

    def __enter__(self) -> Self:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("w", encoding="utf-8", buffering=1)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, **values: Any) -> None:
        """Append a line."""
        if self._file is not None:
            self._file.write(json.dumps({"clock_s": round(self._clock(), 4), **values}) + "\n")


class Game:
    """A race against nobody, without end, round one track.

    Args:
        seed: Of the track.
        walls: Whether there is a fence.
        log: Open.

    Attributes:
        state: What is going on.
        car: The car.
        race_s: Since Enter, pauses not counted.
        resets: How often the car was put back onto the road in this race.
    """

    def __init__(self, seed: int, walls: bool, log: Log) -> None:
        self.track = Track(seed)
        self.state: State = "menu"
        self.race_s = 0.0
        self.resets = 0
        self.last_lap_s: float | None = None
        self._walls = walls
        self._log = log
        self._painter = Painter(self.track, walls)
        self._tilt = 0.0
        self._lap_began_s = 0.0
        self.car = Car(self.track, walls)
        log.write(
            event="opened",
            seed=seed,
            lap_m=self.track.lap_m,
            half_width_m=HALF_WIDTH_M + KERB_M,
            walls=walls,
        )

    def confirm(self) -> None:
        """Begin the race; Enter."""
        if self.state == "menu":
            self._begin("driving")

    def back_to_menu(self) -> None:
        """Give the race up, the car stands at the line again; Escape."""
        self._begin("menu")

    def pause_or_go_on(self) -> None:
        """Let time stand still, or go on; P."""
        if self.state != "menu":
            self.state = "paused" if self.state == "driving" else "driving"

    def put_back(self) -> None:
        """Put the car onto the middle of the road where it is, at rest; R."""
        if self.state == "driving":
            self.car.put(self.car.place.position_m)
            self.resets += 1

    def step(self, hands: Hands, seconds: float, focused: bool = True) -> None:
        """Let time pass, and write what came of it into the log.

        Args:
            hands: What the driver does.
            seconds: How much time.
            focused: Whether the window hears keys; only written down.
        """
        if self.state == "driving":
            laps = self.car.laps
            self.car.drive(hands, seconds)
            self.race_s += seconds
            if self.car.laps > laps:
                self.last_lap_s, self._lap_began_s = self.race_s - self._lap_began_s, self.race_s
        self._log.write(**self.report(), focused=focused)

    def report(self) -> dict[str, Any]:
        """Return what the log says of this moment."""
        car = self.car
        return {
            "state": self.state,
            "race_s": round(self.race_s, 3),
            "position_m": round(car.place.position_m, 2),
            "distance_m": round(car.distance_m, 2),
            "offset_m": round(car.place.offset_m, 3),
            "road_angle": round(car.road_angle, 4),
            "speed": round(car.forwards, 3),
            "off_road": car.off_road,
            "laps": car.laps,
            "last_lap_s": self.last_lap_s and round(self.last_lap_s, 3),
            "contacts": car.contacts,
            "resets": self.resets,
            "steering": round(car.wheel, 3),
            "throttle": round(car.throttle, 3),
            "brake": round(car.brake, 3),
        }

    def draw(self, picture: pygame.Surface) -> None:
        """Draw this moment on a picture of any size."""
        car = self.car
        tilt = math.atan(car.place.slope * math.cos(car.road_angle))
        self._tilt += 0.25 * (tilt - self._tilt)  # springs
        self._painter.draw(picture, (car.x_m, car.y_m, car.place.height_m), car.heading, self._tilt)
        width, height = picture.get_size()
        hood = [(0.2, 1.0), (0.26, 0.95), (0.4, 0.925), (0.6, 0.925), (0.74, 0.95), (0.8, 1.0)]
        pygame.draw.polygon(picture, _HOOD, [(x * width, y * height) for x, y in hood])
        if self.state == "driving":
            _write(picture, f"{car.speed * 3.6:.0f} km/h", 0.05, (0.93, 0.06))
            lap = "" if self.last_lap_s is None else f"  last {self.last_lap_s:.1f} s"
            _write(picture, f"lap {car.laps + 1}{lap}", 0.05, (0.1, 0.06))
            return
        _write(picture, "ROAD GAME" if self.state == "menu" else "PAUSED", 0.13, (0.5, 0.3))
        _write(picture, "Enter: drive" if self.state == "menu" else "P: go on   Esc: menu", 0.065, (0.5, 0.45))

    def _begin(self, state: State) -> None:
        self.state = state
        self.car = Car(self.track, self._walls)
        self.race_s = self._lap_began_s = 0.0
        self.resets, self.last_lap_s = 0, None


def _write(picture: pygame.Surface, text: str, high: float, place: tuple[float, float]) -> None:
    """Write a text of a height with its middle at a place, all in shares of the picture."""
    width, height = picture.get_size()
    letters = _letters(text, round(high * height))
    picture.blit(letters, letters.get_rect(center=(place[0] * width, place[1] * height)))


@functools.lru_cache(maxsize=256)
def _letters(text: str, high: int) -> pygame.Surface:
    pygame.font.init()
    return pygame.font.Font(None, high).render(text, True, (250, 250, 250), (40, 44, 52))
