"""The page in the browser of a session that has one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.contract.controls import with_standard_axes
from agent.contract.errors import AgentError
from agent.contract.spec import WEIGHTS_FILE
from agent.contract.untrusted import read_plain_file
from agent.engines.registry import find_engine
from agent.sessions.opening import Note, model_folder
from agent.settings.shared import EngineSettings, PageSettings

if TYPE_CHECKING:
    from agent.contract.profile import GameProfile
    from agent.page.feed import Address, Page
    from agent.policies.base import Policy

_MOST_THEME_BYTES = 64_000


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
    folder = model_folder(engine, profile.model_name).resolve() if _has_weights(policy.name) else None
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
        folder="" if folder is None else str(folder),
        keep=str((keep or Path("episodes")).resolve()),
        made_s=0.0 if folder is None else _written_s(folder / WEIGHTS_FILE),
    )
    with Page(facts, address_of(settings)) as page:
        note(f"the page: {page.url}")
        yield page


@contextmanager
def page_of_run(settings: PageSettings, folder: Path, note: Note) -> Iterator[None]:
    """Serve the page of a training while the block runs, if one is wanted.

    Args:
        settings: Whether there is a page, and where.
        folder: The run's folder.
        note: Called with the page's address.

    Raises:
        AgentError: If the page cannot be served.
    """
    if not settings.has_page:
        yield
        return
    from agent.page.feed import page_of_folder

    with page_of_folder(folder.resolve(), address_of(settings)) as url:
        note(f"the page: {url}")
        yield


def address_of(settings: PageSettings) -> "Address":
    """Return where to listen."""
    from agent.page.feed import Address, is_for_a_person

    address = Address.at(settings.page_host, settings.page, browser=is_for_a_person())
    return address if settings.page_theme is None else replace(address, theme=_theme(settings.page_theme))


def _has_weights(engine: str) -> bool:
    try:
        return find_engine(engine).needs_weights
    except AgentError:  # no engine, such as an expert
        return False


def _written_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _theme(path: Path) -> bytes:
    try:
        return read_plain_file(path, _MOST_THEME_BYTES)
    except OSError as exc:
        raise AgentError(
            f"{path} cannot be read ({exc.strerror or exc}), expected a small CSS file with the colours of the stream. "
            "Copy agent/page/front/src/theme.css, and change it."
        ) from exc
