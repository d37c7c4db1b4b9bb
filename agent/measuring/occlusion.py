"""What in a picture the network goes by: each part is covered in turn, and what that does to its predictions noted."""

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
"""Parts a picture is covered in: squares, where it is 16 : 9."""

_MARGIN = 0.5  # a cover reaches half a part further on every side: what lies on the border of two is covered once whole
_WIDTH_PX = 960


@dataclass(frozen=True, slots=True)
class Occlusion:
    """What covering parts of pictures does to predictions.

    Attributes:
        change: float32, shape (ROWS, COLUMNS, outputs): mean absolute change of each prediction while that part, and
            half a part around it, is covered.
        spread: float32, shape (outputs,): the predictions' own standard deviation over the pictures, to compare with.
        example: The picture in the middle, uint8, shape (height, width, 3), RGB: what the network was given.
        pictures: How many were looked at.
    """

    change: npt.NDArray[np.float32]
    spread: npt.NDArray[np.float32]
    example: Observation
    pictures: int

    def draw(self, output: int) -> Pixels:
        """Return the example with a map of one output's change over it: dark is nothing, bright the most.

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
    """Cover each part of some pictures with their mean colour, and compare predictions with those of the whole picture.

    Args:
        episodes: Where the pictures come from, evenly spread over all.
        engine: What runs the network.
        pictures: How many; each takes 145 forward passes.
        advance: Called after each picture.

    Raises:
        EpisodeError: If a frame cannot be read.
        SpecError: If the network sees several pictures at once.
        EngineError: If the runtime fails.
    """
    if engine.spec.stack is not None:
        raise SpecError(
            f"{engine.spec.name} sees {engine.spec.stack.pictures} pictures at once, expected one: covering a part of "
            "one of several says little. Study a network that sees one."
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
    """Return what is covered for a part of the map, as fractions of the picture."""
    left, right = max(0.0, column - _MARGIN), min(COLUMNS, column + 1 + _MARGIN)
    top, bottom = max(0.0, row - _MARGIN), min(ROWS, row + 1 + _MARGIN)
    return Rectangle(left / COLUMNS, top / ROWS, (right - left) / COLUMNS, (bottom - top) / ROWS)


def cover(observation: Observation, hidden: Rectangle) -> Observation:
    """Return a copy of which a part has the mean colour of the whole picture."""
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
    """Do what ``python -m agent occlusion`` does; draw the map where ``settings.out`` says so.

    Args:
        settings: Which recordings, whose map.
        progress: Is told after every picture how many there are.
        note: Is told of oddities, a line at a time.

    Returns:
        What was found, and the names of the outputs.

    Raises:
        AgentError: If the recordings are of several games, the network cannot be loaded, or the map not be written.
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
                f"{settings.out} cannot be written ({exc.strerror}), expected a folder that may be written. "
                "Choose another --out."
            ) from exc
    return found, names
