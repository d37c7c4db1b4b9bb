"""``film``: several models on one track, side by side."""

from pathlib import Path
from typing import TYPE_CHECKING

from agent.commands.options import Command, Invocation
from agent.commands.wiring import EXIT_DONE, note, say
from agent.settings.film import FilmSettings

if TYPE_CHECKING:
    from agent.games.base import DriveState


def _run(settings: FilmSettings, invocation: Invocation) -> int:
    from agent.sessions.film import film_models

    def on_model(folder: Path, state: "DriveState") -> None:
        say(f"{folder}: {state.outcome} after {state.time_s:.1f} s, return {state.episode_return:.1f}")

    film_models(settings, on_model, note)
    return EXIT_DONE


COMMAND = Command(
    settings=FilmSettings,
    run=_run,
    example="python -m agent film runs/mine/stages/* --seed 7 --out stages.webp",
)
