"""Options that several commands share."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from agent.capture.registry import GrabberChoices
from agent.contract.profile import Capture, GameProfile, Region
from agent.engines.registry import EngineChoices
from agent.games.registry import game_names
from agent.settings.base import Group, Settings, option
from agent.settings.checks import (
    at_least_one,
    control_rate,
    cores,
    host,
    path,
    png_path,
    port,
    processor_threads,
    region,
    text,
    video_path,
)

IN_A_WINDOW = Group("games in a window", "the defaults are in the game's profile")
PAGE = Group("a page in the browser that shows it live")
BESIDE_OTHERS = Group("beside other programs")

DRIVERS = ("policy", "expert")
DRIVER_HELP = (
    "who drives: policy (the network), or expert, a program that reads the track instead of the picture; the engine "
    "options do not affect the expert"
)


CLUSTER = option(
    "share the tracks out over a Ray cluster: HOST:PORT of its head, or without it the cores of this machine "
    "(docs/cluster.md; `pip install '.[ray]'`)",
    text,
    metavar="HOST:PORT",
    bare="local",
)
"""The option ``--ray``."""


@dataclass(frozen=True, kw_only=True)
class GameSettings(Settings):
    """Which game."""

    game: str = field(
        default="carracing", metadata=option(lambda: f"what to drive: {', '.join(game_names())}", text, metavar="GAME")
    )


@dataclass(frozen=True, kw_only=True)
class EngineSettings(Settings):
    """Which network, and what runs it."""

    weights: Path | None = field(
        default=None,
        metadata=option("model folder (default: the shipped model_weights/GAME)", path, metavar="DIR"),
    )
    engine: str = field(
        default="auto",
        metadata=option(
            "what runs the network, one of %(choices)s: auto is the fastest one here, measured once and remembered "
            "(int8 only if it was shown to drive as well); constant runs no network and rolls slowly straight on",
            choices=EngineChoices(),
            metavar="NAME",
        ),
    )
    threads: int | None = field(
        default=None,
        metadata=option(
            "processor threads for the network (default: the engine's choice)", processor_threads, metavar="N"
        ),
    )


@dataclass(frozen=True, kw_only=True)
class RateSettings(Settings):
    """How often to decide."""

    rate: float | None = field(
        default=None,
        metadata=option(
            "control rate in Hz (default: the weights' own; in real time, at most what this machine can hold)",
            control_rate,
            metavar="HZ",
        ),
    )


@dataclass(frozen=True, kw_only=True)
class ProcessorSettings(Settings):
    """Priority and processor cores of the program."""

    high_priority: bool = field(
        default=False,
        metadata=option("run at a higher priority; on Linux this needs permission", group=BESIDE_OTHERS),
    )
    cores: tuple[int, ...] | None = field(
        default=None,
        metadata=option(
            "keep it on these processor cores, counted from 0 (Linux, Windows); give the game the others",
            cores,
            metavar="A,B",
            group=BESIDE_OTHERS,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class PageSettings(Settings):
    """Whether a page in the browser shows what happens, and who may open it."""

    page: int | None = field(
        default=None,
        metadata=option(
            "serve the page on this machine alone, at this port (default: 8870, or the next one that is free); while "
            "somebody drives, Insert (or the profile's own key) keeps the last 30 s, and does nothing without a page",
            port,
            metavar="PORT",
            bare=0,
            group=PAGE,
        ),
    )
    page_host: str | None = field(
        default=None,
        metadata=option(
            "serve it at this address of the machine instead (0.0.0.0: all), for other machines; the address that is "
            "printed then holds a token, without which nobody sees anything",
            host,
            metavar="ADDRESS",
            group=PAGE,
        ),
    )

    page_theme: Path | None = field(
        default=None,
        metadata=option("the colours of its /stream (.css)", path, metavar="FILE", group=PAGE),
    )

    @property
    def has_page(self) -> bool:
        """Whether there is a page."""
        return self.page is not None or self.page_host is not None


@dataclass(frozen=True, kw_only=True)
class OutputSettings(Settings):
    """Which files a drive writes."""

    record: Path | None = field(
        default=None, metadata=option("record one episode per lap into this folder", path, metavar="DIR")
    )
    video: Path | None = field(
        default=None,
        metadata=option(
            "film the drive: .mp4, or animated .webp or .gif (625 ticks at most); several laps become FILE-SEED",
            video_path,
            metavar="FILE",
        ),
    )
    show_input: Path | None = field(
        default=None,
        metadata=option("write the network's exact input (.png) once a second", png_path, metavar="FILE"),
    )
    health: Path | None = field(
        default=None,
        metadata=option(
            "write memory, handles, threads and missed deadlines every 10 s, and their growth (JSON)",
            path,
            metavar="FILE",
        ),
    )


@dataclass(frozen=True, kw_only=True)
class CaptureSettings(Settings):
    """Where to look for a game in a window; overrides its profile."""

    window: str | None = field(
        default=None,
        metadata=option("part of the window's title", text, metavar="TITLE", group=IN_A_WINDOW, excludes="where"),
    )
    monitor: int | None = field(
        default=None,
        metadata=option(
            "capture a whole monitor instead, counted from 1",
            at_least_one,
            metavar="N",
            group=IN_A_WINDOW,
            excludes="where",
        ),
    )
    region: Region | None = field(
        default=None,
        metadata=option(
            "only this part of it: left, top, width, height in pixels", region, metavar="L,T,W,H", group=IN_A_WINDOW
        ),
    )

    grabber: str | None = field(
        default=None,
        metadata=option(
            "what reads the pixels: %(choices)s (default: the profile's, mss unless it names another)",
            choices=GrabberChoices(),
            metavar="NAME",
            group=IN_A_WINDOW,
        ),
    )

    def where_to_look(self, profile: GameProfile) -> Capture:
        """Return what to capture: the profile's settings, overridden by those given here."""
        capture = profile.capture or Capture()
        if self.window is not None:
            capture = replace(capture, window=self.window)
        elif self.monitor is not None:
            capture = Capture(None, self.monitor, capture.region, grabber=capture.grabber)
        if self.grabber is not None:
            capture = replace(capture, grabber=self.grabber)
        return capture if self.region is None else replace(capture, region=self.region)
