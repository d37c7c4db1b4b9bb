"""A training from its settings: the game found, the processes started, the network trained, driven and kept."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from agent.contract.errors import AgentError, TrainingError
from agent.contract.spec import SPEC_FILE, ModelSpec
from agent.sessions.pages import page_of_run
from training.collecting.courses import find_trained_game
from training.data.finding import find_episodes
from training.fitting.config import FitConfig
from training.fitting.folder import refuse_other_run
from training.fitting.settings import FitSettings
from training.fitting.timing import recorded
from training.in_use import in_use, refuse_in_use
from training.network.keras_start import start_keras

if TYPE_CHECKING:
    from agent.games.base import Simulator
    from agent.games.registry import Game
    from training.fitting.run import FitResult

Note = Callable[[str], None]


def train(
    settings: FitSettings,
    note: Note = lambda line: None,
    preprocessed: Callable[[int, int], None] | None = None,
    verbose: int = 0,
    command_line: Sequence[str] = (),
) -> "FitResult":
    """Train a network, or go on with the run that ``settings.out`` holds.

    Args:
        settings: The run, and the processes that train together.
        note: Is told of progress, a line at a time.
        preprocessed: Called with (done, total) as the episodes without a cache are preprocessed.
        verbose: Keras' progress bar: 0 none, 1 a bar, 2 a line a round.
        command_line: Arguments after ``python -m training`` that the other processes are started with, where
            ``settings.workers`` is more than one and all are started here.

    Returns:
        Where the model is, and a row for every round. Of several processes, those that help return no rows.

    Raises:
        TrainingError: If settings, data and game do not go together, or JAX is missing for several processes.
        AgentError: If the game, the weights to begin from or an episode cannot be read.
    """
    # What can be said without Keras is said first: on a busy machine Keras takes 20 s to start.
    if not settings.worker:
        refuse_in_use(settings.out)
    game, config = _run_of(settings)
    if settings.workers > 1:
        if find_spec("jax") is None:
            raise TrainingError("--workers needs JAX, which is not installed: `pip install '.[jax]'`.")
        os.environ.setdefault("KERAS_BACKEND", "jax")
    with ExitStack() as stack:
        if not settings.worker:  # before Keras, which takes long: a second one that comes meanwhile is told at once
            stack.enter_context(in_use(settings.out, "trained in"))
        start_keras()
        return _train(settings, game, config, note, preprocessed, verbose, command_line)


def _train(
    settings: FitSettings,
    game: "Game",
    config: FitConfig,
    note: Note,
    preprocessed: Callable[[int, int], None] | None,
    verbose: int,
    command_line: Sequence[str],
) -> "FitResult":
    from training.fitting.distribution import ALONE, Team, local_team
    from training.fitting.fit import fit

    drive = closed_loop(game.simulator_maker(), config.driven_tracks, note) if config.tracks else None
    with ExitStack() as stack:
        if not settings.worker:
            stack.enter_context(page_of_run(settings, settings.out, note))
        team = ALONE
        if settings.worker is not None:
            team = Team(settings.worker, settings.workers, str(settings.coordinator))
        elif settings.workers > 1:
            team = stack.enter_context(local_team(settings.workers, command_line))
        if not team.is_first:
            return fit(config, game.profile, drive, lambda line: None, verbose, None, team)
        return fit(config, game.profile, drive, note, verbose, preprocessed, team)


def _run_of(settings: FitSettings) -> "tuple[Game, FitConfig]":
    """Return the game and what decides the run's outcome, once it is known that there can be such a run.

    Raises:
        TrainingError: If settings, data and game do not go together, or the run's folder holds another run.
        AgentError: If the game or the weights to begin from cannot be read.
    """
    game = find_trained_game(settings.game)
    if settings.tracks and game.make_simulator is None:
        raise TrainingError(f"--tracks drives a game that waits, and {game.name} waits for nobody: leave it out.")
    init = weights_file(settings.init)
    config = settings.config(spec_beside(init), init=init, name=game.profile.name)
    paths = find_episodes(config.data, game=game.profile.name)
    refuse_other_run((recorded(config) if config.minutes else None) or config, paths)
    return game, config


def weights_file(init: str) -> str:
    """Accept a model or run folder where a weights file is meant."""
    if init in ("none", "imagenet"):
        return init
    path = Path(init)
    for candidate in (path, path / "weights.safetensors", path / "best" / "weights.safetensors"):
        if candidate.is_file():
            return str(candidate)
    raise AgentError(f"--init {init} holds no weights.safetensors. Pass a model folder, a run folder or the file.")


def spec_beside(init: str) -> ModelSpec | None:
    """Return what weights to begin from are of; None where nothing says so, as beside a checkpoint's."""
    folder = Path(init).parent
    return ModelSpec.load(folder) if init not in ("none", "imagenet") and (folder / SPEC_FILE).is_file() else None


def closed_loop(make_simulator: "Callable[[], Simulator]", tracks: range, note: Note) -> Callable[[Path], float]:
    """Return a function that drives an exported model over the validation tracks and returns the mean return.

    It films the first track for the page, in the folder that the model's lies in.
    """
    from agent.engines.registry import load_engine
    from agent.policies.stacked import policy_for
    from agent.sessions.evaluation import evaluate_policy
    from agent.sessions.opening import nearest_hold_ticks
    from training.fitting.clips import clip_of

    def drive(folder: Path) -> float:
        policy = policy_for(load_engine("openvino", folder))
        try:
            simulator = make_simulator()
            hold_ticks = nearest_hold_ticks(policy.spec.rate_hz, simulator)
            clip = clip_of(folder.parent, tracks, policy.spec.rate_hz, simulator.profile.axes)
            report = evaluate_policy(lambda: simulator, policy, tracks, hold_ticks, observers_for=clip)
        finally:
            policy.close()
        note(
            "drove " + ", ".join(f"{track.track or track.seed}: {track.episode_return:.0f}" for track in report.tracks)
        )
        return report.mean

    return drive
