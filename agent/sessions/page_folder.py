"""The page of a folder, from settings: what ``python -m agent page`` does."""

import asyncio
from typing import TYPE_CHECKING

from agent.contract.errors import AgentError
from agent.games.registry import find_game
from agent.page.folder import serve_folder
from agent.sessions.opening import Note, ignore, open_policy
from agent.sessions.pages import address_of
from agent.settings.page import PageFolderSettings

if TYPE_CHECKING:
    from agent.policies.base import Policy


def serve(settings: PageFolderSettings, note: Note = ignore) -> None:
    """Serve a folder's page until it is interrupted.

    Args:
        settings: Which folder, where to listen, and which network to ask.
        note: Called with the page's address.

    Raises:
        AgentError: If there is no such folder, or the address cannot be listened at.
        KeyboardInterrupt: When it is interrupted.
    """
    folder = settings.folder
    if not folder.is_dir():
        raise AgentError(f"{folder} is no folder, expected one with recordings or trainings. Check the path.")

    def open_for(game: str) -> "Policy":
        profile = find_game(game).profile
        return open_policy(settings, profile.model_name, axes=profile.axes)

    def ready(url: str) -> None:
        note(f"the page: {url}")

    asyncio.run(serve_folder(folder, address_of(settings), ready, asyncio.Event().wait, open_for))
