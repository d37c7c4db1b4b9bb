"""Episodes of a policy, a network or an expert, driving a simulator that waits for it."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from agent.contract.controls import with_standard_axes
from agent.contract.episodes.columns import SEALED_SUFFIX, EpisodeHeader
from agent.contract.errors import EpisodeError
from agent.games.base import DriveState, Simulator
from agent.games.lockstep import Lockstep
from agent.observers.episode_writer import EpisodeRecorder
from agent.policies.base import Policy
from agent.sessions.lockstep_drive import drive_in_lockstep


def record_episodes(
    simulator: Simulator, policy: Policy, seeds: Iterable[int], hold_ticks: int, folder: Path
) -> Iterator[tuple[Path, DriveState]]:
    """Drive one track per seed, in lockstep, and yield each episode's file and how the drive ended.

    Args:
        simulator: The game; stays open.
        policy: What decides; stays open.
        seeds: Tracks.
        hold_ticks: Physics ticks for which each decision is held.
        folder: Where ``GAME-SEED.parquet`` goes; an existing one is never overwritten.

    Raises:
        AgentError: If a file exists or cannot be written, or the game or the policy fails.
    """
    name = simulator.profile.name
    for seed in seeds:
        path = folder / f"{name}-{seed}{SEALED_SUFFIX}"
        summary = drive_in_lockstep(
            simulator, policy, seed, hold_ticks, partial(_recorders, simulator, policy, seed, path)
        )
        if summary.problems:  # the recording is all there is to this drive
            raise EpisodeError(summary.problems[0])
        yield path, simulator.state


def _recorders(
    simulator: Simulator, policy: Policy, seed: int, path: Path, lockstep: Lockstep
) -> list[EpisodeRecorder]:
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
    return [EpisodeRecorder(path, header, lambda: (lockstep.shown.speed, lockstep.shown.telemetry), blocking=True)]
