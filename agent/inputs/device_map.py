"""What the axes and buttons of a steering wheel, a flight stick or another device mean; a TOML file for each device.

::

    name = "G29 Driving Force Racing Wheel"
    guid = "030000006d0400004fc2000011010000"

    [steering]
    axis = 0
    left = -1.0
    centre = 0.0
    right = 1.0

    [throttle]
    axis = 2
    released = 1.0
    pressed = -1.0

    [handbrake]
    button = 4

    [back]
    button = 6

Two pedals may share an axis: both are released in its middle. An inverted axis has ``pressed`` below ``released``. The
file may be shared: it fits every device of that model. ``python -m agent inputs learn`` writes it.
"""

import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_config_path

from agent.contract.controls import AXIS_BY_NAME, AXIS_NAMES, MIRRORED_AXES, Controls
from agent.contract.durable import replace_file
from agent.contract.errors import ControllerError
from agent.contract.untrusted import printable, read_plain_file

DEAD_ZONE = 0.02
"""Share of the way from the centre that counts as straight: a wheel at rest trembles by less."""
LEAST_TRAVEL = 0.1
"""Way between two ends of an axis, of the 2 that it has: less is noise."""
STEERING = "steering"
BACK = "back"

_AGAIN = "Write it again: `python -m agent inputs learn`."
_MAX_BYTES = 20_000
_MAX_NUMBER = 255  # axes and buttons of a device, by far
_GUID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Wheel:
    """Where an axis with a centre lies.

    Attributes:
        axis: Number of the device's axis.
        left: Its value at the left end, [-1, 1].
        centre: Its value at rest.
        right: Its value at the right end.
        dead_zone: Share of the way from the centre, [0, 0.5], that counts as straight.
    """

    axis: int
    left: float
    centre: float
    right: float
    dead_zone: float = DEAD_ZONE

    def __post_init__(self) -> None:
        _check_number(self.axis, "axis")
        if not all(math.isfinite(value) and -1 <= value <= 1 for value in (self.left, self.centre, self.right)):
            raise ControllerError("left, centre and right must lie in [-1, 1].")
        if not 0 <= self.dead_zone <= 0.5:
            raise ControllerError(f"dead_zone is {self.dead_zone}, expected 0 to 0.5.")
        if min(abs(self.left - self.centre), abs(self.right - self.centre)) < LEAST_TRAVEL / 2:
            raise ControllerError("left and right must differ from the centre.")
        if (self.left - self.centre) * (self.right - self.centre) > 0:
            raise ControllerError("left and right must lie on different sides of the centre.")

    def __str__(self) -> str:
        return f"axis {self.axis}: left {self.left:+.2f}, centre {self.centre:+.2f}, right {self.right:+.2f}"

    def share(self, value: float) -> float:
        """Return the deflection: [-1, 1], 0 within the dead zone."""
        end = self.right if (value - self.centre) * (self.right - self.centre) > 0 else self.left
        way = (value - self.centre) / (end - self.centre)
        moved = min(1.0, max(0.0, (way - self.dead_zone) / (1.0 - self.dead_zone)))
        return moved if end == self.right else -moved


@dataclass(frozen=True, slots=True)
class Pedal:
    """Where an axis that is pressed from one end lies.

    Attributes:
        axis: Number of the device's axis.
        released: Its value when nobody presses it, [-1, 1].
        pressed: Its value when it is pressed fully.
    """

    axis: int
    released: float
    pressed: float

    def __post_init__(self) -> None:
        _check_number(self.axis, "axis")
        if not all(math.isfinite(value) and -1 <= value <= 1 for value in (self.released, self.pressed)):
            raise ControllerError("released and pressed must lie in [-1, 1].")
        if abs(self.pressed - self.released) < LEAST_TRAVEL:
            raise ControllerError("pressed must differ from released.")

    def __str__(self) -> str:
        return f"axis {self.axis}: released {self.released:+.2f}, pressed {self.pressed:+.2f}"

    def share(self, value: float) -> float:
        """Return how far it is pressed: [0, 1], 0 within the dead zone of its travel."""
        way = (value - self.released) / (self.pressed - self.released)
        return min(1.0, max(0.0, (way - DEAD_ZONE) / (1.0 - 2 * DEAD_ZONE)))


@dataclass(frozen=True, slots=True)
class Button:
    """A button, which is pressed or not.

    Attributes:
        button: Its number.
    """

    button: int

    def __post_init__(self) -> None:
        _check_number(self.button, "button")

    def __str__(self) -> str:
        return f"button {self.button}"


Source = Wheel | Pedal | Button


@dataclass(frozen=True, slots=True)
class DeviceMap:
    """What a device's axes and buttons mean.

    Attributes:
        name: The device's own name.
        guid: Its model, as SDL names it: 32 hexadecimal digits, see :func:`model_of`.
        sources: By axis of the car; ``back`` for the button that gives the wheel back.

    Raises:
        ControllerError: If there is no steering, or a source cannot be what it is for.
    """

    name: str
    guid: str
    sources: Mapping[str, Source]

    def __post_init__(self) -> None:
        if _GUID.fullmatch(self.guid) is None:
            raise ControllerError(f"guid is {printable(self.guid)!r}, expected 32 hexadecimal digits.")
        if STEERING not in self.sources:
            raise ControllerError(f"there is no [{STEERING}], expected it at least.")
        for name, source in self.sources.items():
            if name != BACK and name not in AXIS_NAMES:
                raise ControllerError(
                    f"[{printable(name)}] is unknown, expected some of {', '.join(AXIS_NAMES)}, {BACK}."
                )
            if isinstance(source, Wheel) != (name in MIRRORED_AXES) or (
                name == BACK and not isinstance(source, Button)
            ):
                raise ControllerError(f"[{name}] cannot be a {type(source).__name__.lower()}.")

    def controls(self, axes: Mapping[int, float], buttons: Mapping[int, bool]) -> Controls:
        """Return the controls for values of the axes, [-1, 1], and for the buttons that are down."""
        values = {}
        for name, source in self.sources.items():
            if name == BACK:
                continue
            share = (
                float(buttons.get(source.button, False))
                if isinstance(source, Button)
                else source.share(axes.get(source.axis, _rest(source)))
            )
            values[name] = AXIS_BY_NAME[name].value_at(share)
        return Controls(**values).clip()


def _rest(source: Wheel | Pedal) -> float:
    return source.centre if isinstance(source, Wheel) else source.released


def model_of(guid: str) -> str:
    """Return SDL's identifier of a device without the checksum of its name, which older SDL versions leave out."""
    return guid[:4] + "0000" + guid[8:]


def maps_folder() -> Path:
    """Return the folder of the user's maps; it need not exist."""
    return user_config_path("hoodcam", appauthor=False) / "inputs"


def map_path(guid: str, folder: Path | None = None) -> Path:
    """Return where the map of a model is or will be."""
    return (folder or maps_folder()) / f"{model_of(guid)}.toml"


def find_map(guid: str, folder: Path | None = None) -> DeviceMap | None:
    """Return the map of a model; None if there is none.

    Raises:
        ControllerError: If its file is faulty.
    """
    path = map_path(guid, folder) if _GUID.fullmatch(guid) else None
    return load_map(path) if path is not None and path.is_file() else None


def load_map(path: Path) -> DeviceMap:
    """Read a map.

    Raises:
        ControllerError: If it cannot be read or is faulty; the message names the file.
    """
    try:
        text = read_plain_file(path, _MAX_BYTES)
        table = tomllib.loads(text.decode("utf-8-sig"))
        return _parse(table)
    except (OSError, ValueError, RecursionError) as exc:
        raise ControllerError(
            f"{path} cannot be read ({exc}). Write it again: `python -m agent inputs learn`."
        ) from exc
    except ControllerError as exc:
        raise ControllerError(f"{path}: {exc} {_AGAIN}") from exc


def save_map(device: DeviceMap, folder: Path | None = None) -> Path:
    """Write a map, and return its path.

    Raises:
        ControllerError: If it cannot be written.
    """
    path = map_path(device.guid, folder)
    lines = [f"name = {json.dumps(printable(device.name))}", f'guid = "{device.guid}"']
    for name, source in device.sources.items():
        values = {key: getattr(source, key) for key in source.__slots__}
        lines += ["", f"[{name}]", *(f"{key} = {value!r}" for key, value in values.items())]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, "\n".join(lines) + "\n")
    except OSError as exc:
        raise ControllerError(f"{path} cannot be written ({exc.strerror}), expected a writable folder.") from exc
    return path


def _parse(table: Mapping[str, Any]) -> DeviceMap:
    name, guid = table.get("name", ""), table.get("guid")
    if not isinstance(name, str) or not isinstance(guid, str):
        raise ControllerError("name and guid must be text.")
    sections = {key: value for key, value in table.items() if key not in ("name", "guid")}
    return DeviceMap(printable(name), guid, {key: _source(key, value) for key, value in sections.items()})


def _source(name: str, values: Any) -> Source:
    for kind in (Button, Pedal, Wheel):
        needed = set(kind.__slots__)
        if isinstance(values, dict) and (set(values) == needed or set(values) == needed - {"dead_zone"}):
            whole = {key: value for key, value in values.items() if key in ("axis", "button")}
            if any(type(value) is not int for value in whole.values()):
                raise ControllerError(f"[{name}] must name its axis or button by a whole number.")
            if any(type(value) not in (int, float) for value in values.values()):
                raise ControllerError(f"[{name}] must hold numbers.")
            try:
                return kind(**values)
            except ControllerError as exc:
                raise ControllerError(f"[{name}]: {exc}") from exc
    raise ControllerError(
        f"[{printable(name)}] is incomplete, expected button; or axis, released, pressed; or axis, left, centre, right."
    )


def _check_number(number: int, what: str) -> None:
    if not 0 <= number <= _MAX_NUMBER:
        raise ControllerError(f"{what} is {number}, expected 0 to {_MAX_NUMBER}.")
