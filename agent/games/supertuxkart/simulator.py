"""SuperTuxKart through the binding `pysupertuxkart2`: it waits between ticks, and draws only on request."""

import ctypes
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import cv2
import numpy as np
import numpy.typing as npt
import pystk2
from platformdirs import user_cache_path

from agent.contract.controls import Controls
from agent.contract.errors import GameError
from agent.contract.observation import Pixels
from agent.games.base import DriveState, Outcome
from agent.games.profile_files import SHIPPED, load_profile
from agent.games.supertuxkart.data import DATA_VARIABLE, find_data
from agent.games.supertuxkart.races import DEFAULT_KART, GRADED_TRACKS, Race, race_of

FRAME_WIDTH_PX = 480
FRAME_HEIGHT_PX = 270
PHYSICS_HZ = 120
TICK_S = 1.0 / 30.0  # four physics steps; a decision is held for three ticks at 10 Hz, and for one tick at 30 Hz
DIFFICULTY = 2  # "expert" in the menu: the binding's default, and so the one of the published drivers

PROFILE = load_profile(SHIPPED / "supertuxkart.toml")

BRAKE_THRESHOLD = 0.5  # the brake is a switch; for the game, an axis is pressed from its middle on
# The grader's speed. The grader rescues at once if its last rescue was 3 s ago; here the kart must be slow for 3 s.
_STUCK_BELOW_M_S = 1.0
_STUCK_TICKS = round(3.0 / TICK_S)
# A kart carried by the rescue bird, or thrown up by an explosion, reports a speed of exactly 0. The bird rises at
# 1.5 m/s, an explosion at 6 m/s or more. A kart at rest moves at less than 0.2 m/s; the game then reports 0 too.
_CARRIED_M_S = 0.5
_BIRD_M_S = 3.0
_APEX_TICKS = 5  # between rising and falling
_COUNTDOWN_S = 20.0  # it takes 5 s
# The binding has no switch for it and always asks for 4 x. Drawn in software, a picture then takes 37 ms instead of 13.
_WITHOUT_ANISOTROPY = "-GL_EXT_texture_filter_anisotropic -GL_ARB_texture_filter_anisotropic"

Point = npt.NDArray[np.float64]
"""float64, shape (3,): metres; x and z lie in the plane, y points up."""


class SuperTuxKart:
    """One kart, one lap, as a :class:`agent.games.base.Simulator`; one race at a time in a process.

    Frames are uint8, shape (270, 480, 3), BGR: a player's view in a window of that size with all effects off, with
    speedometer, clock and map. An episode starts when the lights turn green. It ends with the lap, or with ``timeout``
    at the track's limit. The return is like CarRacing's: 1000 for the lap, minus 5 a second.

    A kart that has been slower than 1 m/s for 3 s is put back on the road by the game's rescue. Items, nitro and drift
    are not used; objects on the road stay there.

    Args:
        tracks: The tracks that seeds choose from, see ``race_of``.
        karts: The karts that seeds choose from.
        both_directions: Whether some races are driven in the opposite direction.
        limit_s: Seconds after which an episode ends, instead of the track's own limit.

    Raises:
        GameError: If the data are missing, a track or kart is unknown, or another race runs in this process.
    """

    profile = PROFILE
    tick_s = TICK_S

    def __init__(
        self,
        tracks: Sequence[str] = GRADED_TRACKS,
        karts: Sequence[str] = (DEFAULT_KART,),
        both_directions: bool = False,
        limit_s: float | None = None,
    ) -> None:
        _start_game()
        _check_known("track", tracks, pystk2.list_tracks(pystk2.RaceConfig.RaceMode.NORMAL_RACE))
        _check_known("kart", karts, pystk2.list_karts())
        self._tracks = tuple(tracks)
        self._karts = tuple(karts)
        self._both_directions = both_directions
        self._limit_s = limit_s
        self._running: pystk2.Race | None = None
        self._world = pystk2.WorldState()
        self._track = pystk2.Track()
        self.race = Race(self._tracks[0], self._karts[0])

    @property
    def kart(self) -> pystk2.Kart:
        """Privileged: the binding's view of the kart."""
        return self._world.players[0].kart

    @property
    def track(self) -> pystk2.Track:
        """Privileged: the binding's view of the track."""
        return self._track

    @property
    def controls(self) -> Controls:
        """Privileged: the kart's present controls, no matter who set them."""
        action = self._race().get_kart_action(0)
        return Controls(action.steer, action.acceleration, float(action.brake)).clip()

    @property
    def state(self) -> DriveState:
        time_s = self._ticks * TICK_S
        return DriveState(
            time_s=time_s,
            episode_return=1000.0 * self._progress - 5.0 * time_s,
            progress=self._progress,
            outcome=self._outcome,
            speed=float(self.kart.speed),
            telemetry={"yaw_rate": float(self.kart.angular_velocity[1])},
            track=self.race.track,
            in_control=self._carried_ticks == 0,
            figures={"rescues": float(self._rescues), "off_track_share": self._ticks_off_track / max(1, self._ticks)},
        )

    def reset(self, seed: int) -> None:
        self.close()
        if pystk2.is_running():
            raise GameError("another race runs in this process, expected one at a time. Close that simulator first.")
        self.race = race_of(seed, self._tracks, self._karts, self._both_directions)
        self._running = pystk2.Race(_race_config(self.race, seed))
        self._running.start()
        self._world = pystk2.WorldState()
        self._wait_for_green()
        self._track = pystk2.Track()  # a used object keeps the last track's branches
        self._track.update()
        self._move_aside()
        self._ticks = 0
        self._ticks_off_track = 0
        self._rescues = 0
        self._still_ticks = 0
        self._carried_ticks = 0
        self._progress = 0.0
        self._outcome: Outcome = "driving"
        self._position = self._where()

    def advance(self, controls: Controls, ticks: int = 1) -> None:
        race = self._race()
        action = pystk2.Action(
            steer=controls.steering, acceleration=controls.throttle, brake=controls.brake > BRAKE_THRESHOLD
        )
        for _ in range(ticks):
            if self._outcome != "driving":
                return
            action.rescue = self._still_ticks >= _STUCK_TICKS
            race.step(action)
            self._ticks += 1
            self._look()

    def render(self) -> Pixels:
        pixels: Pixels = cv2.cvtColor(self._race().screen_capture(), cv2.COLOR_RGB2BGR)
        return pixels

    def close(self) -> None:
        if self._running is not None:
            self._running.stop()
            self._running = None

    def _race(self) -> pystk2.Race:
        if self._running is None:
            raise GameError("no race is running, expected one. Call reset() first.")
        return self._running

    def _where(self) -> Point:
        return np.array(self.kart.location, np.float64)

    def _wait_for_green(self) -> None:
        phase = pystk2.WorldState.Phase
        waiting = (phase.TRACK_INTRO_PHASE, phase.SETUP_PHASE, phase.READY_PHASE, phase.SET_PHASE)
        for _ in range(round(_COUNTDOWN_S / TICK_S)):
            self._race().step(pystk2.Action())
            self._world.update()
            if self._world.phase not in waiting:
                return
        raise GameError(
            f"the race on {self.race.track} has not started after {_COUNTDOWN_S:g} s (phase {self._world.phase.name}), "
            "expected a countdown of 5 s. Choose another --track."
        )

    def _move_aside(self) -> None:
        if self.race.offset_m == 0.0 and self.race.heading_rad == 0.0:
            return
        position = self._where()
        ahead = np.array(self.kart.front, np.float64) - position
        aside = np.cross((0.0, 1.0, 0.0), ahead)
        position += self.race.offset_m * aside / np.linalg.norm(aside)
        # The binding reports the rotation from world to kart as w, x, y, z. It expects the inverse, as x, y, z, w.
        w, x, y, z = (float(value) * sign for value, sign in zip(self.kart.rotation, (1, -1, -1, -1), strict=True))
        sine, cosine = math.sin(self.race.heading_rad / 2), math.cos(self.race.heading_rad / 2)
        turned = (cosine * x + sine * z, cosine * y + sine * w, cosine * z - sine * x, cosine * w - sine * y)
        pystk2.WorldState.set_kart_location(0, position.tolist(), turned, 0.0)
        self._race().step(pystk2.Action())
        self._world.update()

    def _look(self) -> None:
        """Update the state of the drive from the kart's new state."""
        self._world.update()
        kart = self.kart
        position = self._where()
        velocity = (position - self._position) / TICK_S
        self._position = position
        if kart.speed == 0.0 and np.linalg.norm(velocity) > _CARRIED_M_S:
            self._rescues += self._carried_ticks == 0 and 0 < velocity[1] < _BIRD_M_S
            self._carried_ticks = _APEX_TICKS
        else:
            self._carried_ticks = max(0, self._carried_ticks - 1) if kart.speed == 0.0 else 0
        still = abs(kart.speed) < _STUCK_BELOW_M_S and self._carried_ticks == 0
        self._still_ticks = self._still_ticks + 1 if still and self._still_ticks < _STUCK_TICKS else 0
        self._ticks_off_track += not kart.is_on_road
        self._progress = min(1.0, max(0.0, float(kart.overall_distance) / float(self._track.length)))
        limit_s = self.race.limit_s if self._limit_s is None else self._limit_s
        if kart.has_finished_race:
            self._outcome, self._progress = "lap", 1.0
        elif self._ticks * TICK_S >= limit_s - 1e-6:
            self._outcome = "timeout"


def _race_config(race: Race, seed: int) -> pystk2.RaceConfig:
    player = pystk2.PlayerConfig(kart=race.kart, camera_mode=pystk2.PlayerConfig.CameraMode.ON)
    config = pystk2.RaceConfig(
        difficulty=DIFFICULTY,
        track=race.track,
        reverse=race.reverse,
        laps=1,
        seed=seed % 2**31,
        num_kart=1,
        step_size=TICK_S,
        overlay=True,
    )
    config.players = pystk2.VectorPlayerConfig([player])
    return config


def _check_known(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise GameError(f"{what} {name!r} is unknown, expected one of: {', '.join(sorted(known))}.")


_started = False


def _start_game() -> None:
    """Load the game into this process; possible only once, and it stays until the process ends."""
    global _started
    if _started:
        return
    graphics = pystk2.GraphicsConfig.ld()
    graphics.screen_width, graphics.screen_height = FRAME_WIDTH_PX, FRAME_HEIGHT_PX
    graphics.display = False  # pictures are drawn on request, and not shown
    data = find_data(pystk2.__version__)
    saves = user_cache_path("hoodcam", appauthor=False) / "supertuxkart-saves"
    saves.mkdir(parents=True, exist_ok=True)
    settings = {
        DATA_VARIABLE: str(data),
        "SUPERTUXKART_ASSETS_DIR": str(data),
        "SUPERTUXKART_SAVEDIR": str(saves),  # instead of the player's own settings and scores
        "MESA_EXTENSION_OVERRIDE": _WITHOUT_ANISOTROPY,
    }
    if sys.platform == "linux":
        settings["SDL_VIDEODRIVER"] = "offscreen"  # needs no display; CarRacing's pygame uses another driver
    with _environment(settings), _quiet_stdout():
        pystk2.init(graphics)
    _started = True


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _quiet_stdout() -> Iterator[None]:
    """Send the greeting of the game's graphics engine to standard error: standard output is for results."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        if sys.platform != "win32":
            ctypes.CDLL(None).fflush(None)  # the text that C's stdio still holds
        os.dup2(kept, 1)
        os.close(kept)
