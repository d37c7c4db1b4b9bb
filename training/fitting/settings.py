"""What ``fit`` can be told: what decides a run's outcome, and how it is done and shown."""

from dataclasses import dataclass, field, fields
from typing import Any

from agent.contract.errors import TrainingError
from agent.contract.spec import ModelSpec
from agent.settings.base import Group, option
from agent.settings.checks import at_least_one, at_least_zero, text
from agent.settings.shared import PageSettings
from training.data.balancing.registry import RULE_NAMES
from training.fitting.checks import pictures_at_once, ticks_apart
from training.fitting.config import BACKBONE_HELP, BALANCE_HELP, HISTORY_HELP, TICKS_HELP, FitConfig
from training.network.backbones import BACKBONES

SMALL: dict[str, Any] = {"backbone": "pilotnet_grid", "width_px": 160, "height_px": 90}
"""Network and picture of the recipe for little data, unless ``init`` has its own."""
LITTLE_DATA: dict[str, Any] = {"balance": "none", "batch_size": 32, "bfloat16": False}
"""The rest of the recipe for little data, for what is not given."""

_TOGETHER = Group(
    "several processes",
    "share out every batch to N processes; needs JAX. Across machines it pays; on one it is for trying out: the "
    "processes share its cores, and each would claim every graphics card",
)


@dataclass(frozen=True)
class FitSettings(FitConfig, PageSettings):
    """A run, with settings that do not affect its outcome: the game's profile, the processes, the display, the page.

    Attributes:
        backbone: As in FitConfig; None for that of ``init``.
        width_px: As in FitConfig; None for that of ``init``.
        height_px: As in FitConfig; None for that of ``init``.
        history: As in FitConfig; None for that of ``init``.
        history_ticks: As in FitConfig; None for that of ``init``.
        balance: As in FitConfig; None for its default or, with ``minutes``, for that of the recipe for little data.
        batch_size: Likewise.
        game: Profile of the game the episodes are of; the model is named after it.
        workers: Processes that train together.
        worker: Which of them this is, across machines; None where all are started here.
        coordinator: Where worker 0 is found by the others, across machines.
        quiet: Whether a line a round is shown in place of Keras' progress bar.
    """

    # None, which a FitConfig does not have: what ``init`` is of decides, and without it FitConfig's own default.
    backbone: str | None = field(  # type: ignore[assignment]
        default=None,
        metadata=option(f"{BACKBONE_HELP} (default: that of --init, else xception)", choices=BACKBONES),
    )
    width_px: int | None = field(  # type: ignore[assignment]
        default=None,
        metadata=option("trained at (default: that of --init, else 480)", at_least_one, metavar="PX", flag="width"),
    )
    height_px: int | None = field(  # type: ignore[assignment]
        default=None,
        metadata=option("trained at (default: that of --init, else 270)", at_least_one, metavar="PX", flag="height"),
    )
    history: int | None = field(  # type: ignore[assignment]
        default=None,
        metadata=option(f"{HISTORY_HELP} (default: that of --init, else 1)", pictures_at_once, metavar="N"),
    )
    history_ticks: int | None = field(  # type: ignore[assignment]
        default=None, metadata=option(f"{TICKS_HELP} (default: that of --init, else 2)", ticks_apart, metavar="T")
    )
    balance: str | None = field(  # type: ignore[assignment]
        default=None,
        metadata=option(f"{BALANCE_HELP} (default: none)", choices=RULE_NAMES),
    )
    batch_size: int | None = field(  # type: ignore[assignment]
        default=None,
        metadata=option("samples a step (default: 16; with --minutes 32)", at_least_one, metavar="N", flag="batch"),
    )
    game: str = field(
        default="carracing", metadata=option("profile of the game the episodes are of", text, metavar="GAME")
    )
    workers: int = field(
        default=1,
        metadata=option("how many; without --worker all are started here", at_least_one, metavar="N", group=_TOGETHER),
    )
    worker: int | None = field(
        default=None,
        metadata=option(
            "across machines: repeat the command on each with its number, from 0, and one shared --out",
            at_least_zero,
            metavar="I",
            group=_TOGETHER,
        ),
    )
    coordinator: str | None = field(
        default=None,
        metadata=option(
            "across machines: where worker 0 is found by the others", text, metavar="HOST:PORT", group=_TOGETHER
        ),
    )
    quiet: bool = field(default=False, metadata=option("one line a round instead of a progress bar"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.worker is None) != (self.coordinator is None):
            raise TrainingError("--worker and --coordinator go together: which process this is, and where worker 0 is.")
        if self.minutes and self.steps != FitConfig.steps:
            raise TrainingError("--minutes and --steps both say how long to train: leave one of them out.")
        if self.minutes and self.workers > 1:
            raise TrainingError("--minutes plans for one process: with --workers, give --steps instead.")
        if self.worker is not None and self.workers < 2:
            raise TrainingError("--worker says which of several processes this is: say how many with --workers.")

    def config(self, like: ModelSpec | None = None, **changes: Any) -> FitConfig:
        """Return what decides the outcome alone, with changes.

        Args:
            like: What ``init`` is of: body, picture and history are its own where the settings say nothing.
            changes: Further fields.

        Raises:
            TrainingError: If ``init`` is of another body than the one that is asked for, or of another number of
                pictures; or if one picture is to be some ticks from the next, and there is no next.
        """
        values = {each.name: getattr(self, each.name) for each in fields(FitConfig)}
        defaults = {name: getattr(FitConfig, name) for name in (*_THOSE_OF_INIT, *_THOSE_OF_THE_RECIPE)}
        if self.minutes:
            values["bfloat16"] = LITTLE_DATA["bfloat16"]  # nobody can ask for it: it is the default
            defaults |= {name: LITTLE_DATA[name] for name in _THOSE_OF_THE_RECIPE}
        if like is not None:
            defaults |= _described(like)
        elif self.minutes:
            defaults |= SMALL
        values |= {name: default for name, default in defaults.items() if values[name] is None}
        if like is not None and values["backbone"] != like.backbone:
            raise TrainingError(
                f"--init {self.init} is of the backbone {like.backbone}, and --backbone is {values['backbone']}: such "
                "weights fit no other one. Leave --backbone out."
            )
        if like is not None and values["history"] != like.pictures:
            raise TrainingError(
                f"--init {self.init} has --history {like.pictures}, and {values['history']} is asked for: such weights "
                "fit no other number of pictures. Leave --history out, or begin with --init none."
            )
        if self.history_ticks is not None and values["history"] == 1:
            raise TrainingError(
                "--history-ticks says how far apart several pictures are, and the network sees one: say how many with "
                "--history, or leave it out."
            )
        return FitConfig(**values | {"name": self.game} | changes)


_THOSE_OF_THE_RECIPE = ("balance", "batch_size")
_THOSE_OF_INIT = ("backbone", "width_px", "height_px", "history", "history_ticks")


def _described(spec: ModelSpec) -> dict[str, Any]:
    """Return what a model's own description says of the settings that are left to it."""
    said = {"backbone": spec.backbone, "width_px": spec.width_px, "height_px": spec.height_px, "history": spec.pictures}
    return said if spec.stack is None else said | {"history_ticks": spec.stack.every_ticks}
