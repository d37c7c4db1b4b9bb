"""The unmodified TORCS in its window: starts a practice session and reads the lap times that the game stores."""

import math
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from agent.capture.screen import ScreenSource
from agent.contract.errors import BlindError, CaptureError, GameError
from agent.contract.observation import Pixels
from agent.contract.profile import Capture
from agent.games.launching import GameResults, LaunchOptions
from agent.games.program import DRAWN_IN_SOFTWARE, find_program
from agent.games.torcs.progress import Progress
from agent.inputs.keyboard import import_keyboard
from agent.system.supervised import supervised

WIDTH_PX, HEIGHT_PX = 320, 180
"""Twice the network's width and height."""
STEERING_S = 0.2
"""Time from the centre to full lock while a key is held; it sets "steer sensitivity" in the game, which is 0.8 by
default. A bend of 100 m radius needs 0.07 of full lock. The shortest pulse, 35 ms, turns the wheel by 0.175 of full
lock and releases it at once; a pulse and a pause of 80 ms in all make such a bend. At 0.8, pulses would take half a
second."""

TITLE = "torcs-bin"

_DATA = Path("/usr/share/games/torcs")
_PRACTICE_BELOW_FIRST = 5  # positions in the menu of races
_TRIES = 10
_LEAST_CHANGE = 0.5  # mean change in grey levels; moving the mark in a menu makes 2
_CAMERA = (1, 1)  # from behind and above: the second camera that F3 switches to
_START_S = 60.0
_ANSWER_S = 1.5  # a menu shows within this time that it got a key
_LOAD_S = 120.0


@dataclass(frozen=True, slots=True)
class Session:
    """A running practice session.

    Attributes:
        process: The game's process.
        folder: The folder to which the game writes, for this session only.
        laps: The session ends after this many laps.
        progress: How far round the track the car is.
    """

    process: "subprocess.Popen[bytes]"
    folder: Path
    laps: int = 1
    progress: Progress = field(default_factory=Progress)

    @property
    def is_alive(self) -> bool:
        """Whether the game still runs."""
        return self.process.poll() is None

    @property
    def results(self) -> GameResults:
        """The game stores the laps at the session's end; how far round the car is, is read from its map."""
        laps_s = tuple(self.laps_s)
        finished = len(laps_s) >= self.laps
        return GameResults(finished, sum(laps_s) if finished else None, laps_s, {"rounds": self.progress.rounds})

    def see(self, picture: Pixels, time_s: float) -> None:
        """Follow the car on the map."""
        self.progress.add(picture, time_s)

    @property
    def laps_s(self) -> list[float]:
        """Seconds of every lap, from the game's own results; empty before the session's end."""
        times = []
        for path in sorted(self.folder.rglob("results/practice/*.xml")):
            try:
                numbers = ElementTree.parse(path).iter("attnum")
            except (OSError, ElementTree.ParseError):
                continue  # it is being written
            times += [float(number.get("val", "nan")) for number in numbers if number.get("name") == "time"]
        return [each for each in times if each > 0]


class TorcsLauncher:
    """Starts a practice session of TORCS."""

    packages = ("torcs",)
    usual = LaunchOptions("e-track-5", 1, WIDTH_PX, HEIGHT_PX)
    rate_hz = None

    def start(
        self, options: LaunchOptions, environment: Mapping[str, str], folder: Path
    ) -> AbstractContextManager[Session]:
        """See :func:`session_in_window`."""
        if (options.width_px, options.height_px) != (WIDTH_PX, HEIGHT_PX):
            raise GameError(
                f"TORCS cannot be started at {options.width_px} x {options.height_px} px, expected {WIDTH_PX} x "
                f"{HEIGHT_PX}: the map is looked for there. Leave --size out."
            )
        return session_in_window(options.track, environment, folder, options.laps)


@contextmanager
def session_in_window(track: str, environment: Mapping[str, str], folder: Path, laps: int = 1) -> Iterator[Session]:
    """Start a practice session for a single car; the player's settings are neither read nor changed.

    The menus are driven by keys, which go to the window in front. So no other program may use the desktop.

    Args:
        track: The name of the track's folder in the game.
        environment: Environment of the desktop for its window, which must be this process's own.
        folder: An empty folder that the game uses instead of the player's home.
        laps: The session ends after this many laps.

    Raises:
        GameError: If the game is not installed, has no such track, or does not reach the race.
    """
    program = find_program("torcs", "TORCS", "Install it: `sudo apt install torcs` (Debian).")
    tracks = {path.stem: path.parent.parent.name for path in _DATA.glob("tracks/*/*/*.xml")}
    if track not in tracks:
        raise GameError(f"there is no track {track!r}, expected one of: {', '.join(sorted(tracks))}.")
    _write_settings(folder / ".torcs", track, tracks[track], laps)
    with supervised([program], {**environment, **DRAWN_IN_SOFTWARE, "HOME": str(folder)}) as process:
        with _open_window(process) as source:
            _go_through_menus(source)
        yield Session(process, folder, laps)


def _write_settings(folder: Path, track: str, category: str, laps: int) -> None:
    """Copy the game's own settings, and change those that a player would change in its menus."""
    camera_list, camera = _CAMERA
    changes: dict[str, list[tuple[str, str, str | float]]] = {
        "config/raceman/practice.xml": [
            ("Tracks/1", "name", track),
            ("Tracks/1", "category", category),
            ("Practice", "laps", laps),
            ("Drivers/1", "module", "human"),
            ("Drivers/1", "idx", 1),
        ],
        # By default, a player steers with the mouse. The settings for keys name the arrow keys.
        "drivers/human/preferences.xml": [
            ("mouse", "steer sensitivity", STEERING_S),
            ("Preferences/Drivers/1", "auto reverse", "yes"),
        ],
        "config/screen.xml": [("Screen Properties", "x", WIDTH_PX), ("Screen Properties", "y", HEIGHT_PX)],
        "config/graph.xml": [
            ("Display Mode/Player", "camera head list", camera_list),
            ("Display Mode/Player", "camera", camera),
        ],
    }
    for name, values in changes.items():
        settings = ElementTree.parse(_DATA / name)
        for section, key, value in values:
            _set(settings.getroot(), section, key, value)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        settings.write(folder / name, encoding="utf-8", xml_declaration=True)


def _set(root: ElementTree.Element, section: str, key: str, value: str | float) -> None:
    found = root
    for name in section.split("/"):
        found = next(child for child in found if child.get("name") == name)
    kind = "attstr" if isinstance(value, str) else "attnum"
    entry = next((child for child in found if child.get("name") == key), None)
    if entry is None:
        entry = ElementTree.SubElement(found, kind, name=key)
    entry.set("val", str(value))


@contextmanager
def _open_window(process: "subprocess.Popen[bytes]") -> Iterator[ScreenSource]:
    give_up_s = time.monotonic() + _START_S
    while True:
        source = ScreenSource(Capture(window=TITLE), frozen_s=math.inf)
        try:
            source.__enter__()
            break
        except CaptureError as exc:
            if time.monotonic() > give_up_s or process.poll() is not None:
                raise GameError(
                    f"the game showed no window within {_START_S:.0f} s, expected one. Run `torcs`."
                ) from exc
            time.sleep(0.2)
    with source:
        yield source


def _go_through_menus(source: ScreenSource) -> None:
    """Choose Race, Practice, New Race; a key is pressed again if the menu does not react to it."""
    keyboard = import_keyboard()
    keys, special = keyboard.Controller(), keyboard.Key
    _within(_START_S, lambda: _is_menu(_picture(source)), "no menu came up")
    for name in ("enter", *["down"] * _PRACTICE_BELOW_FIRST, "enter", "enter"):
        before = _picture(source)
        for _ in range(_TRIES):
            keys.tap(special[name])
            if _changes(source, before):
                break
        else:
            raise GameError(f"TORCS' menu took no key ({name}), expected it in front. Close windows that cover it.")
    _within(_LOAD_S, lambda: not _is_menu(_picture(source)), "the race did not begin")


def _picture(source: ScreenSource) -> npt.NDArray[np.int16]:
    """Return the picture in the window: shape (height, width, 3), BGR."""
    while True:
        try:
            return source.read().pixels[..., :3].astype(np.int16)
        except BlindError:  # black, while it starts
            time.sleep(0.1)


def _is_menu(picture: npt.NDArray[np.int16]) -> bool:
    """Return whether a picture is blue everywhere, like every menu and the loading screens."""
    blue, _, red = picture.reshape(-1, 3).mean(axis=0)
    return bool(blue > 2 * red)


def _changes(source: ScreenSource, before: npt.NDArray[np.int16]) -> bool:
    give_up_s = time.monotonic() + _ANSWER_S
    while time.monotonic() < give_up_s:
        time.sleep(0.1)
        if np.abs(_picture(source) - before).mean() > _LEAST_CHANGE:
            return True
    return False


def _within(seconds: float, happened: Callable[[], bool], otherwise: str) -> None:
    give_up_s = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > give_up_s:
            raise GameError(f"{otherwise} within {seconds:.0f} s, expected TORCS 1.3.7. Run `torcs` to see why.")
        time.sleep(0.2)
