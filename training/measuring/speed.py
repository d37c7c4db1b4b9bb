"""How fast a training step is here: the plain way, ours, and the helper step, taking turns."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from agent.contract.spec import STEERING_THROTTLE_BRAKE
from training.network.build import build_network
from training.network.helper_step import HelperTrained

if TYPE_CHECKING:
    from rich.table import Table

PLAIN = "plain float32"
"""What the others are compared with: Keras' own layers and training step."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to do a training step.

    Attributes:
        name: In the report.
        bfloat16: Whether it computes in bfloat16, with float32 variables.
        fast_layers: Whether it uses the layers of ``training.network.fast_layers``.
        helper: Whether it does the helper step, with a batch for each output.
    """

    name: str
    bfloat16: bool
    fast_layers: bool
    helper: bool = False


VARIANTS = (
    Variant(PLAIN, bfloat16=False, fast_layers=False),
    Variant("plain bfloat16", bfloat16=True, fast_layers=False),
    Variant("joint step", bfloat16=True, fast_layers=True),
    Variant("helper step", bfloat16=True, fast_layers=True, helper=True),
)
"""The last two compute as ``fit`` does by default and with ``--step helper``, without its moving average, clipping and
training-only head. On other backends than TensorFlow there is no helper step, and the joint one has plain layers."""


@dataclass(frozen=True, slots=True)
class StepSpeed:
    """What steps of a variant took.

    Attributes:
        name: The variant's.
        samples: That one step eats.
        median_s: Median of its steps.
        samples_per_second: At the median.
        ratio: Its samples a second over those of ``PLAIN`` in the same run.
    """

    name: str
    samples: int
    median_s: float
    samples_per_second: float
    ratio: float


def measure_steps(
    backbone: str, height_px: int, width_px: int, batch: int, rounds: int, variants: Sequence[Variant] = VARIANTS
) -> tuple[StepSpeed, ...]:
    """Time training steps on random pictures: one step of each variant, then again from the first.

    Args:
        backbone: One of ``training.network.backbones.BACKBONES``.
        height_px: Of the pictures.
        width_px: Of the pictures.
        batch: Samples a batch; the helper step takes one for each output.
        rounds: Timed steps of each, after one that compiles.
        variants: Which, ``PLAIN`` among them; those that the backend lacks are left out.

    Raises:
        TrainingError: If there is no such backbone, or none of that size.
    """
    policy = keras.mixed_precision.dtype_policy()
    variants = [variant for variant in variants if not variant.helper or keras.backend.backend() == "tensorflow"]
    try:
        steps = [_make_step(variant, backbone, height_px, width_px, batch) for variant in variants]
    finally:
        keras.mixed_precision.set_dtype_policy(policy)
    seconds = time_in_turns(steps, rounds)
    samples = [batch * (len(STEERING_THROTTLE_BRAKE) if variant.helper else 1) for variant in variants]
    medians = [float(np.median(taken)) for taken in seconds]
    speeds = [count / median for count, median in zip(samples, medians, strict=True)]
    plain = speeds[[variant.name for variant in variants].index(PLAIN)]
    return tuple(
        StepSpeed(variant.name, count, median, speed, speed / plain)
        for variant, count, median, speed in zip(variants, samples, medians, speeds, strict=True)
    )


def time_in_turns(
    steps: Sequence[Callable[[], None]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> list[list[float]]:
    """Return the seconds of each step's turns, but for a first round that is not counted."""
    seconds: list[list[float]] = [[] for _ in steps]
    for round_ in range(rounds + 1):
        for step, taken in zip(steps, seconds, strict=True):
            started = clock()
            step()
            if round_ > 0:
                taken.append(clock() - started)
    return seconds


def _make_step(variant: Variant, backbone: str, height_px: int, width_px: int, batch: int) -> Callable[[], None]:
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16" if variant.bfloat16 else "float32")
    model: Any = build_network(backbone, height_px, width_px, fast_layers=variant.fast_layers)
    names = [output.name for output in STEERING_THROTTLE_BRAKE]
    losses = dict.fromkeys(names, keras.losses.mean_squared_error)
    optimizer = keras.optimizers.AdamW(1e-4)
    if variant.helper:
        model = HelperTrained(model.input, model.output)
        model.prepare(dict.fromkeys(names, 1.0), losses)
        model.compile(optimizer=optimizer)
        batch *= len(names)
    else:
        model.compile(optimizer=optimizer, loss=losses)
    batches = _random_batches(batch, height_px, width_px, names)

    def step() -> None:
        pictures, targets, weights = next(batches)
        for value in model.train_on_batch(pictures, targets, weights, return_dict=True).values():
            float(value)  # some backends only queue a step until a number is read

    return step


def _random_batches(batch: int, height_px: int, width_px: int, names: Sequence[str]) -> Iterator[tuple[Any, Any, Any]]:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (batch, height_px, width_px, 3), np.uint8)
    targets = {name: rng.uniform(0, 1, (batch, 1)).astype(np.float32) for name in names}
    weights = {name: np.ones(batch, np.float32) for name in names}
    while True:
        yield pictures, targets, weights


def speed_table(speeds: Sequence[StepSpeed], title: str) -> "Table":
    """Return the figures for a rich console."""
    from rich.table import Table

    table = Table("step", title=title)
    for heading in ("samples", "seconds", "samples a second", "times plain"):
        table.add_column(heading, justify="right")
    for speed in speeds:
        table.add_row(
            speed.name,
            str(speed.samples),
            f"{speed.median_s:.3f}",
            f"{speed.samples_per_second:.1f}",
            f"{speed.ratio:.2f}",
        )
    return table


def speeds_to_dict(speeds: Sequence[StepSpeed]) -> list[dict[str, Any]]:
    """Return plain data for JSON."""
    return [asdict(speed) for speed in speeds]
