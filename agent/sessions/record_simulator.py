"""Episodes of a policy, a network or an expert, driving a simulator that waits for it."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from agent.contract.controls import with_standard_axes
from agent.contract.episodes.columns import SEALED_SUFFIX, EpisodeHeader
from agent.contract.errors import EpisodeError
from agent.contract.observation import Frame
from agent.driving.loop import drive
from agent.games.base import DriveState, Simulator
from agent.games.lockstep import Lockstep
from agent.observers.episode_writer import EpisodeRecorder
from agent.policies.base import Policy
from agent.system.pacing import Pacer, VirtualClock


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
    for seed in seeds:
        simulator.reset(seed)
        clock = VirtualClock()
        lockstep = _RememberingLockstep(simulator, clock, hold_ticks)
        pacer = Pacer(lockstep.period_s, clock, clock.sleep)
        name = simulator.profile.name
        path = folder / f"{name}-{seed}{SEALED_SUFFIX}"
        header = EpisodeHeader(
            game=name,
            driver=policy.driver,
            rate_hz=1.0 / lockstep.period_s,
            seed=seed,
            profile_notes=simulator.profile.notes,
            track=simulator.state.track,
            axes=with_standard_axes(simulator.profile.axes),
        )
        recorder = EpisodeRecorder(path, header, lockstep.telemetry, blocking=True)
        summary = drive(lockstep, lockstep, policy, pacer, [recorder], lambda: simulator.state.outcome != "driving")
        if summary.problems:  # the recording is all there is to this drive
            raise EpisodeError(summary.problems[0])
        yield path, simulator.state


class _RememberingLockstep(Lockstep):
    """Keeps the state that the newest frame shows: once the controls are sent, the simulator's own is a tick on."""

    def __init__(self, simulator: Simulator, clock: VirtualClock, hold_ticks: int) -> None:
        super().__init__(simulator, clock, hold_ticks)
        self._driven = simulator
        self._shown = simulator.state

    def read(self) -> Frame:
        self._shown = self._driven.state
        return super().read()

    def telemetry(self) -> tuple[float | None, dict[str, float]]:
        """Return speed and further numbers, as :class:`EpisodeRecorder` asks for them."""
        return self._shown.speed, self._shown.telemetry
