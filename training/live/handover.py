"""Weights on their way from the trainer to whoever drives: a numbered folder a round, whole or not there.

A folder is never written to again, so it can be read while newer ones come. Beside the model it holds a picture and
what the network answers to it: an engine that answers otherwise must not drive.
"""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from agent.contract.durable import replace_folder
from agent.contract.errors import EngineError, WeightsError
from agent.contract.observation import Frame, Observation
from agent.contract.picture_codec import decode_picture
from agent.policies.base import Policy, untimed

WEIGHTS = "weights"
"""In a run's folder: the numbered folders."""
NOTE = "handover.json"
PROBE = "probe-picture.png"
KEPT = 6
"""Numbered folders that are kept; the oldest go first."""
TOLERANCE = 0.05
"""How far an engine's answer may be from the trainer's: 16-bit weights and arithmetic move it by less than 0.02."""


@dataclass(frozen=True, slots=True)
class Handover:
    """What is known of handed over weights.

    Attributes:
        round: The trainer's round.
        steps: Steps done so far.
        samples: Samples that had arrived.
        validation_loss: On what is held out; NaN where nothing is.
        made_s: When, in seconds since 1970.
        probe: The network's answer to the picture beside it, an output each.
    """

    round: int
    steps: int
    samples: int
    validation_loss: float
    made_s: float
    probe: tuple[float, ...]


def hand_over(folder: Path, handover: Handover, probe: Observation, export: Callable[[Path], object]) -> Path:
    """Write weights for others to take, and delete the oldest.

    Args:
        folder: Of the run.
        handover: What is known of them.
        probe: uint8, shape (height, width, 3), RGB.
        export: Writes the model into the folder that it is given.

    Returns:
        The numbered folder.

    Raises:
        OSError: If it cannot be written; those that were there before are unchanged.
    """
    target = folder / WEIGHTS / f"{handover.round:06d}"

    def write(partial: Path) -> None:
        export(partial)
        cv2.imwrite(str(partial / PROBE), cv2.cvtColor(probe, cv2.COLOR_RGB2BGR))
        values = asdict(handover)
        if math.isnan(handover.validation_loss):
            values["validation_loss"] = None
        (partial / NOTE).write_text(json.dumps(values, allow_nan=False), encoding="utf-8")

    replace_folder(target, write)
    for old in _numbered(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def newest(folder: Path) -> Path | None:
    """Return the newest weights of a run; None if none have been handed over."""
    found = _numbered(folder)
    return found[-1] if found else None


def read_handover(weights: Path) -> Handover:
    """Return what is known of weights.

    Raises:
        WeightsError: If the note cannot be read.
    """
    try:
        values = json.loads((weights / NOTE).read_text(encoding="utf-8"))
        loss = math.nan if values["validation_loss"] is None else float(values["validation_loss"])
        return Handover(**values | {"validation_loss": loss, "probe": tuple(map(float, values["probe"]))})
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise WeightsError(f"{weights / NOTE} cannot be read ({exc}). Wait for the next round's weights.") from exc


def check_probe(weights: Path, policy: Policy) -> None:
    """Compare the policy's answer to the picture with the trainer's.

    Raises:
        EngineError: If it is another.
        WeightsError: If note or picture cannot be read.
    """
    handover = read_handover(weights)
    try:
        pixels = decode_picture((weights / PROBE).read_bytes())
    except OSError as exc:
        raise WeightsError(f"{weights / PROBE} cannot be read ({exc}). Wait for the next round's weights.") from exc
    policy.reset()
    answer, _ = policy.decide(Frame(pixels, 0), untimed)
    expected: npt.NDArray[np.float64] = np.array(handover.probe)
    if answer.shape != expected.shape or not np.abs(answer - expected).max() <= TOLERANCE:
        raise EngineError(
            f"{policy.name} answers {np.round(answer, 3).tolist()} to the known picture of {weights}, expected "
            f"{np.round(expected, 3).tolist()}. Choose another --engine."
        )


def _numbered(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / WEIGHTS).glob("*") if path.name.isdigit())
