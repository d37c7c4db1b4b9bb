"""Episodes of a policy (a network or an expert) that drives a simulator in lockstep."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from agent.contract.controls import with_standard_axes
from agent.contract.episodes.columns import SEALED_SUFFIX, EpisodeHeader
from agent.contract.errors import EpisodeError
from agent.games.base import DriveState, Simulator
from agent.games.lockstep import Lockstep
from agent.games.registry import find_game
from agent.observers.base import TickObserver
from agent.observers.episode_writer import EpisodeRecorder
from agent.policies.base import Policy
from agent.sessions.lockstep_drive import drive_in_lockstep
from agent.sessions.opening import Note, ignore, nearest_hold_ticks, open_driver
from agent.sessions.pages import page_of_drive
from agent.settings.record import RecordSettings
from agent.system.pacing import TickStats, clock_ns


def record_episodes(
    simulator: Simulator,
    policy: Policy,
    seeds: Iterable[int],
    hold_ticks: int,
    folder: Path,
    watch: Callable[[int], Sequence[TickObserver]] = lambda seed: (),
) -> Iterator[tuple[Path, DriveState]]:
    """Drive one track per seed, in lockstep, and yield each episode's file and the state at its end.

    Args:
        simulator: The game; stays open.
        policy: What decides; stays open.
        seeds: Seeds of the tracks.
        hold_ticks: Physics ticks for which each decision is held.
        folder: Where ``GAME-SEED.parquet`` goes; an existing one is never overwritten.
        watch: Makes further observers for the track of a seed.

    Raises:
        AgentError: If a file exists or cannot be written, or the game or the policy fails.
    """
    name = simulator.profile.name
    for seed in seeds:
        path = folder / f"{name}-{seed}{SEALED_SUFFIX}"
        summary = drive_in_lockstep(
            simulator, policy, seed, hold_ticks, partial(_recorders, simulator, policy, seed, path, watch)
        )
        if summary.problems:  # the recording is the only purpose of this drive
            raise EpisodeError(summary.problems[0])
        yield path, simulator.state


def _recorders(
    simulator: Simulator,
    policy: Policy,
    seed: int,
    path: Path,
    watch: Callable[[int], Sequence[TickObserver]],
    lockstep: Lockstep,
) -> list[TickObserver]:
    profile = simulator.profile
    header = EpisodeHeader(
        game=profile.name,
        driver=policy.driver,
        rate_hz=1.0 / lockstep.period_s,
        seed=seed,
        profile_notes=profile.notes,
        track=simulator.state.track,
        axes=with_standard_axes(profile.axes),
    )
    recorder = EpisodeRecorder(path, header, lambda: (lockstep.shown.speed, lockstep.shown.telemetry), blocking=True)
    return [recorder, *watch(seed)]


def record_simulator(
    settings: RecordSettings,
    on_episode: Callable[[Path, DriveState], None] = lambda path, state: None,
    note: Note = ignore,
) -> list[Path]:
    """Record a network, or the expert, driving a game that waits.

    Args:
        settings: Who drives, on which tracks, and where the episodes go.
        on_episode: Called after each episode with its file and the state at its end.
        note: Called with notes for the user, one line at a time.

    Returns:
        The episodes' files.

    Raises:
        AgentError: If there is no such game, network or expert, or an episode exists or cannot be written.
    """
    game = find_game(settings.game)
    seeds = range(settings.seed_start, settings.seed_start + settings.episodes)
    paths = []
    with closing(game.simulator_maker()()) as simulator, closing(open_driver(settings, simulator, note)) as policy:
        hold_ticks = nearest_hold_ticks(policy.spec.rate_hz, simulator, note)
        rate_hz = 1.0 / (hold_ticks * simulator.tick_s)
        with page_of_drive(settings, settings, game.profile, policy, rate_hz, settings.out, note) as page:

            def watch(seed: int) -> list[TickObserver]:
                if page is None:
                    return []
                return [page.of(TickStats(1.0 / rate_hz), seed, lambda: simulator.state, clock=clock_ns)]

            for path, state in record_episodes(simulator, policy, seeds, hold_ticks, settings.out, watch):
                paths.append(path)
                on_episode(path, state)
    return paths
