"""An evaluation whose tracks are shared out over a Ray cluster; the table is the same, track for track."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from agent.games.registry import Game, find_game
from agent.policies.base import Policy
from agent.sessions.evaluation import EvaluationReport, TrackResult, evaluate_policy
from agent.sessions.opening import Note, best_of_a_run, nearest_hold_ticks, open_policy, shipped_weights
from agent.settings.evaluate import EvaluateSettings
from agent.system.cluster import connected, folder_of, read_folder
from agent.system.process import peak_memory_mb

if TYPE_CHECKING:
    from agent.sessions.evaluate import Evaluation

Progress = Callable[[TrackResult, int], None]


@dataclass(frozen=True, slots=True)
class Errand:
    """What every node has to know.

    Attributes:
        settings: Whose driving; the engine is one by name.
        files: The model folder's files.
    """

    settings: EvaluateSettings
    files: Mapping[str, bytes]


def evaluate_far(
    settings: EvaluateSettings, game: Game, seeds: Sequence[int], progress: Progress, note: Note
) -> "Evaluation":
    """Drive each track on whichever node is free.

    The engine is chosen here and is the same on every node; each drive has one thread unless told otherwise.

    Args:
        settings: Who drives; ``ray`` is set.
        game: What is driven.
        seeds: One track each.
        progress: Called with the result of each finished track and the number of all tracks.
        note: Called with notes for the user, one line at a time.

    Raises:
        AgentError: If there is no such cluster, or a drive fails.
    """
    from agent.sessions.evaluate import Evaluation

    assert settings.ray is not None
    folder = shipped_weights(game.name) if settings.weights is None else best_of_a_run(settings.weights)
    with (
        closing(open_policy(settings, game.name, note, game.profile.axes)) as policy,
        closing(game.simulator_maker(settings.track)()) as simulator,
    ):
        engine = policy.name  # `auto` may choose another on another machine
        hold_ticks = nearest_hold_ticks(settings.rate or policy.spec.rate_hz, simulator, note)
        rate_hz = 1.0 / (hold_ticks * simulator.tick_s)
    alike = replace(settings, engine=engine, threads=settings.threads or 1, weights=None, ray=None)
    errand = Errand(alike, read_folder(folder))
    reports: dict[int, EvaluationReport] = {}
    interrupted = False
    with connected(settings.ray) as cluster:
        note(f"{len(seeds)} tracks over {cluster.cores} cores on {cluster.nodes} nodes")
        try:
            for seed, report in cluster.share_out(drive_far, errand, seeds):
                reports[seed] = report
                progress(report.tracks[0], len(seeds))
        except KeyboardInterrupt:
            if not reports:
                raise
            interrupted = True
    first = next(iter(reports.values()))
    tracks = tuple(reports[seed].tracks[0] for seed in seeds if seed in reports)
    return Evaluation(replace(first, tracks=tracks), rate_hz, False, interrupted, peak_memory_mb())


def drive_far(errand: Errand, seed: int) -> EvaluationReport:
    """Drive one track; what runs on a node."""
    settings = replace(errand.settings, weights=folder_of(errand.files))
    game = find_game(settings.game)
    policy = _policy(settings)
    simulator = game.simulator_maker(settings.track)()
    hold_ticks = nearest_hold_ticks(settings.rate or policy.spec.rate_hz, simulator)
    return evaluate_policy(lambda: simulator, policy, [seed], hold_ticks)


@lru_cache(maxsize=1)
def _policy(settings: EvaluateSettings) -> Policy:
    """Return this process's policy, loaded once."""
    return open_policy(settings, settings.game, axes=find_game(settings.game).profile.axes)
