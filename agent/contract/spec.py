"""The description that travels with a set of weights: spec.json."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, Self

from agent.contract.controls import AXIS_BY_NAME, SIGNED_OUTPUTS, STANDARD_AXES, filled_axes
from agent.contract.errors import ControlsError, SpecError, WeightsError
from agent.contract.profile import Rectangle
from agent.contract.strict_json import check_keys, parse_list, parse_strictly
from agent.contract.untrusted import is_finite, is_plain_name, is_plain_text, read_plain_file

SPEC_FILE = "spec.json"
WEIGHTS_FILE = "weights.safetensors"
GRAPH_FILE = "network.onnx"
INT8_WEIGHTS_FILE = "weights-int8.safetensors"
INT8_GRAPH_FILE = "network-int8.onnx"
PROBE_FILE = "probe.png"

RESTORE = "Restore the folder (`git checkout model_weights`), or have `python -m training fit` write one again."
"""What to do about a damaged model folder."""
REWRITE_GRAPH = "Write the graph anew from its weights with `python -m training export`."
"""What to do about an unusable graph if the spec and the weights are intact."""
QUANTIZE = "Make int8 weights with `python -m training export --int8`, or use another engine."
"""What to do about missing or unusable int8 weights."""
MAX_SPEC_BYTES = 64_000
"""The largest spec.json that is read; one with every field is 2 KB."""
MAX_MODEL_BYTES = 1_000_000_000
"""The largest file beside the spec that is read; the weights of the shipped network have 48 MB."""
_MAX_DEPTH = 4  # the specification, a list in it, an entry of the list, and nothing deeper
_MAX_ENTRIES = 64  # outputs, or masks
MAX_STACK = 16
"""The most pictures in one observation."""
MAX_STACK_TICKS = 1000
"""The most ticks between two of them."""
_CHECKSUM = re.compile(r"[0-9a-f]{64}")
_REGION = re.compile(r"(?:-?[0-9]{1,10}(?:,-?[0-9]{1,10}){3})?")
PREPROCESSING = "halve-area-then-linear/1"
"""Version of :func:`agent.contract.preprocess.preprocess`. Weights trained with another version are refused."""
SLOWEST_HZ, FASTEST_HZ = 1.0, 1000.0
"""Control rates. Slower is no driving: the car is not looked after between two decisions."""


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """One head of the network: its name and the closed range of its label."""

    name: str
    low: float
    high: float

    def __post_init__(self) -> None:
        finite = is_finite(self.low) and is_finite(self.high)
        if not is_plain_text(self.name) or not finite or not self.low < self.high:
            raise SpecError(
                f"output {shortened(self.name)} has range [{shortened(self.low)}, {shortened(self.high)}], expected a "
                'name and two finite numbers, the lower first. Correct the entry under "outputs" in spec.json.'
            )


def outputs_named(names: Sequence[str]) -> tuple[OutputSpec, ...]:
    """Return outputs with these names, and with their ranges from the table of axes.

    Args:
        names: Of axes, or of :data:`agent.contract.controls.SIGNED_OUTPUTS`.

    Raises:
        SpecError: If there are no names, one is unknown, or two outputs move the same axis.
    """
    try:
        filled_axes(names)
    except ControlsError as exc:
        raise SpecError(str(exc)) from exc
    if not names:
        raise SpecError("there are no outputs, expected at least one.")
    return tuple(_output_named(name) for name in names)


def _output_named(name: str) -> OutputSpec:
    if name in SIGNED_OUTPUTS:
        above, below = (AXIS_BY_NAME[axis] for axis in SIGNED_OUTPUTS[name])
        return OutputSpec(name, -below.high, above.high)
    return OutputSpec(name, AXIS_BY_NAME[name].low, AXIS_BY_NAME[name].high)


STEERING_THROTTLE_BRAKE = outputs_named(STANDARD_AXES)


@dataclass(frozen=True, slots=True)
class Quantization:
    """What is known about the int8 weights beside the float weights.

    Attributes:
        pictures: Number of calibration pictures that the ranges were measured on.
        mean_deviation: By output: mean absolute difference from float32, on pictures not used for calibration.
        max_deviation: By output: the largest difference.
        probe: By output: the int8 network's answer to ``probe.png``, a picture from the recordings. An engine with
            another answer runs the network wrongly on this machine (saturating arithmetic, a fault of a runtime).
        driving: A comparison of int8 and float weights on the same tracks (``tracks``, ``first_mean``,
            ``second_mean``, ``difference``, and its 95 % interval ``low`` to ``high``). It is there only if they were
            found to drive equally well. Only then does the agent choose int8 by itself.
    """

    pictures: int
    mean_deviation: dict[str, float]
    max_deviation: dict[str, float]
    probe: dict[str, float]
    driving: dict[str, float] | None = None

    def check(self, names: tuple[str, ...]) -> None:
        """Refuse values that are not finite, or not for exactly these outputs.

        Raises:
            SpecError: Naming the field.
        """
        if type(self.pictures) is not int or self.pictures < 1:
            raise SpecError(f"quantization.pictures is {shortened(self.pictures)}, expected a count. {QUANTIZE}")
        for key in ("mean_deviation", "max_deviation", "probe"):
            values = getattr(self, key)
            if not _are_finite(values) or set(values) != set(names):
                raise SpecError(
                    f"quantization.{key} is {shortened(values)}, expected one finite number for each of "
                    f"{', '.join(names)}. {QUANTIZE}"
                )
        if self.driving is not None and not _are_finite(self.driving):
            raise SpecError(
                f"quantization.driving is {shortened(self.driving)}, expected finite numbers by name. {QUANTIZE}"
            )


@dataclass(frozen=True, slots=True)
class Stack:
    """Several pictures as one observation, so that a network sees motion.

    The observation has three channels for each picture, the oldest first.

    Attributes:
        pictures: How many, the newest included.
        every_ticks: Ticks between two pictures, at the weights' own rate: 2 ticks at 25 a second are 80 ms.
    """

    pictures: int
    every_ticks: int = 1

    def __post_init__(self) -> None:
        for name, least, most in (("pictures", 2, MAX_STACK), ("every_ticks", 1, MAX_STACK_TICKS)):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise SpecError(f"stack.{name} is {shortened(value)}, expected a whole number from {least} to {most}.")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The facts needed to feed a network and to read its outputs.

    Attributes:
        name: Folder name of the model, such as ``carracing``.
        backbone: Name of the network's body, such as ``xception``.
        game: The game profile the weights were trained on.
        width_px: Width of the observation.
        height_px: Height of the observation.
        rate_hz: Control rate the demonstrations were recorded at, :data:`SLOWEST_HZ` to :data:`FASTEST_HZ`; the default
            of ``drive``.
        outputs: The heads, in the order the network returns them.
        masks: Parts of the frame painted black before the network sees it, as fractions of the frame.
        preprocessing: Version of the preprocessing the weights were trained with.
        sha256: Checksum (hexadecimal) by file name, of every file that is loaded beside the spec.
        quantization: What is known about the int8 weights; None without int8 weights.
        stack: Which pictures the network sees at once; None if it sees only the newest.
        region: Part of the window that was captured for training, as ``left,top,width,height`` in pixels; empty for all
            of it, None if unknown.
    """

    name: str
    backbone: str
    game: str
    width_px: int = 480
    height_px: int = 270
    rate_hz: float = 25.0
    outputs: tuple[OutputSpec, ...] = STEERING_THROTTLE_BRAKE
    masks: tuple[Rectangle, ...] = ()
    preprocessing: str = PREPROCESSING
    sha256: dict[str, str] = field(default_factory=dict)
    quantization: Quantization | None = None
    stack: Stack | None = None
    region: str | None = None

    def __post_init__(self) -> None:
        for name in ("name", "backbone", "game"):
            value = getattr(self, name)
            if not is_plain_text(value):
                raise SpecError(f"{name} is {shortened(value)}, expected a text of 1 to 100 printable characters.")
        for name in ("width_px", "height_px"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= 8192:
                raise SpecError(f"{name} is {shortened(value)}, expected a whole number of pixels from 1 to 8192.")
        if type(self.rate_hz) not in (int, float) or not (SLOWEST_HZ <= self.rate_hz <= FASTEST_HZ):
            expected = f"a number from {SLOWEST_HZ:g} to {FASTEST_HZ:g}"
            raise SpecError(f"rate_hz is {shortened(self.rate_hz)}, expected {expected}.")
        if not self.outputs or len({output.name for output in self.outputs}) != len(self.outputs):
            raise SpecError("outputs is empty or names one output twice, expected at least one, each named once.")
        if self.region is not None and not (isinstance(self.region, str) and _REGION.fullmatch(self.region)):
            raise SpecError(f"region is {shortened(self.region)}, expected left,top,width,height or an empty text.")
        if self.preprocessing != PREPROCESSING:
            raise SpecError(
                f"the weights want preprocessing {shortened(self.preprocessing)}, this version has {PREPROCESSING!r}. "
                "Install the version that made the weights, or train others with `python -m training fit`."
            )
        if not isinstance(self.sha256, dict):
            raise SpecError(f"sha256 is {shortened(self.sha256)}, expected one hexadecimal checksum by file name.")
        for name, checksum in self.sha256.items():
            if not is_plain_name(name) or not isinstance(checksum, str) or not _CHECKSUM.fullmatch(checksum):
                raise SpecError(
                    f"sha256 has {shortened(checksum)} for {shortened(name)}, expected 64 hexadecimal digits for the "
                    "plain name of a file beside the spec."
                )
        if self.quantization is not None:
            self.quantization.check(self.output_names)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the heads in order."""
        return tuple(output.name for output in self.outputs)

    @property
    def pictures(self) -> int:
        """How many pictures the network sees at once."""
        return 1 if self.stack is None else self.stack.pictures

    @property
    def observation_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the network's input; three channels for each picture."""
        return self.height_px, self.width_px, 3 * self.pictures

    def check_can_drive(self, axes: Sequence[str]) -> None:
        """Refuse a network with an output that is not an axis, or not an axis of the game.

        Args:
            axes: The axes of the game's car, see :class:`agent.contract.profile.GameProfile`.

        Raises:
            SpecError: If an output cannot be used; the message names it.
        """
        said = f"the weights predict {', '.join(self.output_names)}"
        try:
            fits = self.outputs == outputs_named(self.output_names)
        except SpecError as exc:
            raise SpecError(f"{said}: {exc} Pass a model that drives with --weights.") from exc
        if not fits:
            raise SpecError(
                f"{said} in other ranges than {', '.join(STANDARD_AXES)} and the further axes have here, expected "
                "those. Pass a model that drives with --weights."
            )
        for name in filled_axes(self.output_names):
            if name not in axes and name not in STANDARD_AXES:
                raise SpecError(
                    f"{said}, and the game has no {name}, expected its place in the game's profile. Add it there "
                    f'under [pad], such as `{name} = "button_a"`, or under [keys].'
                )

    def to_json(self) -> str:
        """Return the text of spec.json; without a stack and a region, older versions of this project can read it."""
        raw = asdict(self)
        for name in ("stack", "region"):
            if raw[name] is None:
                del raw[name]
        return json.dumps(raw, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse the text of spec.json.

        Raises:
            SpecError: If the text is not JSON; if a key is missing, unknown or repeated; or if a value has the wrong
                type or is out of range.
        """
        try:
            return cls._from_raw(parse_strictly(text, _MAX_DEPTH))
        except ValueError as exc:
            raise SpecError(f"{exc}. {RESTORE}") from exc

    @classmethod
    def _from_raw(cls, raw: Any) -> Self:
        if isinstance(raw, dict):
            raw.setdefault("quantization", None)  # older versions without int8 weights did not write it
            for name in ("stack", "region"):
                raw.setdefault(name, None)  # left out for a model without it
        check_keys(cls, raw, "the specification")
        quantization = None
        if raw["quantization"] is not None:
            check_keys(Quantization, raw["quantization"], "quantization")
            quantization = Quantization(**raw["quantization"])
        stack = None
        if raw["stack"] is not None:
            check_keys(Stack, raw["stack"], "stack")
            stack = Stack(**raw["stack"])
        outputs = parse_list(OutputSpec, raw["outputs"], "outputs", _MAX_ENTRIES)
        masks = parse_list(Rectangle, raw["masks"], "masks", _MAX_ENTRIES)
        return cls(**{**raw, "outputs": outputs, "masks": masks, "quantization": quantization, "stack": stack})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read ``folder/spec.json``.

        Raises:
            SpecError: If the file is missing, unreadable or inconsistent; the message names the file.
        """
        path = folder / SPEC_FILE
        try:
            text = read_plain_file(path, MAX_SPEC_BYTES).decode("utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            found = f"{path} cannot be read ({exc})" if path.exists() else f"there is no {path}"
            raise SpecError(
                f"{found}, expected a model folder with {SPEC_FILE}, {WEIGHTS_FILE} and {GRAPH_FILE}. Pass one with "
                "--weights, such as RUN/best of a training."
            ) from exc
        try:
            return cls.from_json(text)
        except SpecError as exc:
            raise SpecError(f"{path}: {exc}") from exc

    def read_file(self, folder: Path, name: str, most_bytes: int = MAX_MODEL_BYTES) -> bytes:
        """Return the content of a file beside the spec, once it has matched its stored checksum.

        Callers must use these bytes and not read the file again: it may have been replaced since.

        Raises:
            WeightsError: If the file is missing, lies elsewhere, is larger than ``most_bytes``, is not listed in the
                spec, or differs from its checksum.
        """
        path = folder / name
        if path.resolve().parent != folder.resolve():
            raise WeightsError(
                f"{path} leads to {path.resolve()}, expected a file in the model's own folder. Copy it there, or pass "
                "the folder that it is in with --weights."
            )
        expected = self.sha256.get(name)
        if expected is None:
            raise WeightsError(f"{folder / SPEC_FILE} lists no checksum for {name}. {RESTORE}")
        try:
            content = read_plain_file(path, most_bytes)
        except OSError as exc:
            raise WeightsError(
                f"{path} cannot be read ({exc.strerror or exc}), expected the file that {SPEC_FILE} describes. "
                "Restore the folder (`git checkout model_weights`) or pass another with --weights."
            ) from exc
        actual = hashlib.sha256(content).hexdigest()
        if actual != expected:
            raise WeightsError(
                f"{path} has SHA-256 {actual[:12]}…, {SPEC_FILE} says {expected[:12]}…: the file is truncated, "
                f"changed, or from another export. {RESTORE}"
            )
        return content

    def verify_files(self, folder: Path, *names: str) -> None:
        """Check files beside the spec against their stored checksums.

        Raises:
            WeightsError: As ``read_file``.
        """
        for name in names:
            self.read_file(folder, name)


def _are_finite(values: object) -> bool:
    return isinstance(values, dict) and all(is_finite(value) for value in values.values())
