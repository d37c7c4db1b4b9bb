"""Settings of ``export``."""

from dataclasses import dataclass, field
from pathlib import Path

from agent.contract.errors import TrainingError
from agent.settings.base import Settings, option
from agent.settings.checks import at_least_one, path, text


@dataclass(frozen=True, kw_only=True)
class ExportSettings(Settings):
    """Which models to start from, and what to write.

    Raises:
        TrainingError: If there is nothing to write, or no folder to write to.
    """

    weights: tuple[Path, ...] = field(
        metadata=option(
            "model folder to start from; several give the mean of their weights, and a folder named twice counts "
            "twice: if one was trained further from another, the mean may drive new roads like the first and known "
            "roads like the second",
            path,
            metavar="DIR",
            several="together",
        )
    )
    out: Path | None = field(
        default=None,
        metadata=option("model folder to write (needed unless --int8: then default --weights)", path, metavar="DIR"),
    )
    int8: bool = field(
        default=False,
        metadata=option("quantise: write int8 weights beside the float ones, calibrated on pictures from --data"),
    )
    approve_int8: Path | None = field(
        default=None,
        metadata=option(
            "let `auto` choose the int8 weights of --weights: FILE is the output of `python -m agent compare "
            "FLOAT.json --with INT8.json --json`; refused unless they drive equally well within 1 %",
            path,
            metavar="FILE",
        ),
    )
    data: tuple[Path, ...] | None = field(
        default=None,
        metadata=option(
            "folders with episodes, for measuring BatchNorm statistics (needed at another size, because the old ones "
            "do not fit) and for calibrating int8",
            path,
            metavar="DIR",
            several="together",
        ),
    )
    width: int | None = field(
        default=None, metadata=option("of the network's input (default: as it was)", at_least_one, metavar="PX")
    )
    height: int | None = field(
        default=None, metadata=option("of the network's input (default: as it was)", at_least_one, metavar="PX")
    )
    name: str | None = field(
        default=None, metadata=option("name in the spec (default: that of --out)", text, metavar="NAME")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.out is not None:
            return
        if len(self.weights) > 1:
            raise TrainingError(
                f"{len(self.weights)} folders of --weights to average, expected --out DIR for their mean."
            )
        if not self.int8 and self.approve_int8 is None:
            raise TrainingError(
                "nothing to write: expected --out DIR, or --int8 to quantise the folder of --weights itself."
            )
        for name in ("name", "width", "height"):
            if getattr(self, name) is not None:
                raise TrainingError(f"--{name} is for a new folder, expected --out DIR beside it.")

    @property
    def folder(self) -> Path:
        """The folder that is written to."""
        return self.out or self.weights[0]
