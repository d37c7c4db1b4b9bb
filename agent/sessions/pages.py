"""The page in the browser of a session that has one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from agent.contract.controls import with_standard_axes
from agent.contract.errors import AgentError
from agent.engines.registry import find_engine
from agent.sessions.opening import Note, model_folder
from agent.settings.shared import EngineSettings, PageSettings

if TYPE_CHECKING:
    from agent.contract.profile import GameProfile
    from agent.page.feed import Address, Page
    from agent.policies.base import Policy


@contextmanager
def page_of_drive(
    settings: PageSettings,
    engine: EngineSettings,
    profile: "GameProfile",
    policy: "Policy",
    rate_hz: float,
    keep: Path | None,
    note: Note,
) -> "Iterator[Page | None]":
    """Serve the page of a drive while the block runs; gives None if none is wanted.

    Args:
        settings: Whether there is a page, and where.
        engine: Which network.
        profile: The game.
        policy: Who drives.
        rate_hz: Control rate.
        keep: Folder for episodes that the user keeps; None for ``episodes``.
        note: Called with the page's address.

    Raises:
        AgentError: If the page cannot be served.
    """
    if not settings.has_page:
        yield None
        return
    from agent.page.feed import Page
    from agent.page.records import Facts

    spec = policy.spec
    facts = Facts(
        title=profile.title,
        game=profile.name,
        model=spec.name,
        engine=policy.name,
        driver=policy.driver,
        rate_hz=rate_hz,
        outputs=spec.output_names,
        axes=with_standard_axes(profile.axes),
        observation_shape=spec.observation_shape,
        folder=str(model_folder(engine, profile.model_name).resolve()) if _has_weights(policy.name) else "",
        keep=str((keep or Path("episodes")).resolve()),
    )
    with Page(facts, address_of(settings)) as page:
        note(f"the page: {page.url}")
        yield page


def address_of(settings: PageSettings) -> "Address":
    """Return where to listen."""
    from agent.page.feed import Address, is_for_a_person

    return Address.at(settings.page_host, settings.page, browser=is_for_a_person())


def _has_weights(engine: str) -> bool:
    try:
        return find_engine(engine).needs_weights
    except AgentError:  # no engine, such as an expert
        return False
