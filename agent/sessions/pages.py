"""The page in the browser of a session that has one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agent.contract.controls import NEUTRAL, Controls, with_standard_axes
from agent.contract.errors import AgentError
from agent.contract.observation import Frame
from agent.contract.preprocess import preprocess
from agent.contract.spec import WEIGHTS_FILE, ModelSpec, outputs_named
from agent.contract.untrusted import read_plain_file
from agent.engines.registry import find_engine
from agent.observers.base import BlindTick, DrivenTick, TickRecord
from agent.sessions.opening import Note, model_folder
from agent.settings.shared import EngineSettings, PageSettings
from agent.system.pacing import TickStats, clock_ns

if TYPE_CHECKING:
    from agent.contract.profile import GameProfile
    from agent.games.base import DriveState
    from agent.page.feed import Address, Page, PageObserver
    from agent.page.records import Facts, Weights
    from agent.policies.base import Driver

_MOST_THEME_BYTES = 64_000
_NOTHING = np.empty(0, np.float32)  # a person's prediction


class NamedDriver(NamedTuple):
    """Somebody who drives, for a page to name; see :class:`agent.policies.base.Driver`."""

    name: str
    driver: str
    spec: ModelSpec


@contextmanager
def page_of_drive(
    settings: PageSettings,
    engine: EngineSettings,
    profile: "GameProfile",
    driver: "Driver",
    rate_hz: float,
    keep: Path | None,
    note: Note,
    title: str = "",
    by_key: bool = False,
) -> "Iterator[Page | None]":
    """Serve the page of a drive while the block runs; gives None if none is wanted.

    Args:
        settings: Whether there is a page, and where.
        engine: Which network.
        profile: The game.
        driver: Who drives.
        rate_hz: Control rate.
        keep: Folder for episodes that the user keeps; None for ``episodes``.
        note: Called with the page's address.
        title: What is driven; empty for the game's title.
        by_key: Whether the profile's hotkey keeps the last 30 s, as the page's button does; for a drive in real time.

    Raises:
        AgentError: If the page cannot be served.
    """
    if not settings.has_page:
        yield None
        return
    from agent.page.records import Facts

    spec = driver.spec
    folder = model_folder(engine, profile.model_name).resolve() if _has_weights(driver.name) else None
    facts = Facts(
        title=title or profile.title,
        game=profile.name,
        model=spec.name,
        engine=driver.name,
        driver=driver.driver,
        rate_hz=rate_hz,
        outputs=spec.output_names,
        axes=with_standard_axes(profile.axes),
        observation_shape=spec.observation_shape,
        folder="" if folder is None else str(folder),
        keep=_folder_for(keep),
        made_s=0.0 if folder is None else _written_s(folder / WEIGHTS_FILE),
        keep_key=profile.hotkeys.keep if by_key else "",
    )
    with _served(settings, facts, note) as page:
        yield page


def weights_of(driver: "Driver") -> "Weights":
    """Return what a page is told of the weights that drive after a swap."""
    from agent.page.records import Weights

    folder: Path | None = getattr(driver, "folder", None)
    return Weights(driver.driver, driver.name, "" if folder is None else str(folder.resolve()))


@contextmanager
def page_of_person(
    settings: PageSettings, profile: "GameProfile", rate_hz: float, keep: Path | None, note: Note
) -> "Iterator[PersonOnPage | None]":
    """Serve the page of a person's drive while the block runs; gives None if none is wanted.

    Args:
        settings: Whether there is a page, and where.
        profile: The game.
        rate_hz: How often the page is told of the drive.
        keep: Folder for episodes that the user keeps; None for ``episodes``.
        note: Called with the page's address.

    Raises:
        AgentError: If the page cannot be served.
    """
    if not settings.has_page:
        yield None
        return
    from agent.page.records import Facts

    # No network drives; this is what one of the usual size would get.
    spec = ModelSpec(
        "person",
        "none",
        profile.name,
        rate_hz=profile.rate_hz,
        outputs=outputs_named(profile.axes),
        masks=profile.masks,
    )
    facts = Facts(
        title=profile.title,
        game=profile.name,
        model="a person",
        engine="",
        driver="human",
        rate_hz=rate_hz,
        outputs=(),
        axes=with_standard_axes(profile.axes),
        observation_shape=spec.observation_shape,
        keep=_folder_for(keep),
        keep_key=profile.hotkeys.keep,
    )
    with _served(settings, facts, note) as page:
        yield PersonOnPage(page, spec)


class PersonOnPage:
    """Tells a page of a person's drive what it is told of a network's.

    Args:
        page: The page; open.
        spec: What a network's input would be.
    """

    def __init__(self, page: "Page", spec: ModelSpec) -> None:
        self._page = page
        self._spec = spec
        self._observer: PageObserver | None = None
        self._ticks = 0

    @contextmanager
    def lap(
        self, stats: TickStats, seed: int | None = None, state: "Callable[[], DriveState] | None" = None
    ) -> Iterator[None]:
        """Show a lap, or a whole drive, while the block runs.

        Args:
            stats: The pacer's figures.
            seed: Its track; None for a game in a window.
            state: Returns the state of the drive, for a game that reports it.
        """
        with self._page.of(stats, seed, state) as self._observer:
            yield

    def drove(self, frame: Frame, controls: Controls) -> None:
        """Show a picture, and what the person did at that moment."""
        observation = preprocess(frame, self._spec)
        now_ns = clock_ns()
        age_s = (now_ns - frame.captured_ns) / 1e9
        self._tell(DrivenTick(self._ticks, frame, observation, _NOTHING, controls, age_s, {}, now_ns, True, None, ()))

    def saw_nothing(self, reason: str) -> None:
        """Show that there is no picture."""
        self._tell(BlindTick(self._ticks, reason, NEUTRAL, {}, clock_ns(), intervention=True))

    def _tell(self, record: TickRecord) -> None:
        assert self._observer is not None
        self._ticks += 1
        self._observer.on_tick(record)


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


@contextmanager
def _served(settings: PageSettings, facts: "Facts", note: Note) -> "Iterator[Page]":
    from agent.page.feed import Page

    with Page(facts, address_of(settings)) as page:
        note(f"the page: {page.url}")
        yield page


def _folder_for(keep: Path | None) -> str:
    return str((keep or Path("episodes")).resolve())


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
