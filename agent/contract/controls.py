"""The table of axes: what a driver can do, in which ranges, and which pedal wins.

:class:`Controls` is the table. Each field is an axis and states its range, its neutral value and its relation to the
other axes. Everything else is derived from it: clipping, arbitration, the guard's messages, the shared memory of a
real-time game, an episode's columns, the bars in films, the status line, the training's labels, and the signs that a
mirrored picture changes. To add an axis, add a field at the end. No other code has to change; a game's profile says
which button, trigger or key moves it.

A network need not have an output for every axis, and one output may drive two axes: see :data:`SIGNED_OUTPUTS`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Self

from agent.contract.errors import ControlsError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Axis:
    """A row of the table.

    Attributes:
        name: The field of :class:`Controls`.
        low: Lowest value once clipped.
        high: Highest value once clipped.
        neutral: The value while the driver does nothing, and the value if a network has no output for the axis.
        yields_to: The axis that must not be pressed at the same time as this one. The weaker of the two is released; if
            they are equal, this one is released. Empty if there is no such axis.
        mirrored: Whether its sign changes when left and right swap.
        standard: Whether every game and every episode has it. Other axes exist only in games whose profile maps them.
    """

    name: str
    low: float
    high: float
    neutral: float
    yields_to: str
    mirrored: bool
    standard: bool

    def share(self, value: float) -> float:
        """Return how far a value is from neutral, as a share of the way to the end of the range: [-1, 1]."""
        value = min(self.high, max(self.low, value))
        if value == self.neutral:
            return 0.0
        end = self.high if value > self.neutral else self.low
        return (value - self.neutral) / abs(end - self.neutral)

    def value_at(self, share: float) -> float:
        """Return the value at this share of the way from neutral to the end of the range; reverses :meth:`share`."""
        end = self.high if share > 0 else self.low
        return self.neutral + share * abs(end - self.neutral)


def _axis(
    low: float,
    high: float,
    neutral: float = 0.0,
    *,
    yields_to: str = "",
    mirrored: bool = False,
    standard: bool = False,
) -> Any:
    about = {
        "low": low,
        "high": high,
        "neutral": neutral,
        "yields_to": yields_to,
        "mirrored": mirrored,
        "standard": standard,
    }
    return field(default=neutral, metadata=about)


@dataclass(frozen=True, slots=True)
class Controls:
    """What the driver does at one moment.

    Axes keep their order. A new axis comes last and is neutral by default, so ``Controls(0.1, 0.5, 0.0)`` still means
    steering, throttle and brake.

    Attributes:
        steering: [-1, 1] once clipped; negative is left.
        throttle: [0, 1] once clipped.
        brake: [0, 1] once clipped.
        handbrake: [0, 1] once clipped; for games that have one.

    Raises:
        ControlsError: If a value is NaN or infinite.
    """

    steering: float = _axis(-1.0, 1.0, mirrored=True, standard=True)
    throttle: float = _axis(0.0, 1.0, yields_to="brake", standard=True)
    brake: float = _axis(0.0, 1.0, standard=True)
    handbrake: float = _axis(0.0, 1.0)

    def __post_init__(self) -> None:
        if math.isfinite(sum(_values_of(self))):  # runs several times a tick; checking each value takes twice as long
            return
        for name, value in zip(AXIS_NAMES, _values_of(self), strict=True):
            if not math.isfinite(value):
                raise _not_finite(name, value)

    @property
    def values(self) -> tuple[float, ...]:
        """The value of every axis, in the order of the table: ``Controls(*controls.values) == controls``."""
        return _values_of(self)

    @property
    def deflection(self) -> float:
        """The largest distance of any axis from its neutral value."""
        return max(abs(value - neutral) for value, neutral in zip(_values_of(self), _NEUTRALS, strict=True))

    def clip(self) -> Self:
        """Return the controls inside their ranges; the only place where this happens."""
        return type(self)(
            *[
                low if value <= low else min(high, value)
                for value, low, high in zip(_values_of(self), _LOWS, _HIGHS)  # noqa: B905
            ]
        )

    def arbitrate(self) -> Self:
        """Release the weaker pedal; the only place where this happens.

        Three separate regression heads sometimes press throttle and brake together, which wastes grip. So the stronger
        pedal keeps its value and the other is released; the brake wins a tie.
        """
        values = [*_values_of(self)]
        for yielding, other in _YIELDING:
            if values[yielding] > values[other]:
                values[other] = _NEUTRALS[other]
            else:
                values[yielding] = _NEUTRALS[yielding]
        return type(self)(*values)

    @classmethod
    def from_prediction(
        cls, values: "Sequence[float] | npt.NDArray[np.floating]", outputs: Sequence[str] | None = None
    ) -> Self:
        """Build unclipped controls from a network's outputs; axes without an output are neutral.

        Args:
            values: One number for each output.
            outputs: Their names, of axes or of :data:`SIGNED_OUTPUTS`; None for the standard axes.

        Raises:
            ControlsError: If the number of values is wrong, or a value is NaN or infinite.
        """
        import numpy as np  # every command's --help needs this table, and importing NumPy takes 0.3 s

        names = STANDARD_AXES if outputs is None else outputs
        if np.shape(values) != (len(names),):
            raise ControlsError(
                f"the network returned values of shape {np.shape(values)}, expected ({len(names)},): "
                f"{', '.join(names)}. The weights belong to another model; pass the matching folder with --weights."
            )
        if names == STANDARD_AXES:  # runs once a tick; this way is three times as fast
            return cls(*map(float, values))
        filled: dict[str, float] = {}
        for name, value in zip(names, map(float, values), strict=True):
            if name in SIGNED_OUTPUTS:
                if not math.isfinite(value):  # max() would turn NaN into 0
                    raise _not_finite(name, value)
                above, below = SIGNED_OUTPUTS[name]
                filled[above], filled[below] = max(0.0, value), max(0.0, -value)
            else:
                filled[name] = value
        return cls(**filled)

    def to_array(self, outputs: Sequence[str] | None = None) -> "npt.NDArray[np.float32]":
        """Return the network outputs that give these controls: float32, shape (len(outputs),).

        Args:
            outputs: Names of axes or of :data:`SIGNED_OUTPUTS`; None for the standard axes.
        """
        import numpy as np

        if outputs is None:
            return np.array(_standard_of(self), np.float32)
        return np.array([self._output(name) for name in outputs], np.float32)

    def _output(self, name: str) -> float:
        if name in SIGNED_OUTPUTS:
            above, below = SIGNED_OUTPUTS[name]
            return float(getattr(self, above) - getattr(self, below))
        return float(getattr(self, name))


def _not_finite(name: str, value: float) -> ControlsError:
    return ControlsError(
        f"{name} is {value}, expected a finite number: the network's output is unusable. Check the weights with "
        "`python -m agent replay`."
    )


AXES: tuple[Axis, ...] = tuple(Axis(entry.name, **entry.metadata) for entry in fields(Controls))
"""The table: one row for each field of :class:`Controls`, in the order of the fields."""

STRAIGHT = 0.05
"""Steering that deflects less than this is straight on; more is a bend."""

AXIS_BY_NAME: dict[str, Axis] = {axis.name: axis for axis in AXES}

AXIS_NAMES: tuple[str, ...] = tuple(axis.name for axis in AXES)

STANDARD_AXES: tuple[str, ...] = tuple(axis.name for axis in AXES if axis.standard)
"""The axes that every game and every episode has: steering, throttle, brake."""

YIELDING_AXES: tuple[tuple[str, str], ...] = tuple((axis.name, axis.yields_to) for axis in AXES if axis.yields_to)
"""Pairs of axes; :meth:`Controls.arbitrate` releases one of each pair. Today: throttle and brake."""

MIRRORED_AXES: frozenset[str] = frozenset(axis.name for axis in AXES if axis.mirrored)
"""The axes whose sign changes when left and right swap."""

SIGNED_OUTPUTS: dict[str, tuple[str, str]] = {"pedal": ("throttle", "brake")}
"""Network outputs that stand for two axes: a positive value presses the first axis, a negative value the second.

Such a pedal cannot press both axes at once."""

# In the order of the table; kept as tuples because they are used several times a tick.
_values_of: Callable[[Controls], tuple[float, ...]] = attrgetter(*AXIS_NAMES)
_standard_of: Any = attrgetter(*STANDARD_AXES)
_LOWS = tuple(axis.low for axis in AXES)
_HIGHS = tuple(axis.high for axis in AXES)
_NEUTRALS = tuple(axis.neutral for axis in AXES)
_YIELDING = tuple((AXIS_NAMES.index(name), AXIS_NAMES.index(other)) for name, other in YIELDING_AXES)


def filled_axes(outputs: Sequence[str]) -> tuple[str, ...]:
    """Return the axes that a network with these outputs moves, in the order of its outputs.

    Args:
        outputs: Names of axes or of :data:`SIGNED_OUTPUTS`.

    Raises:
        ControlsError: If an output is unknown, or two outputs move the same axis.
    """
    filled: list[str] = []
    for name in outputs:
        filled += SIGNED_OUTPUTS.get(name, (name,))
    unknown = [name for name in filled if name not in AXIS_NAMES]
    if unknown or len(set(filled)) < len(filled):
        twice = next((name for name in filled if filled.count(name) > 1), "")
        found = f"there is no axis {unknown[0]!r}" if unknown else f"two outputs move the {twice}"
        raise ControlsError(f"{found}, expected {', '.join((*AXIS_NAMES, *SIGNED_OUTPUTS))}, and each axis once.")
    return tuple(filled)


def with_standard_axes(axes: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the standard axes and of the given ones, each once, in the order of the table."""
    return tuple(axis.name for axis in AXES if axis.standard or axis.name in axes)


NEUTRAL = Controls()
"""Wheel centred, both pedals released."""
