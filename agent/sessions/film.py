"""A film of one track driven by several models side by side, for example the stages of a training."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from agent.contract.controls import with_standard_axes
from agent.contract.errors import AgentError, SpecError
from agent.contract.observation import Pixels
from agent.contract.spec import ModelSpec
from agent.games.base import DriveState, Simulator
from agent.games.registry import find_game
from agent.observers.base import TickRecord
from agent.observers.video import ANIMATION_FRAMES, FilmFile, compose
from agent.policies.base import Policy
from agent.sessions.lockstep_drive import drive_in_lockstep
from agent.sessions.opening import Note, ignore, nearest_hold_ticks, open_policy
from agent.settings.film import FilmSettings
from agent.settings.shared import EngineSettings

_CAPTION_HEIGHT_PX = 20
_TEXT = (220, 220, 220)
_GAP = (0, 0, 0)


class Tile:
    """Keeps a small picture of every tick, with a caption and the return so far above it.

    Args:
        caption: Who drives.
        simulator: Supplies the return.
        scale: Size of the picture relative to the frame.

    Attributes:
        pictures: Each uint8, shape (even height, even width, 3), BGR.
    """

    def __init__(self, caption: str, simulator: Simulator, scale: float) -> None:
        self.pictures: list[Pixels] = []
        self._caption = caption
        self._simulator = simulator
        self._scale = scale
        self._axes = with_standard_axes(simulator.profile.axes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def on_tick(self, record: TickRecord) -> None:
        if record.kind != "driven":
            return
        below = compose(record.frame.pixels, record.controls, self._scale, self._axes)
        above = np.zeros((_CAPTION_HEIGHT_PX, below.shape[1], 3), np.uint8)
        text = f"{self._caption}: {self._simulator.state.episode_return:.0f}"
        cv2.putText(above, text, (6, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, _TEXT, 1, cv2.LINE_AA)
        self.pictures.append(np.vstack([above, below]))


def drive_for_film(
    simulator: Simulator,
    policy: Policy,
    seed: int,
    hold_ticks: int,
    caption: str,
    scale: float = 0.25,
    limit_s: float = math.inf,
) -> list[Pixels]:
    """Drive a track in lockstep; return a captioned picture of every decision.

    Args:
        simulator: Left open, in the state at the end of the drive.
        policy: What decides; stays open.
        seed: The track's seed.
        hold_ticks: Physics ticks for which each decision is held.
        caption: Who drives.
        scale: Size of the pictures relative to the game's.
        limit_s: Simulated seconds after which the drive ends.

    Raises:
        AgentError: If the game or the policy fails, or there is nothing to film in that time.
    """
    tile = Tile(caption, simulator, scale)
    summary = drive_in_lockstep(simulator, policy, seed, hold_ticks, lambda lockstep: (tile,), limit_s)
    if summary.problems or not tile.pictures:
        raise AgentError(
            f"{caption} could not be filmed ({'; '.join(summary.problems) or 'no decision in the time given'}). Film "
            "for longer, or at another scale."
        )
    return tile.pictures


def side_by_side(films: Sequence[Sequence[Pixels]], every: int = 1) -> Iterator[Pixels]:
    """Place films in a grid of about as many rows as columns; a film that has ended shows its last picture, darker.

    Args:
        films: At least one film, none empty; all pictures have the same shape.
        every: Keep one picture out of this many.

    Yields:
        uint8, shape (height, width, 3), BGR.
    """
    columns = math.ceil(math.sqrt(len(films)))
    rows = math.ceil(len(films) / columns)
    gap = np.full_like(films[0][0], _GAP)
    for tick in range(0, max(map(len, films)), every):
        tiles = [film[tick] if tick < len(film) else film[-1] // 2 for film in films]
        tiles += [gap] * (rows * columns - len(tiles))
        yield np.vstack([np.hstack(tiles[row * columns : (row + 1) * columns]) for row in range(rows)])


def film_models(
    settings: FilmSettings,
    on_model: Callable[[Path, DriveState], None] = lambda folder, state: None,
    note: Note = ignore,
) -> list[DriveState]:
    """Let several models drive one track, one after the other, and write one film of them side by side.

    Args:
        settings: Which models, on which track, into which film.
        on_model: Called after each drive with the model's folder and the state at the end.
        note: Called with notes for the user, one line at a time.

    Returns:
        How each drive ended.

    Raises:
        AgentError: If the models decide at different rates, one of them fails, or the film cannot be written.
    """
    game = find_game(settings.game)
    folders = [folder.resolve() for folder in settings.models]
    same_names = len({folder.name for folder in folders}) < len(folders)
    films, states = [], []
    with closing(game.simulator_maker()()) as simulator, ExitStack() as stack:
        rates_hz = {ModelSpec.load(folder).rate_hz for folder in folders}
        if len(rates_hz) > 1:
            listed = ", ".join(f"{rate:g}" for rate in sorted(rates_hz))
            raise SpecError(f"the models decide at {listed} Hz, expected one rate for one film. Film them separately.")
        hold_ticks = nearest_hold_ticks(rates_hz.pop(), simulator, note)
        rate_hz = 1.0 / (hold_ticks * simulator.tick_s)
        pictures = settings.seconds * rate_hz / settings.every
        if settings.out.suffix.lower() != ".mp4" and pictures > ANIMATION_FRAMES:
            raise AgentError(
                f"up to {pictures:.0f} pictures, an animated one holds {ANIMATION_FRAMES}. Film fewer --seconds, keep "
                "only --every 2nd, or write an .mp4."
            )
        film = stack.enter_context(FilmFile(settings.out, rate_hz / settings.every))
        for folder in folders:
            chosen = EngineSettings(weights=folder, engine=settings.engine, threads=settings.threads)
            caption = f"{folder.parent.name}/{folder.name}" if same_names else folder.name
            with closing(open_policy(chosen, game.name, note, game.profile.axes)) as policy:
                films.append(
                    drive_for_film(
                        simulator, policy, settings.seed, hold_ticks, caption, settings.scale, settings.seconds
                    )
                )
            states.append(simulator.state)
            on_model(folder, simulator.state)
        for picture in side_by_side(films, settings.every):
            film.write(picture)
    return states
