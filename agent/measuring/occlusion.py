"""Shows which parts of a picture the network uses: covers each part in turn and measures how predictions change."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from agent.contract.episodes.reading import Episode
from agent.contract.errors import EpisodeError, ReportError, SpecError
from agent.contract.observation import Observation, Pixels
from agent.contract.preprocess import preprocess
from agent.contract.profile import Rectangle
from agent.engines.base import Engine
from agent.sessions.opening import Note, ignore, open_engine
from agent.settings.occlusion import OcclusionSettings

COLUMNS, ROWS = 16, 9
"""Rows and columns of parts; in a picture of 16 : 9, the parts are squares."""

_MARGIN = 0.5  # half a part more on every side: a thing on the border of two parts is covered whole once
_WIDTH_PX = 960


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
        """Return the example with a map of one output's change over it: dark is no change, bright the largest.

        Returns:
            uint8, shape (540, 960, 3), BGR, for pictures of 16 : 9.
        """
        height, width = self.example.shape[:2]
        size = (_WIDTH_PX, round(_WIDTH_PX * height / width))
        picture = cv2.resize(cv2.cvtColor(self.example, cv2.COLOR_RGB2BGR), size, interpolation=cv2.INTER_CUBIC)
        change = self.change[:, :, output]
        levels = (255 * change / max(float(change.max()), 1e-9)).astype(np.uint8)
        colours = cv2.applyColorMap(cv2.resize(levels, size, interpolation=cv2.INTER_CUBIC), cv2.COLORMAP_INFERNO)
        return np.asarray(cv2.addWeighted(picture, 0.45, colours, 0.55, 0.0), np.uint8)


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
    if engine.spec.stack is not None:
        raise SpecError(
            f"{engine.spec.name} sees {engine.spec.stack.pictures} pictures at once, expected one: covering a part of "
            "one among several shows little. Study a network that sees one."
        )
    rows = [(episode, row) for episode in episodes for row in range(len(episode))]
    chosen = [rows[int(index)] for index in np.linspace(0, len(rows) - 1, min(pictures, len(rows)))]
    outputs = len(engine.spec.outputs)
    change = np.zeros((ROWS, COLUMNS, outputs), np.float32)
    predictions = np.empty((len(chosen), outputs), np.float32)
    examples = []
    for number, (episode, row) in enumerate(chosen):
        observation = preprocess(episode.frame(row), engine.spec)
        examples.append(observation)
        predictions[number] = engine.infer(observation)
        for place in np.ndindex(ROWS, COLUMNS):
            change[place] += np.abs(engine.infer(cover(observation, part(*place))) - predictions[number])
        advance()
    return Occlusion(
        change / np.float32(len(chosen)),
        predictions.std(axis=0),
        examples[len(examples) // 2],
        len(chosen),
    )


def part(row: int, column: int) -> Rectangle:
    """Return the rectangle that is covered for a part of the map, as fractions of the picture."""
    left, right = max(0.0, column - _MARGIN), min(COLUMNS, column + 1 + _MARGIN)
    top, bottom = max(0.0, row - _MARGIN), min(ROWS, row + 1 + _MARGIN)
    return Rectangle(left / COLUMNS, top / ROWS, (right - left) / COLUMNS, (bottom - top) / ROWS)


def cover(observation: Observation, hidden: Rectangle) -> Observation:
    """Return a copy in which the hidden part has the mean colour of the whole picture."""
    height, width = observation.shape[:2]
    left, right = round(hidden.left * width), round((hidden.left + hidden.width) * width)
    top, bottom = round(hidden.top * height), round((hidden.top + hidden.height) * height)
    covered = observation.copy()
    covered[top:bottom, left:right] = observation.reshape(-1, 3).mean(axis=0)
    return covered


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
