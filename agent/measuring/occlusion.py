"""Shows which parts of a picture the network uses: covers each part in turn and measures how predictions change."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from agent.contract.episodes.reading import Episode
from agent.contract.errors import EpisodeError, ReportError
from agent.contract.observation import Observation, Pixels
from agent.contract.preprocess import preprocess
from agent.engines.base import Engine
from agent.engines.occlusion import COLUMNS, ROWS, changes, draw_change, refuse_stacks
from agent.sessions.opening import Note, ignore, open_engine
from agent.settings.occlusion import OcclusionSettings


@dataclass(frozen=True, slots=True)
class Occlusion:
    """How covering parts of pictures changes predictions.

    Attributes:
        change: float32, shape (ROWS, COLUMNS, outputs): mean absolute change of each prediction while that part, and
            half a part around it, is covered.
        spread: float32, shape (outputs,): the predictions' own standard deviation over the pictures, to compare with.
        example: The middle one of the pictures, uint8, shape (height, width, 3), RGB: the network's input.
        pictures: Number of pictures.
    """

    change: npt.NDArray[np.float32]
    spread: npt.NDArray[np.float32]
    example: Observation
    pictures: int

    def draw(self, output: int) -> Pixels:
        """Return the example with a map of one output's change over it; see :func:`draw_change`."""
        return draw_change(self.example, self.change[:, :, output])


def study(
    episodes: Sequence[Episode], engine: Engine, pictures: int, advance: Callable[[], None] = lambda: None
) -> Occlusion:
    """Cover each part of some pictures with their mean colour; compare the predictions with those of the whole picture.

    Args:
        episodes: Source of the pictures, which are evenly spread over all episodes.
        engine: Runs the network.
        pictures: Number of pictures; each takes 145 forward passes.
        advance: Called after each picture.

    Raises:
        EpisodeError: If a frame cannot be read.
        SpecError: If the network sees several pictures at once.
        EngineError: If the runtime fails.
    """
    refuse_stacks(engine.spec)
    rows = [(episode, row) for episode in episodes for row in range(len(episode))]
    chosen = [rows[int(index)] for index in np.linspace(0, len(rows) - 1, min(pictures, len(rows)))]
    outputs = len(engine.spec.outputs)
    change = np.zeros((ROWS, COLUMNS, outputs), np.float32)
    predictions = np.empty((len(chosen), outputs), np.float32)
    examples = []
    for number, (episode, row) in enumerate(chosen):
        observation = preprocess(episode.frame(row), engine.spec)
        examples.append(observation)
        predictions[number], changed = changes(observation, engine.infer)
        change += changed
        advance()
    return Occlusion(
        change / np.float32(len(chosen)),
        predictions.std(axis=0),
        examples[len(examples) // 2],
        len(chosen),
    )


def measure_occlusion(
    settings: OcclusionSettings,
    progress: Callable[[int], None] = lambda pictures: None,
    note: Note = ignore,
) -> tuple[Occlusion, list[str]]:
    """Measure occlusion, as ``python -m agent occlusion`` does; write the map to ``settings.out`` if that is set.

    Args:
        settings: Which recordings, and which output's map.
        progress: Called after every picture with the number of all pictures.
        note: Called with notes for the user, one line at a time.

    Returns:
        The result, and the names of the outputs.

    Raises:
        AgentError: If the recordings are of several games, the network cannot be loaded, or the map cannot be written.
    """
    episodes = [Episode.open(path) for path in settings.episodes]
    games = sorted({episode.header.game for episode in episodes})
    if len(games) > 1:
        raise EpisodeError(f"the episodes are of {' and '.join(games)}, expected one game. Pass those of one.")
    with closing(open_engine(settings, games[0], note)) as engine:
        names = [output.name for output in engine.spec.outputs]
        if settings.output not in names:
            raise ReportError(f"--output {settings.output} is unknown, expected one of: {', '.join(names)}.")
        pictures = min(settings.pictures, sum(len(episode) for episode in episodes))
        found = study(episodes, engine, settings.pictures, lambda: progress(pictures))
    if settings.out is not None:
        try:
            settings.out.write_bytes(cv2.imencode(".png", found.draw(names.index(settings.output)))[1].tobytes())
        except OSError as exc:
            raise ReportError(
                f"{settings.out} cannot be written ({exc.strerror}), expected a writable folder. Choose another --out."
            ) from exc
    return found, names
