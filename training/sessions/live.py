"""A live training from its settings: which kind of game it is decides who drives."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.contract.errors import TrainingError
from agent.sessions.pages import page_of_run
from training.collecting.courses import GAMES
from training.live.config import LiveSettings
from training.sessions.fit import spec_beside, weights_file

if TYPE_CHECKING:
    from training.live.attended import AttendedReport
    from training.live.unattended import LiveReport

Note = Callable[[str], None]


def learn_live(settings: LiveSettings, note: Note = lambda line: None) -> "LiveReport | AttendedReport":
    """Learn while driving: an expert drives a game that waits, a person one in a window.

    Args:
        settings: What is driven and how it is learnt from.
        note: Is told of progress, a line at a time.

    Returns:
        How it ended.

    Raises:
        AgentError: If it could not begin, or a part of it fails again and again.
    """
    settings = replace(settings, init=weights_file(settings.init))
    begun = spec_beside(settings.init)
    if begun is not None and begun.pictures > 1:
        raise TrainingError(
            f"--init {settings.init} sees {begun.pictures} pictures at once, and live training is for networks of one. "
            "Begin with such a one, or train with `python -m training fit --history 4`."
        )
    if settings.game in GAMES:
        from training.live.unattended import learn_unattended

        with page_of_run(settings, settings.folder, note):
            return learn_unattended(settings, note)
    from training.live.attended import learn_attended

    return learn_attended(settings, note)
