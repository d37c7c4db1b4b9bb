"""Game profiles as TOML files: the agent's and the user's own.

A file in the user's folder replaces a shipped profile of the same name.
"""

import difflib
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, NoReturn

from platformdirs import user_config_path

from agent.contract.controls import AXES, AXIS_NAMES, STANDARD_AXES, with_standard_axes
from agent.contract.errors import GameError
from agent.contract.profile import (
    BUTTONS,
    MAX_DEAD_ZONE,
    MSS,
    PEDAL_AXES,
    STEERING_AXES,
    STUCK_ACTIONS,
    Capture,
    GameProfile,
    HotkeyMap,
    KeyMap,
    PadMap,
    Rectangle,
    Region,
    ReturnMarks,
    SteeringRamp,
    Stuck,
)
from agent.contract.untrusted import is_finite, is_plain_name, is_plain_text, read_plain_file

SHIPPED = Path(__file__).with_name("profiles")
_MAX_BYTES = 16_000  # a profile is a page of text; a larger file could keep tomllib busy for a minute
_MAX_TABLES = 64
_MAX_CHARACTERS = 300
_MAX_PIXELS = 100_000  # in each direction from the corner of the desktop
_MAX_RATE_HZ = 240.0
_MAX_RETURN = 1e9


def user_folder() -> Path:
    """Return the folder of the user's own profiles; it need not exist."""
    return user_config_path("hoodcam", appauthor=False) / "games"


def profile_paths() -> dict[str, Path]:
    """Return every profile's file by its name, the shipped ones first."""
    found: dict[str, Path] = {}
    for folder in (SHIPPED, user_folder()):
        if folder.is_dir():
            found |= {path.stem: path for path in sorted(folder.glob("*.toml"))}
    return found


def load_profile(path: Path) -> GameProfile:
    """Read and check one profile.

    Raises:
        GameError: If the file cannot be read, has no plain name, or has a key that is unknown, missing or out of range;
            the message names the key.
    """
    if not is_plain_name(path.stem):
        raise GameError(
            f"{path.name!r} is not a name for a profile, expected letters, digits, dots, hyphens and underscores. "
            "Rename the file."
        )
    try:
        table = tomllib.loads(read_plain_file(path, _MAX_BYTES).decode("utf-8-sig"))
    except OSError as exc:
        raise GameError(f"{path} cannot be read ({exc.strerror}), expected a game profile.") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise GameError(
            f"{path} is not TOML ({' '.join(str(exc).split())[:200]}), expected a game profile. Compare it with one in "
            f"{SHIPPED}."
        ) from exc
    return _profile(_Table(path, "", table), path.stem)


def _profile(top: "_Table", name: str) -> GameProfile:
    capture = top.table("capture")
    pad = top.table("pad")
    keys = top.table("keys")
    stuck = top.table("stuck")
    returns = top.table("returns")
    hotkeys = top.table("hotkeys")
    defaults, default_keys = PadMap(), KeyMap()
    profile = GameProfile(
        name=name,
        title=top.line("title"),
        rate_hz=top.number("rate_hz", 1.0, _MAX_RATE_HZ),
        masks=tuple(map(_rectangle, top.tables("masks"))),
        mirrored=tuple(map(_rectangle, top.tables("mirrored"))),
        notes=top.text("notes").strip(),
        capture=None if top.flag("embedded") else _capture(capture),
        controller="keyboard"
        if top.choice("controller", ("gamepad", "keyboard"), "gamepad") == "keyboard"
        else "gamepad",
        pad=PadMap(
            steering=pad.choice("steering", STEERING_AXES, defaults.steering),
            throttle=pad.choice("throttle", PEDAL_AXES, defaults.throttle),
            brake=pad.choice("brake", PEDAL_AXES, defaults.brake),
            steering_dead_zone=pad.number("steering_dead_zone", 0.0, MAX_DEAD_ZONE, 0.0),
            throttle_dead_zone=pad.number("throttle_dead_zone", 0.0, MAX_DEAD_ZONE, 0.0),
            brake_dead_zone=pad.number("brake_dead_zone", 0.0, MAX_DEAD_ZONE, 0.0),
            steering_slew_per_s=pad.number("steering_slew_per_s", 0.1, 1000.0)
            if "steering_slew_per_s" in pad
            else None,
            others=_other_places(pad),
        ),
        keys=KeyMap(
            **{name: keys.line(name, getattr(default_keys, name)) for name in ("left", "right", "throttle", "brake")},
            pulse_s=keys.number("pulse_s", 0.005, 1.0, default_keys.pulse_s),
            steering_ramp=_ramp(keys),
            others=tuple((axis.name, keys.line(axis.name)) for axis in AXES if not axis.standard and axis.name in keys),
        ),
        model=top.name("model"),
        stuck=_stuck(stuck) if "stuck" in top else None,
        returns=_returns(returns) if "returns" in top else None,
        hotkeys=_hotkeys(hotkeys),
    )
    profile = replace(profile, axes=_axes(top, profile))
    for table in (top, capture, pad, keys, stuck, returns, hotkeys):
        table.refuse_unknown()
    _check_stuck(stuck, profile)
    _check_places(pad, profile.pad)
    return profile


def _other_places(pad: "_Table") -> tuple[tuple[str, Any], ...]:
    """Return the places of the axes that not every game has."""
    return tuple(
        (axis.name, pad.choice(axis.name, STEERING_AXES if axis.low < axis.neutral else PEDAL_AXES, ""))
        for axis in AXES
        if not axis.standard and axis.name in pad
    )


def _check_places(table: "_Table", pad: PadMap) -> None:
    """Refuse two axes on one place."""
    taken: dict[str, str] = {}
    for name, place, _ in pad.places:
        if place in taken:
            table.refuse(name, f"is {place!r} like the {taken[place]}", "another place on the pad")
        taken[place] = name


def _axes(top: "_Table", profile: GameProfile) -> tuple[str, ...]:
    """Return the car's axes: those that the profile lists, or the standard axes and those with a place or key."""
    mapped = with_standard_axes([name for name, _ in (*profile.pad.others, *profile.keys.others)])
    if "axes" not in top:
        return mapped
    axes = top.names("axes", AXIS_NAMES)
    for name in mapped:
        if name not in axes and name not in STANDARD_AXES:
            top.refuse("axes", f"is {axes}", f"{name} among them, which lies on the pad or a key")
    return tuple(name for name in AXIS_NAMES if name in axes)


def _capture(table: "_Table") -> Capture:
    try:
        region = (
            Region(*map(int, table.numbers("region", 4, "[left, top, width, height]"))) if "region" in table else None
        )
    except GameError as exc:
        raise GameError(f"{table.where()}: {exc}") from exc
    return Capture(
        window=table.line("window") if "window" in table else None,
        monitor=int(table.number("monitor", 1, 16, 1)),
        region=region,
        needs_focus=table.flag("needs_focus", True),
        grabber=table.line("grabber") if "grabber" in table else MSS,
    )


def _ramp(keys: "_Table") -> SteeringRamp | None:
    if "steering_ramp_s" not in keys:
        return None
    meaning = "seconds to half lock, to full lock and back to the centre"
    values = keys.numbers("steering_ramp_s", 3, meaning)
    try:
        return SteeringRamp(*values)
    except ValueError:
        keys.refuse("steering_ramp_s", f"is {values}", f"{meaning}, the second more than the first")


def _stuck(table: "_Table") -> Stuck:
    defaults = Stuck()
    return Stuck(
        action=table.choice("action", STUCK_ACTIONS, defaults.action),
        after_s=table.number("after_s", 1.0, 60.0, defaults.after_s),
        start_s=table.number("start_s", 0.0, 600.0, defaults.start_s),
        least_change_per_s=table.number("least_change_per_s", 0.0, 255.0, defaults.least_change_per_s),
        for_s=table.number("for_s", 0.05, 60.0, defaults.for_s),
        press=table.line("press") if "press" in table else "",
        attempts=int(table.number("attempts", 1, 100, defaults.attempts)),
    )


def _returns(table: "_Table") -> ReturnMarks:
    good, poor = (table.number(name, -_MAX_RETURN, _MAX_RETURN) for name in ("good", "poor"))
    if poor > good:
        table.refuse("poor", f"is {poor:g}", f"a number of at most good, {good:g}")
    return ReturnMarks(good, poor)


def _hotkeys(table: "_Table") -> HotkeyMap:
    defaults = HotkeyMap()
    names = ("takeover", "start", "pause", "discard", "mark", "keep")
    try:
        return HotkeyMap(*(table.line(name, getattr(defaults, name)) for name in names))
    except GameError as exc:
        raise GameError(f"{table.where()}: {exc}") from exc


def _check_stuck(table: "_Table", profile: GameProfile) -> None:
    stuck = profile.stuck
    if stuck is None:
        return
    if stuck.action == "reset" and profile.capture is not None:
        table.refuse("action", "is 'reset'", "another for a game in a window: only a game in this process can be reset")
    if stuck.action == "press" and not stuck.press:
        table.refuse("press", "is missing", "the name of what action 'press' presses")
    if stuck.action == "press" and profile.controller == "gamepad" and stuck.press not in BUTTONS:
        table.refuse("press", f"is {stuck.press!r}", f"one of {', '.join(BUTTONS)}")


def _rectangle(table: "_Table") -> Rectangle:
    values = (table.number(name, 0.0, 1.0) for name in ("left", "top", "width", "height"))
    try:
        rectangle = Rectangle(*values)
    except GameError as exc:
        raise GameError(f"{table.where()}: {exc}") from exc
    table.refuse_unknown()
    return rectangle


class _Table:
    """One table of a TOML file; remembers which of its keys were asked for, and names the key in errors."""

    def __init__(self, path: Path, name: str, values: dict[str, Any]) -> None:
        self._path = path
        self._name = name
        self._values = values
        self._known: set[str] = set()

    def __contains__(self, key: str) -> bool:
        self._known.add(key)
        return key in self._values

    def where(self, key: str = "") -> str:
        """Return file and full name of a key, or of the table."""
        return f"{self._path}: {'.'.join(part for part in (self._name, key) if part)}"

    def refuse(self, key: str, found: str, expected: str) -> NoReturn:
        raise GameError(f"{self.where(key)} {found}, expected {expected}.")

    def refuse_unknown(self) -> None:
        for key in self._values:
            if key not in self._known:
                close = difflib.get_close_matches(key, self._known, 1)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                shown = key if is_plain_text(key) else shortened(key)
                raise GameError(
                    f"{self.where(shown)} is unknown, expected one of: {', '.join(sorted(self._known))}.{hint}"
                )

    def text(self, key: str) -> str:
        """Return a text that may have several lines."""
        value = self._value(key, None)
        if not isinstance(value, str) or not value.strip() or not value.replace("\n", "").isprintable():
            self.refuse(key, f"is {shortened(value)}", "a text in quotation marks")
        return value

    def line(self, key: str, default: str | None = None) -> str:
        value: Any = self._value(key, default)
        if not is_plain_text(value, _MAX_CHARACTERS) or not value.strip():
            expected = f"a text in quotation marks, {_MAX_CHARACTERS} printable characters at most"
            self.refuse(key, f"is {shortened(value)}", expected)
        return str(value)

    def name(self, key: str) -> str:
        """Return the name of a folder; may be empty."""
        value = self._value(key, "")
        if value != "" and not is_plain_name(value):
            self.refuse(key, f"is {shortened(value)}", "the name of a folder: letters, digits, dots and hyphens")
        return str(value)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self._value(key, default)
        if not isinstance(value, bool):
            self.refuse(key, f"is {shortened(value)}", "true or false")
        return value

    def choice(self, key: str, choices: Iterable[Any], default: str) -> Any:
        choices = tuple(choices)
        value = self._value(key, default)
        if value not in choices:
            self.refuse(key, f"is {shortened(value)}", f"one of {', '.join(choices)}")
        return value

    def names(self, key: str, choices: Iterable[str]) -> list[str]:
        """Return a list of some of the choices, each once."""
        choices = tuple(choices)
        values: Any = self._value(key, None)
        if not isinstance(values, list) or not values or not all(value in choices for value in values):
            self.refuse(key, f"is {shortened(values)}", f"a list out of {', '.join(choices)}")
        if len(set(values)) < len(values):
            self.refuse(key, f"is {shortened(values)}", "each name once")
        return values

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        value = self._value(key, default)
        if not is_finite(value) or not low <= value <= high:
            self.refuse(key, f"is {shortened(value)}", f"a number from {low:g} to {high:g}")
        return float(value)

    def numbers(self, key: str, count: int, meaning: str) -> list[float]:
        values = self._value(key, None)
        if (
            not isinstance(values, list)
            or len(values) != count
            or not all(is_finite(value) and abs(value) <= _MAX_PIXELS for value in values)
        ):
            found = f"is {shortened(values)}"
            self.refuse(key, found, f"{count} numbers: {meaning}, {_MAX_PIXELS} at most")
        return values

    def table(self, key: str) -> "_Table":
        value = self._value(key, {})
        if not isinstance(value, dict):
            self.refuse(key, f"is {shortened(value)}", f"a table, [{key}]")
        return _Table(self._path, key, value)

    def tables(self, key: str) -> "list[_Table]":
        values = self._value(key, [])
        listed = isinstance(values, list) and len(values) <= _MAX_TABLES
        if not listed or not all(isinstance(value, dict) for value in values):
            self.refuse(key, f"is {shortened(values)}", f"tables, [[{key}]], {_MAX_TABLES} at most")
        return [_Table(self._path, f"{key}[{index}]", value) for index, value in enumerate(values)]

    def _value(self, key: str, default: Any) -> Any:
        self._known.add(key)
        if key in self._values:
            return self._values[key]
        if default is None:
            raise GameError(f"{self.where(key)} is missing, expected it in every profile.")
        return default
