"""Side jobs of the loop (status line, recording, video) behind one interface."""

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from agent.contract.controls import Controls
from agent.contract.observation import Frame, Observation
from agent.engines.base import Prediction


@dataclass(frozen=True, slots=True)
class TickRecord:
    """Everything that happened in one pass of the loop.

    Attributes:
        index: Running number of the tick, from 0.
        frame: The frame that was acted on.
        observation: What the network saw.
        prediction: The network's raw outputs.
        controls: What was sent: clipped and arbitrated.
        latency_s: From the frame's capture to the controls sent, in seconds.
        sections_s: Seconds spent in each named section of the tick: capture, preprocess, infer, send.
        intervention: Whether the controls are a person's, who had taken over, and not the network's.
    """

    index: int
    frame: Frame
    observation: Observation
    prediction: Prediction
    controls: Controls
    latency_s: float
    sections_s: dict[str, float]
    intervention: bool = False


class TickObserver(Protocol):
    """Watches ticks; a context manager, closed when the drive ends for whatever reason."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def on_tick(self, record: TickRecord) -> None:
        """Look at one tick; must return quickly, never change what it is given."""
