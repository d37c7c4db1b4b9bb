"""Everything that decides the outcome of a training run, in one frozen record."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from agent.contract.errors import TrainingError
from training.data.balancing.registry import RULE_NAMES
from training.data.buffers import CAPACITY
from training.data.held_out import HELD_OUT_SEED

SETTINGS = "config.json"
"""In a run's folder: its FitConfig."""
LOG = "log.csv"
"""In a run's folder: a row for every round."""
STEPS = ("joint", "helper")


@dataclass(frozen=True, slots=True)
class FitConfig:
    """Settings of one run; saved in its folder and compared when the run is resumed.

    Attributes:
        data: Folders with episodes.
        out: Folder of the run: checkpoints, logs, the exported model.
        name: Name of the exported model.
        backbone: Body of the network, see ``training.network.build``.
        init: Weights to start from: a ``weights.safetensors``, ``imagenet`` or ``none``.
        width_px: Width trained at. The network ends in global average pooling, so any size can continue another.
        height_px: Height trained at.
        batch_size: Samples a step.
        steps: Steps in all.
        steps_per_round: Steps between checkpoints, each followed by validation.
        learning_rate: Peak of AdamW's learning rate; warmed up linearly, then lowered along a cosine to a fiftieth.
        warmup_steps: Steps of the warm-up.
        weight_decay: AdamW's.
        ema: Momentum of the exponential moving average of the weights; what is validated and exported.
        freeze: Name of a layer of the backbone: it and all before it stay as ``init`` has them. Empty: all are trained.
        auxiliary: Whether telemetry is predicted too, in training only.
        auxiliary_weight: Weight of its loss, which is divided by the variance of all telemetry taken together; each
            output's loss is divided by that output's own variance.
        importance: By output, what its loss counts against the others', in training and in the validation loss that
            picks the best round where nothing is driven; 1 where it is not named.
        masks: Parts of the frame to hide instead of the profile's own, as (left, top, width, height) in fractions; None
            keeps the profile's.
        flip: Whether half of the pictures are mirrored left to right, where the game's profile says what to mirror.
        colours: How much the pictures' light and colours are changed, see ``training.data.augment``; 0: not at all.
        erase: Rectangles painted over a picture at most, see ``training.data.augment``; 0: none.
        bfloat16: Whether to compute in bfloat16 (variables stay float32).
        validation_episodes: The first episodes, in order of folders and file names, are never trained on: how many.
        tracks: Tracks driven in closed loop at every ``drive_every``-th checkpoint; the best is exported. 0: none.
        tracks_start: First of those tracks' seeds.
        drive_every: See ``tracks``.
        patience: Drives in a row without a better return after which the run ends early; without ``tracks`` rounds
            without a better validation loss. 0: never.
        balance: Rule that decides what the network is fed, see ``training.balancing``.
        step: ``joint``: all heads on one batch. ``helper``: a batch and a helper model for each output.
        buffer_size: Samples waiting to be drawn, a feed.
        keep_stages: Whether the model of every round is kept in ``stages``, named by its steps.
        seed: Of the sample order, the flips and the network's first weights.
    """

    data: tuple[Path, ...]
    out: Path
    name: str = "carracing"
    backbone: str = "xception"
    init: str = "none"
    width_px: int = 480
    height_px: int = 270
    batch_size: int = 16
    steps: int = 2000
    steps_per_round: int = 200
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    weight_decay: float = 1e-4
    ema: float = 0.99
    freeze: str = ""
    auxiliary: bool = True
    auxiliary_weight: float = 0.5
    importance: tuple[tuple[str, float], ...] = ()
    masks: tuple[tuple[float, float, float, float], ...] | None = None
    flip: bool = True
    colours: float = 0.0
    erase: int = 0
    bfloat16: bool = True
    validation_episodes: int = 2
    tracks: int = 0
    tracks_start: int = 20_000
    drive_every: int = 1
    patience: int = 0
    balance: str = "none"
    step: str = "joint"
    buffer_size: int = CAPACITY
    keep_stages: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.balance not in RULE_NAMES:
            raise TrainingError(f"balance is {self.balance!r}, expected one of {', '.join(RULE_NAMES)}.")
        if self.step not in STEPS:
            raise TrainingError(f"step is {self.step!r}, expected one of {', '.join(STEPS)}.")
        for name in ("width_px", "height_px", "batch_size", "steps", "steps_per_round", "drive_every", "buffer_size"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} is {getattr(self, name)}, expected at least 1.")
        for name in ("erase", "validation_episodes", "tracks", "tracks_start", "patience", "seed"):
            if getattr(self, name) < 0:
                raise TrainingError(f"{name} is {getattr(self, name)}, expected at least 0.")
        if self.tracks_start + self.tracks > HELD_OUT_SEED:
            raise TrainingError(
                f"{self.tracks} tracks from seed {self.tracks_start} on reach the seeds from {HELD_OUT_SEED} on, which "
                "are kept for judging. Drive fewer tracks."
            )
        if not 0 < self.learning_rate < 1:
            raise TrainingError(f"learning_rate is {self.learning_rate}, expected a number between 0 and 1.")
        if self.freeze and self.init == "none":
            raise TrainingError(
                f"freeze is {self.freeze}, with random weights to begin with: those layers would never learn anything. "
                "Say what to begin from with --init, or leave --freeze out."
            )
        if len(dict(self.importance)) < len(self.importance):
            raise TrainingError(f"importance is {self.importance}, expected every output once at most.")
        for output, importance in self.importance:
            if not (math.isfinite(importance) and importance >= 0):
                raise TrainingError(f"the importance of {output} is {importance}, expected a number of at least 0.")
        if not 0 <= self.colours <= 1:
            raise TrainingError(f"colours is {self.colours}, expected a number from 0 to 1.")
        if not 0 <= self.ema < 1:
            raise TrainingError(f"ema is {self.ema}, expected a momentum of at least 0 and below 1.")

    @classmethod
    def debug(cls, data: tuple[Path, ...], out: Path) -> Self:
        """Two steps of a small network on small pictures: what the tests run."""
        return cls(
            data=data,
            out=out,
            backbone="pilotnet",
            width_px=120,
            height_px=68,
            batch_size=4,
            steps=2,
            steps_per_round=1,
            warmup_steps=1,
            bfloat16=False,
            validation_episodes=1,
        )

    @property
    def driven_tracks(self) -> range:
        """Seeds of the tracks driven in closed loop."""
        return range(self.tracks_start, self.tracks_start + self.tracks)

    @property
    def rounds(self) -> int:
        """Number of checkpoints."""
        return -(-self.steps // self.steps_per_round)

    def to_json(self) -> str:
        """Return the text of ``config.json``."""
        values = asdict(self)
        values["data"] = [str(path) for path in self.data]
        values["out"] = str(self.out)
        return json.dumps(values, indent=2, sort_keys=True) + "\n"
