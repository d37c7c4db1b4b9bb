"""The files that a drive writes: recordings, films, the network's input, a health log."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent.contract.controls import with_standard_axes
from agent.observers.base import TickObserver
from agent.policies.base import Policy
from agent.settings.drive import DriveSettings
from agent.system.pacing import TickStats

if TYPE_CHECKING:
    from agent.games.base import DriveState
    from agent.observers.health import HealthLog

Watch = Callable[[TickStats], Sequence[TickObserver]]
"""Makes further observers of a drive, such as a status line on the terminal, from its timing."""


def no_watch(stats: TickStats) -> Sequence[TickObserver]:
    """Watch nothing."""
    return ()


def output_observers(
    settings: DriveSettings,
    game: str,
    axes: Sequence[str],
    policy: Policy,
    rate_hz: float,
    seed: int | None,
    files: list[Path],
    state: "Callable[[], DriveState] | None" = None,
) -> list[TickObserver]:
    """Return the observers that write files; the paths of the files are appended to ``files``.

    Args:
        settings: Which outputs are wanted, and where.
        game: The game's name.
        axes: What its car can do.
        policy: Who drives.
        rate_hz: Control rate.
        seed: Track of the lap; None for a game in a window.
        files: Receives the paths.
        state: Returns the state of the drive, for a game that reports it.
    """
    observers: list[TickObserver] = []
    if settings.record is not None:
        from agent.contract.episodes.columns import EpisodeHeader, timed_path
        from agent.observers.episode_writer import EpisodeRecorder

        def telemetry() -> tuple[float | None, dict[str, float]]:
            if state is None:
                return None, {}
            now = state()
            return now.speed, now.telemetry

        path = timed_path(settings.record, game, seed)
        header = EpisodeHeader(game, policy.driver, rate_hz, seed, axes=with_standard_axes(axes))
        observers.append(EpisodeRecorder(path, header, telemetry))
        files.append(path)
    if settings.video is not None:
        from agent.observers.video import VideoWriter

        film = settings.video
        if settings.several_laps and seed is not None:
            film = film.with_stem(f"{film.stem}-{seed}")
        observers.append(VideoWriter(film, rate_hz, axes=axes))
        files.append(film)
    if settings.show_input is not None:
        from agent.observers.show_input import ShowInput

        observers.append(ShowInput(settings.show_input))
        files.append(settings.show_input)
    return observers


def health_log(settings: DriveSettings) -> "HealthLog | None":
    """Return the log of the process's health, if it is wanted."""
    if settings.health is None:
        return None
    from agent.observers.health import HealthLog

    return HealthLog(settings.health)


def describe_health(health: "HealthLog | None") -> str:
    """Return how the process's health developed, in one line; empty if it was not logged."""
    return "" if health is None else health.describe() or "the drive was too short to measure any growth"


def startup_s(started_ns: int | None, first_decision_ns: int | None) -> float | None:
    """Return seconds from the program's start to its first decision; None if either time is unknown."""
    if started_ns is None or first_decision_ns is None:
        return None
    return (first_decision_ns - started_ns) / 1e9
