"""A game started in its own window and driven there, on a desktop that nobody sees or on the present one.

The drive is :func:`agent.sessions.window_drive.drive_window`, in a process of its own: so counting the game's pictures
here costs it no time. Everything is taken down at the end, even if this process is killed.
"""

import math
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from agent.capture.desktop import find_windows, open_desktop
from agent.capture.screen import ScreenSource
from agent.contract.errors import AgentError, BlindError, CaptureError, GameError
from agent.contract.profile import Capture, GameProfile
from agent.games.launching import GameResults, LaunchedGame, LaunchOptions
from agent.games.program import install
from agent.games.registry import find_game
from agent.games.virtual_desktop import NEEDED, joined, virtual_desktop
from agent.sessions.beside import DriveBeside
from agent.sessions.opening import Note, ignore
from agent.settings.base import options_of
from agent.settings.drive import DriveSettings
from agent.settings.game_run import GameRunSettings
from agent.settings.shared import EngineSettings, OutputSettings, PageSettings, ProcessorSettings

DESKTOP_PX = (640, 400)
"""Smallest size of the desktop that nobody sees; a larger window makes it larger."""
_FRAME_PX = (64, 64)  # room for the window's border and title
_WINDOW_S = 180.0  # the first start of a game compiles shaders
_COUNT_S = 0.008  # time between two looks at the game's pictures: 60 a second are told apart, for 5 % of a core
_SEE_S = 0.5
_POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class GameRun:
    """How a game that was started and driven went.

    Attributes:
        game: The game's name.
        options: What was started.
        results: The game's own account.
        game_alive: Whether the game still ran at the end; if not, it ended by itself.
        pictures_per_second: New pictures of the game, counted in its window.
        game_cores: The processor cores of the game; empty for all.
        drive: How the drive went, as ``python -m agent drive --json`` tells it.
    """

    game: str
    options: LaunchOptions
    results: GameResults
    game_alive: bool
    pictures_per_second: float
    game_cores: tuple[int, ...]
    drive: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "game": self.game,
            **asdict(self.options),
            **asdict(self.results),
            "game_alive": self.game_alive,
            "game_pictures_per_second": self.pictures_per_second,
            "game_cores": list(self.game_cores),
            "drive": self.drive,
        }


def run_game(settings: GameRunSettings, note: Note = ignore) -> GameRun:
    """Start a game, drive it until it is finished or the time is up, and take everything down.

    Args:
        settings: Which game, where, and how to drive it.
        note: Called with progress and notes for the user, one line at a time.

    Returns:
        How it went. A fault that ended the drive is in ``drive["fault"]``.

    Raises:
        AgentError: If it could not begin: no such game or track, no desktop, no weights.
        KeyboardInterrupt: After Ctrl-C; the drive's files are finished by then.
    """
    game = find_game(settings.game)
    launcher = game.launcher()
    options = _options(settings, launcher.usual)
    if settings.install:
        install((*(() if settings.on_screen else NEEDED.values()), *launcher.packages))
    game_cores, drive_cores = _share_cores(settings.cores)
    drive_settings = _drive_settings(settings, launcher.rate_hz, drive_cores)
    with ExitStack() as stack:
        environment = stack.enter_context(_desktop(options, settings.on_screen))
        with _kept_on(drive_cores):
            # The network is loaded once before the game starts: so faults show early, and the game does not wait.
            drive = stack.enter_context(DriveBeside(drive_settings, note))
            drive.wait_until_ready()
        note(f"starting {game.profile.title}: {options.track}")
        with _kept_on(game_cores):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="game-", ignore_cleanup_errors=True))
            launched = stack.enter_context(launcher.start(options, environment, Path(folder)))
        stack.callback(drive.close)  # before the game: so the keys are let go of in it, and the film ends well
        capture = drive_settings.where_to_look(game.profile)
        _wait_for_window(capture, launched, game.profile)
        with _watched(capture, launched) as watcher:
            drive.begin()
            while drive.is_running(_POLL_S) and launched.is_alive and not launched.results.finished:
                pass
            driven = drive.end()
        return GameRun(
            game=game.name,
            options=options,
            results=launched.results,
            game_alive=launched.is_alive,
            pictures_per_second=watcher.per_second,
            game_cores=tuple(game_cores),
            drive=driven,
        )


@contextmanager
def started_game(name: str, options: LaunchOptions | None = None, on_screen: bool = False) -> Iterator[LaunchedGame]:
    """Start a game on a desktop that nobody sees; leaving the block ends both.

    Args:
        name: The game's name.
        options: What to start; None for the launcher's usual.
        on_screen: Show the game on the present desktop instead.

    Raises:
        AgentError: If the game or the desktop cannot be started.
    """
    launcher = find_game(name).launcher()
    options = launcher.usual if options is None else options
    with (
        _desktop(options, on_screen) as environment,
        tempfile.TemporaryDirectory(prefix="game-", ignore_cleanup_errors=True) as folder,
        launcher.start(options, environment, Path(folder)) as launched,
    ):
        yield launched


def _options(settings: GameRunSettings, usual: LaunchOptions) -> LaunchOptions:
    given: dict[str, Any] = {"track": settings.track, "laps": settings.laps}
    if settings.size is not None:
        given |= dict(zip(("width_px", "height_px"), settings.size, strict=True))
    return replace(usual, **{name: value for name, value in given.items() if value is not None})


def _drive_settings(settings: GameRunSettings, rate_hz: float | None, cores: Sequence[int]) -> DriveSettings:
    shared = (EngineSettings, OutputSettings, PageSettings, ProcessorSettings)
    passed_on = {each.name: getattr(settings, each.name) for part in shared for each, _ in options_of(part)}
    decided = {
        "threads": settings.threads or len(cores) or None,
        "rate": settings.rate or rate_hz,
        "cores": tuple(cores) or None,
        "takeover": settings.on_screen,  # nobody is at the other desktop
    }
    return DriveSettings(game=settings.game, seconds=settings.seconds, **passed_on | decided)


@contextmanager
def _desktop(options: LaunchOptions, on_screen: bool) -> Iterator[dict[str, str]]:
    """Make this process a program of the desktop, and yield the environment for others."""
    if on_screen:
        yield dict(os.environ)
        return
    size = (options.width_px, options.height_px)
    width_px, height_px = (max(least, px + frame) for least, px, frame in zip(DESKTOP_PX, size, _FRAME_PX, strict=True))
    with virtual_desktop(width_px, height_px) as environment, joined(environment):
        yield environment


def _share_cores(drive_cores: Sequence[int] | None) -> tuple[list[int], list[int]]:
    """Return the processor cores of the game and of the drive: half each, unless told otherwise; empty for all."""
    if not hasattr(os, "sched_getaffinity"):
        return [], list(drive_cores or ())
    cores = sorted(os.sched_getaffinity(0))
    if drive_cores is None and len(cores) == 1:
        return [], []
    drive = cores[len(cores) // 2 :] if drive_cores is None else list(drive_cores)
    return [core for core in cores if core not in drive], drive


@contextmanager
def _kept_on(cores: Sequence[int]) -> Iterator[None]:
    """Keep this thread, and the processes that it starts, on some cores; does nothing without any."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    with suppress(OSError):  # the drive says it of its own cores
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _wait_for_window(capture: Capture, launched: LaunchedGame, profile: GameProfile) -> None:
    if capture.window is None:
        return
    give_up_s = time.monotonic() + _WINDOW_S
    desktop = open_desktop()
    try:
        while True:
            with suppress(CaptureError):
                find_windows(desktop, capture.window)
                return
            if not launched.is_alive:
                raise GameError(f"{profile.title} ended before it showed a window, expected one. Start it by hand.")
            if time.monotonic() > give_up_s:
                raise GameError(
                    f"{profile.title} showed no window {capture.window!r} within {_WINDOW_S:.0f} s, expected one. "
                    "Start it by hand."
                )
            time.sleep(0.2)
    finally:
        desktop.close()


class _Watcher:
    """Counts the game's new pictures in a thread of its own, more often than the network looks at them."""

    def __init__(self, capture: Capture, launched: LaunchedGame) -> None:
        self._capture = capture
        self._launched = launched
        self._stopping = threading.Event()
        self.per_second = 0.0

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        began_s = seen_s = time.monotonic()
        with suppress(AgentError), ScreenSource(self._capture, frozen_s=math.inf) as source:
            while not self._stopping.wait(_COUNT_S):
                now_s = time.monotonic()
                with suppress(BlindError):
                    picture = source.read().pixels
                    if now_s >= seen_s + _SEE_S:
                        seen_s = now_s
                        self._launched.see(picture, now_s)
                self.per_second = (source.counts.grabbed - source.counts.repeated) / (now_s - began_s)


@contextmanager
def _watched(capture: Capture, launched: LaunchedGame) -> Iterator[_Watcher]:
    watcher = _Watcher(capture, launched)
    thread = threading.Thread(target=watcher.run, daemon=True)
    thread.start()
    try:
        yield watcher
    finally:
        watcher.stop()
        thread.join()
