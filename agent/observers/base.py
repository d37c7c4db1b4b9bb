"""Side jobs of the loop (status line, recording, video) behind one interface."""

from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar, Literal, Protocol, Self

from agent.contract.controls import STANDARD_AXES, Controls
from agent.contract.observation import Frame, Observation
from agent.engines.base import Prediction

StuckState = Literal["free", "recovering", "given_up"]
"""Whether a car gets on: ``recovering`` while it is being brought off, ``given_up`` while nothing helped."""


@dataclass(frozen=True, slots=True)
class DrivenTick:
    """A pass of the loop whose decision was sent.

    Attributes:
        kind: ``driven``.
        index: Running number of the tick, from 0.
        frame: The frame that was acted on.
        observation: What the policy saw, as a network gets it.
        prediction: The policy's raw outputs.
        controls: What was sent: clipped and arbitrated.
        latency_s: From the frame's capture to the controls sent, in seconds.
        sections_s: Seconds spent in each named section of the tick: capture, preprocess, infer, send.
        started_ns: When the tick began, on the pacer's clock.
        intervention: Whether the controls are a person's, who had taken over, and not the policy's.
        stuck: Whether the car gets on; None where nothing watches.
        outputs: What the prediction's numbers are, in their order.
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
        age_s: Age of the picture when the decision was there, in seconds.
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
    """A pass of the loop without a picture to drive by: controls were neutral, or a person's.

    Attributes:
        kind: ``blind``.
        reason: Why there was none, in a line.
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
"""Everything that happened in one pass of the loop; ``kind`` says which of them it is."""


class TickObserver(Protocol):
    """Watches ticks; a context manager, closed when the drive ends for whatever reason."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def on_tick(self, record: TickRecord) -> None:
        """Look at one tick, of whatever kind; must return quickly, never change what it is given."""
