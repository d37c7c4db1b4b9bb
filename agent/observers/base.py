"""The interface of observers: side jobs of the loop such as status line, recording and video."""

from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar, Literal, Protocol, Self

from agent.contract.controls import STANDARD_AXES, Controls
from agent.contract.observation import Frame, Observation
from agent.engines.base import Prediction

StuckState = Literal["free", "recovering", "given_up"]
"""State of a stuck car: ``recovering`` while it is being freed, ``given_up`` after all attempts have failed."""


@dataclass(frozen=True, slots=True)
class DrivenTick:
    """A pass of the loop whose decision was sent.

    Attributes:
        kind: ``driven``.
        index: Running number of the tick, from 0.
        frame: The frame of the decision.
        observation: The policy's input, in the form of a network's input.
        prediction: The policy's raw outputs.
        controls: The controls sent: clipped and arbitrated.
        latency_s: From the frame's capture to the controls sent, in seconds.
        sections_s: Seconds spent in each named section of the tick: capture, preprocess, infer, send.
        started_ns: When the tick began, on the pacer's clock.
        intervention: Whether the controls come from a person who has taken over, not from the policy.
        stuck: Whether the car is stuck; None if nothing watches for it.
        outputs: Names of the prediction's numbers, in their order.
    """

    index: int
    frame: Frame
    observation: Observation
    prediction: Prediction
    controls: Controls
    latency_s: float
    sections_s: dict[str, float]
    started_ns: int
    intervention: bool = False
    stuck: StuckState | None = None
    outputs: tuple[str, ...] = STANDARD_AXES
    kind: ClassVar[Literal["driven"]] = "driven"


@dataclass(frozen=True, slots=True)
class LateTick:
    """A pass of the loop whose decision came too late to be sent: controls were neutral, or a person's.

    Attributes:
        kind: ``late``.
        age_s: Age of the picture when the decision was made, in seconds.
        index, frame, observation, prediction, controls, sections_s, started_ns, intervention, stuck: As in
            :class:`DrivenTick`; the prediction was not sent.
    """

    index: int
    frame: Frame
    observation: Observation
    prediction: Prediction
    controls: Controls
    age_s: float
    sections_s: dict[str, float]
    started_ns: int
    intervention: bool = False
    stuck: StuckState | None = None
    kind: ClassVar[Literal["late"]] = "late"


@dataclass(frozen=True, slots=True)
class BlindTick:
    """A pass of the loop without a usable picture: controls were neutral, or a person's.

    Attributes:
        kind: ``blind``.
        reason: Why there was no picture, in one line.
        index, controls, sections_s, started_ns, intervention, stuck: As in :class:`DrivenTick`.
    """

    index: int
    reason: str
    controls: Controls
    sections_s: dict[str, float]
    started_ns: int
    intervention: bool = False
    stuck: StuckState | None = None
    kind: ClassVar[Literal["blind"]] = "blind"


TickRecord = DrivenTick | LateTick | BlindTick
"""Everything that happened in one pass of the loop; ``kind`` says which kind of pass it was."""


class TickObserver(Protocol):
    """Watches ticks; a context manager, closed when the drive ends for whatever reason."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def on_tick(self, record: TickRecord) -> None:
        """Look at one tick of any kind; must return quickly and must not change the record."""
