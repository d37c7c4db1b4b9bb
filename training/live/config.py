"""Settings of ``live``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from agent.contract.errors import TrainingError
from agent.contract.profile import CONTROLLERS
from agent.settings.base import Group, option
from agent.settings.checks import at_least_one, number, path, positive, text, track_seed, whole
from agent.settings.shared import PageSettings
from training.data.buffers import CAPACITY
from training.data.held_out import HELD_OUT_SEED
from training.fitting.checks import momentum, number_of_tracks, rate_of_learning
from training.network.backbones import BACKBONES

_SIMULATORS = Group("games that wait", "experts drive and label, the network is driven on tracks of its own")
_TRAINER = Group("the trainer")
_ENGINES = ("openvino", "openvino-bf16", "onnxruntime")
_KEYS = Group("games in a window", "you drive first; the profile's own key gives the wheel and takes it back")


def _share(value: Any) -> float:
    return number(value, 0, 1)


def _strength(value: Any) -> float:
    return number(value, 0, 100)


def _nice(value: Any) -> int:
    return whole(value, 0, 19)


@dataclass(frozen=True, kw_only=True)
class LiveSettings(PageSettings):
    """A live training: what is driven, and how it is learnt from.

    Attributes:
        game: What is driven.
        out: The run's folder: episodes, samples, checkpoint, weights, log. None: ``runs/live-GAME``.
    """

    error: ClassVar[type[Exception]] = TrainingError

    game: str = field(default="carracing", metadata=option("what to drive, and learn", text, metavar="GAME"))
    out: Path | None = field(
        default=None,
        metadata=option("the run's folder; the same one goes on (default: runs/live-GAME)", path, metavar="DIR"),
    )
    minutes: float | None = field(
        default=None, metadata=option("end after T minutes (default: Ctrl-C)", positive, metavar="T")
    )
    collectors: int = field(
        default=2,
        metadata=option("processes in which an expert drives", at_least_one, metavar="N", group=_SIMULATORS),
    )
    seed_start: int = field(
        default=0, metadata=option("first track that is driven for data", track_seed, metavar="S", group=_SIMULATORS)
    )
    noise: float = field(
        default=1.0,
        metadata=option("disturbances: 0 none, 1 about one a second", _strength, metavar="X", group=_SIMULATORS),
    )
    expert_share: float = field(
        default=0.3,
        metadata=option(
            "once there are weights, the network drives, and the expert this share of the time",
            _share,
            metavar="X",
            group=_SIMULATORS,
        ),
    )
    tracks: int = field(
        default=5,
        metadata=option(
            "tracks that new weights are driven on, which are never learnt from; 0: none",
            number_of_tracks,
            metavar="N",
            group=_SIMULATORS,
        ),
    )
    tracks_start: int = 20_000
    until: float | None = field(
        default=None,
        metadata=option("end once the mean return over these tracks is X", number, metavar="X", group=_SIMULATORS),
    )
    patience: int = field(
        default=0,
        metadata=option(
            "end after N drives in a row without a better return (default: 0, never)",
            lambda value: whole(value, 0),
            metavar="N",
            group=_SIMULATORS,
        ),
    )
    episodes_gb: float = field(
        default=5.0,
        metadata=option(
            "keep the newest N GB of the episodes that simulators give", positive, metavar="N", group=_SIMULATORS
        ),
    )
    engine: str = field(
        default="openvino",
        metadata=option("what runs the network", choices=_ENGINES, group=_KEYS),
    )
    window: str | None = field(
        default=None, metadata=option("part of the window's title", text, metavar="TITLE", group=_KEYS)
    )
    controller: str | None = field(
        default=None, metadata=option("what moves the car (default: its profile's)", choices=CONTROLLERS, group=_KEYS)
    )
    newest_key: str = field(
        default="f7", metadata=option("takes the newest weights at once", text, metavar="KEY", group=_KEYS)
    )
    back_key: str = field(default="f6", metadata=option("takes the weights before", text, metavar="KEY", group=_KEYS))
    backbone: str = field(
        default="pilotnet_grid",
        metadata=option(
            "network body: pilotnet_grid is small and learns in minutes; xception has 23.8 million parameters",
            choices=BACKBONES,
            group=_TRAINER,
        ),
    )
    width_px: int = field(
        default=160, metadata=option("trained at", at_least_one, metavar="PX", flag="width", group=_TRAINER)
    )
    height_px: int = field(
        default=90, metadata=option("trained at", at_least_one, metavar="PX", flag="height", group=_TRAINER)
    )
    init: str = field(
        default="none",
        metadata=option("start from a model or run folder", text, metavar="none|imagenet|DIR", group=_TRAINER),
    )
    batch_size: int = field(
        default=33, metadata=option("samples a step", at_least_one, metavar="N", flag="batch", group=_TRAINER)
    )
    steps_per_round: int = field(
        default=100,
        metadata=option(
            "steps after which weights are judged and handed over", at_least_one, metavar="N", group=_TRAINER
        ),
    )
    learning_rate: float = field(
        default=2e-3, metadata=option("at its peak", rate_of_learning, metavar="X", group=_TRAINER)
    )
    warmup_steps: int = field(
        default=40, metadata=option("steps to the peak", at_least_one, metavar="N", group=_TRAINER)
    )
    ema: float = field(
        default=0.99, metadata=option("momentum of the averaged weights", momentum, metavar="X", group=_TRAINER)
    )
    start: int = field(
        default=1000,
        metadata=option("samples before the first step", at_least_one, metavar="N", group=_TRAINER),
    )
    buffer_size: int = field(
        default=CAPACITY,
        metadata=option("samples in the buffer of an output", at_least_one, metavar="N", flag="buffer", group=_TRAINER),
    )
    corrections: float = field(
        default=3.0,
        metadata=option("how much more a correction counts than other driving", _strength, metavar="X", group=_TRAINER),
    )
    hand_over: str = field(
        default="better",
        metadata=option(
            "which weights are handed over: better (never those that are worse on what is held out), or always",
            choices=("better", "always"),
            group=_TRAINER,
        ),
    )
    nice: int = field(
        default=10,
        metadata=option("how far the trainer stands back for the drive: 0 not at all, 19 most", _nice, group=_TRAINER),
    )
    seed: int = field(
        default=0, metadata=option("of first weights and what is drawn", track_seed, metavar="S", group=_TRAINER)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.out is None:
            object.__setattr__(self, "out", Path("runs") / f"live-{Path(self.game).stem}")
        if self.start > self.buffer_size:
            raise TrainingError(
                f"the first step would wait for {self.start} samples, and a buffer holds {self.buffer_size}. Lower "
                "--start, or raise --buffer."
            )
        if self.tracks_start + self.tracks > HELD_OUT_SEED:
            raise TrainingError(f"the tracks from {HELD_OUT_SEED} on are kept for judging. Drive lower ones.")
        if self.seed_start in self.driven_tracks:
            raise TrainingError(f"track {self.seed_start} is one that weights are compared on. Start elsewhere.")
        if self.until is not None and not self.tracks:
            raise TrainingError("--until asks for a return, and --tracks 0 drives no track. Drive some.")

    def for_the_drive(self) -> dict[str, Any]:
        """Return what a drive in a window is told of it."""
        shown = {"page": self.page, "page_host": self.page_host, "page_theme": self.page_theme}
        return {"window": self.window, "controller": self.controller, **shown}

    @property
    def folder(self) -> Path:
        """The run's folder."""
        assert self.out is not None  # __post_init__ has seen to it
        return self.out

    @property
    def driven_tracks(self) -> range:
        """Seeds of the tracks that new weights are driven on."""
        return range(self.tracks_start, self.tracks_start + self.tracks)
