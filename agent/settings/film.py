"""Settings of ``film``."""

from dataclasses import dataclass, field
from pathlib import Path

from agent.engines.registry import EngineChoices
from agent.settings.base import Settings, option
from agent.settings.checks import at_least_one, path, positive, processor_threads, text, track_seed, video_path


@dataclass(frozen=True, kw_only=True)
class FilmSettings(Settings):
    """Which models, on which track, into which film."""

    models: tuple[Path, ...] = field(
        metadata=option(
            "model folders, in the film's order", path, metavar="MODEL", positional=True, several="together"
        )
    )
    game: str = field(default="carracing", metadata=option("what to drive", text, metavar="GAME"))
    out: Path = field(
        metadata=option("the film: .mp4, or .webp or .gif (625 pictures at most)", video_path, metavar="FILE")
    )
    seed: int = field(default=0, metadata=option("the track", track_seed, metavar="S"))
    seconds: float = field(default=20.0, metadata=option("longest game time in seconds", positive, metavar="N"))
    scale: float = field(default=0.25, metadata=option("of each picture", positive, metavar="X"))
    every: int = field(default=1, metadata=option("keep one picture in N", at_least_one, metavar="N"))
    engine: str = field(
        default="auto", metadata=option("what runs the networks: %(choices)s", choices=EngineChoices(), metavar="NAME")
    )
    threads: int | None = field(
        default=None, metadata=option("processor threads for each", processor_threads, metavar="N")
    )
