"""Settings of ``bench``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.engines.registry import find_engine
from agent.settings.base import Settings, option
from agent.settings.checks import at_least_one, path, png_path, processor_threads


def engine_names(value: Any) -> tuple[str, ...]:
    """Return names of engines, each once, from ``a,b`` or from several names."""
    names = tuple(dict.fromkeys(value.split(",") if isinstance(value, str) else value))
    for name in names:
        if not find_engine(name).needs_weights:
            raise ValueError(f"{name!r} runs no network, expected engines that do")
    return names


@dataclass(frozen=True, kw_only=True)
class BenchSettings(Settings):
    """What to time, and how often."""

    weights: Path | None = field(
        default=None,
        metadata=option("model folder (default: the shipped model_weights/carracing)", path, metavar="DIR"),
    )
    engines: tuple[str, ...] | None = field(
        default=None,
        metadata=option("which, separated by commas (default: all that run here)", engine_names, metavar="A,B,C"),
    )
    rounds: int = field(default=20, metadata=option("turns of 10 decisions for each engine", at_least_one, metavar="N"))
    threads: int | None = field(
        default=None,
        metadata=option("processor threads of each (default: the engine's choice)", processor_threads, metavar="N"),
    )
    beside_game: bool = field(
        default=False, metadata=option("measure beside a real-time CarRacing, and report its rate too")
    )
    with_keras: bool = field(
        default=False,
        metadata=option("compare with keras.Model.predict and tf.function, which need TensorFlow"),
    )
    plot: Path | None = field(
        default=None, metadata=option("draw the stages of every engine (.png)", png_path, metavar="FILE")
    )
