"""Settings of ``fit``; one frozen record holds everything that decides the outcome of a training run."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar, Self

from agent.contract.controls import AXIS_NAMES
from agent.contract.errors import TrainingError
from agent.contract.spec import Stack
from agent.settings.base import Settings, option
from agent.settings.checks import at_least_one, at_least_zero, not_negative, output_names, path, text, track_seed
from training.data.balancing.registry import RULE_NAMES
from training.data.buffers import CAPACITY
from training.data.held_out import HELD_OUT_SEED
from training.fitting.checks import (
    fraction,
    masked_part,
    momentum,
    number_of_tracks,
    pictures_at_once,
    rate_of_learning,
    ticks_apart,
    weighted_output,
)
from training.network.backbones import BACKBONES

SETTINGS = "config.json"
"""In a run's folder: its FitConfig."""
LOG = "log.csv"
"""In a run's folder: a row for every round."""
STEPS = ("joint", "helper")
BACKBONE_HELP = (
    "network body: xception has 23.8 million parameters; pilotnet is small and learns in minutes; pilotnet_grid is the "
    "same and also knows where in the picture it saw what; mobilenet_v2 lies between"
)
BALANCE_HELP = (
    "how samples are balanced: none (as they come), v1 to v4 (by their labels), or reweight (labels weighted by how "
    "rare they are); `balance` shows the effect of each"
)
HISTORY_HELP = (
    "pictures seen at once, so that the network sees motion. It then also sees what the driver has just done, and may "
    "learn to copy that: a low validation loss proves little, so compare how it drives with a network of one picture"
)
TICKS_HELP = "ticks between two of these pictures: 2 at 25 a second are 80 ms"


@dataclass(frozen=True)
class FitConfig(Settings):
    """Settings of one run; saved in its folder and compared when the run is resumed.

    Attributes:
        data: Folders with episodes, or episodes.
        out: Folder of the run: checkpoints, logs, the exported model.
        name: Name of the exported model.
        backbone: Body of the network, see ``training.network.build``.
        init: Weights to start from: a ``weights.safetensors``, ``imagenet`` or ``none``.
        width_px: Width trained at. The network ends in averages over the picture, so any size can continue another.
        height_px: Height trained at.
        history: Pictures that the network sees at once; 1: only the newest.
        history_ticks: Ticks of the control rate between two of them, see :class:`agent.contract.spec.Stack`.
        batch_size: Samples a step.
        steps: Steps in all.
        steps_per_round: Steps between checkpoints, each followed by validation.
        minutes: How long the run may take, preprocessing included; ``steps`` and ``steps_per_round`` are then planned
            from a few timed steps, see ``training.fitting.timing``. 0: ``steps`` decides.
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
        validation_episodes: The first episodes, in order of folders and file names, are validated on and never trained
            on: how many. 0: spans of every episode are, see ``training.data.rows``.
        own_driving: Whether rows that a network drove are learnt from, see ``training.data.rows``.
        tracks: Tracks driven in closed loop at every ``drive_every``-th checkpoint; the best is exported. 0: none.
        tracks_start: First of those tracks' seeds.
        drive_every: See ``tracks``.
        patience: Drives in a row without a better return after which the run ends early; without ``tracks`` rounds
            without a better validation loss. 0: never.
        balance: Rule that decides what the network is fed, see ``training.data.balancing``.
        step: ``joint``: all heads on one batch. ``helper``: a batch and a helper model for each output.
        buffer_size: Samples waiting to be drawn, a feed.
        keep_stages: Whether the model of every round is kept in ``stages``, named by its steps.
        seed: Of the sample order, the flips and the network's first weights.
        outputs: What the network predicts: names of axes, or of :data:`agent.contract.controls.SIGNED_OUTPUTS`; None:
            every axis that the game has.

    Raises:
        TrainingError: If a value is invalid, or values contradict each other.
    """

    error: ClassVar[type[Exception]] = TrainingError

    data: tuple[Path, ...] = field(
        metadata=option("folders with episodes, or episodes", path, metavar="DIR", several="together")
    )
    out: Path = field(metadata=option("the run's folder", path, metavar="DIR"))
    name: str = "carracing"
    backbone: str = field(default="xception", metadata=option(BACKBONE_HELP, choices=BACKBONES))
    init: str = field(
        default="none",
        metadata=option("start from a model or run folder", text, metavar="none|imagenet|DIR"),
    )
    width_px: int = field(default=480, metadata=option("trained at", at_least_one, metavar="PX", flag="width"))
    height_px: int = field(default=270, metadata=option("trained at", at_least_one, metavar="PX", flag="height"))
    history: int = field(default=1, metadata=option(HISTORY_HELP, pictures_at_once, metavar="N"))
    history_ticks: int = field(default=2, metadata=option(TICKS_HELP, ticks_apart, metavar="T"))
    batch_size: int = field(default=16, metadata=option("samples a step", at_least_one, metavar="N", flag="batch"))
    steps: int = field(default=2000, metadata=option("steps in all", at_least_one, metavar="N"))
    steps_per_round: int = field(default=200, metadata=option("between checkpoints", at_least_one, metavar="N"))
    minutes: float = field(
        default=0.0,
        metadata=option(
            "train for T minutes at most, by the recipe for little data: a small network on small pictures unless "
            "--init or other options say otherwise, and no more steps than the data are good for; instead of --steps",
            not_negative,
            metavar="T",
        ),
    )
    learning_rate: float = field(default=1e-3, metadata=option("peak", rate_of_learning, metavar="X"))
    warmup_steps: int = field(default=100, metadata=option("steps to the peak", at_least_one, metavar="N"))
    weight_decay: float = 1e-4
    ema: float = field(default=0.99, metadata=option("momentum of the averaged weights", momentum, metavar="X"))
    freeze: str = field(
        default="",
        metadata=option(
            "do not train this layer of the backbone and the layers before it, which makes steps cheaper: add_2 is the "
            "end of Xception's entry flow, add_10 of its middle flow (default: train all)",
            text,
            metavar="LAYER",
        ),
    )
    auxiliary: bool = field(default=True, metadata=option("do not predict telemetry during training"))
    auxiliary_weight: float = 0.5
    importance: tuple[tuple[str, float], ...] = field(
        default=(),
        metadata=option(
            "weight of an output's loss, after each loss was divided by the variance of its labels; repeatable; also "
            "used in the validation loss. Lower it for an output whose few rare values dominate the others (default: "
            "1 for each)",
            weighted_output,
            metavar="OUTPUT=X",
            several="repeated",
        ),
    )
    masks: tuple[tuple[float, float, float, float], ...] | None = field(
        default=None,
        metadata=option(
            "hide this part (fractions of the frame) instead of the game's own masks; repeatable; 'none': nothing",
            masked_part,
            metavar="L,T,W,H",
            flag="mask",
            several="repeated",
        ),
    )
    flip: bool = field(default=True, metadata=option("do not mirror pictures"))
    colours: float = field(
        default=0.0,
        metadata=option(
            "change light and colours, for roads that no episode shows: 0 not at all, 1 much", fraction, metavar="X"
        ),
    )
    erase: int = field(
        default=0,
        metadata=option(
            "paint up to N random rectangles over every picture, for roads that no episode shows",
            at_least_zero,
            metavar="N",
        ),
    )
    bfloat16: bool = field(
        default=True, metadata=option("compute in float32 (default: bfloat16 mixed)", flag="float32")
    )
    validation_episodes: int = field(
        default=0,
        metadata=option(
            "validate on the first N episodes, which are then never trained on (default: 0, validate on spans of 4 s "
            "of every episode, a tenth of it, never its start)",
            at_least_zero,
            metavar="N",
        ),
    )
    own_driving: bool = field(
        default=False,
        metadata=option(
            "also learn from the network's own driving. By default, only the person's driving counts in a drive "
            "recorded with `drive --record`, from taking over to giving back"
        ),
    )
    tracks: int = field(
        default=0,
        metadata=option("drive N tracks after a round and keep the best driver", number_of_tracks, metavar="N"),
    )
    tracks_start: int = 20_000
    drive_every: int = field(default=1, metadata=option("rounds between drives", at_least_one, metavar="N"))
    patience: int = field(
        default=0,
        metadata=option(
            "stop early after N drives in a row without a better return; without --tracks, after N rounds in a row "
            "without a better validation loss (default: 0, never)",
            at_least_zero,
            metavar="N",
        ),
    )
    balance: str = field(
        default="none",
        metadata=option(
            BALANCE_HELP,
            choices=RULE_NAMES,
        ),
    )
    step: str = field(
        default="joint",
        metadata=option(
            "joint: all heads on one batch; helper: a batch and a helper model for each output", choices=STEPS
        ),
    )
    buffer_size: int = field(
        default=CAPACITY,
        metadata=option(
            "samples waiting to be drawn, for each feed; fewer where the data are",
            at_least_one,
            metavar="N",
            flag="buffer",
        ),
    )
    keep_stages: bool = field(
        default=False,
        metadata=option(
            "keep the model of every round in DIR/stages, for `python -m agent film` (the full network: 48 MB each)"
        ),
    )
    seed: int = field(default=0, metadata=option("of order, flips and first weights", track_seed, metavar="S"))
    outputs: tuple[str, ...] | None = field(
        default=None,
        metadata=option(
            f"the network's outputs: some of {', '.join(AXIS_NAMES)}, or pedal, which is throttle and brake in one; "
            "axes without an output stay neutral (default: the axes of the game's profile)",
            output_names,
            metavar="NAME,NAME...",
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.masks is not None:
            object.__setattr__(self, "masks", tuple(mask for mask in self.masks if mask is not None))
        object.__setattr__(self, "importance", tuple(sorted(self.importance)))
        if self.tracks_start < 0 or self.tracks_start + self.tracks > HELD_OUT_SEED:
            raise TrainingError(
                f"{self.tracks} tracks from seed {self.tracks_start} on reach the seeds from {HELD_OUT_SEED} on, which "
                "are kept for judging. Drive fewer tracks."
            )
        if self.freeze and self.init == "none":
            raise TrainingError(
                f"freeze is {self.freeze}, with random weights to begin with: those layers would never learn anything. "
                "Say what to begin from with --init, or leave --freeze out."
            )
        # In FitSettings it may be None: what ``init`` is of decides.
        if self.init == "imagenet" and (self.history or 1) > 1:
            raise TrainingError(
                f"--init imagenet has seen one picture at a time, and --history is {self.history}: such weights fit no "
                "other number. Leave --history out, or begin with --init none."
            )
        if len(dict(self.importance)) < len(self.importance):
            raise TrainingError(f"importance is {self.importance}, expected every output once at most.")

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
    def stack(self) -> Stack | None:
        """Which pictures the network sees at once; None if it sees only the newest."""
        return Stack(self.history, self.history_ticks) if self.history > 1 else None

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
