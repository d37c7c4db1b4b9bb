"""A recorded drive, driven again."""

import numpy as np

from agent.contract.controls import AXIS_NAMES
from agent.contract.episodes.reading import Episode
from agent.contract.observation import Frame
from agent.contract.preprocess import preprocess
from agent.contract.spec import FASTEST_HZ, SLOWEST_HZ, ModelSpec, outputs_named
from agent.policies.base import Decision, Section


class ReplayedPolicy:
    """Repeats the recorded controls at the same times after the start; the picture is not used.

    In lockstep, on the recorded track and at the same rate, this gives the same drive again. Elsewhere the car soon
    drifts away, because nothing corrects it. Once the recording is over, controls are neutral.

    Args:
        episode: The recording. The controls really sent are repeated, not the labels.

    Raises:
        ValueError: If the episode has no rows.
    """

    def __init__(self, episode: Episode) -> None:
        if not len(episode):
            raise ValueError(f"{episode.path} has no rows, expected a drive.")
        header = episode.header
        known = [place for place, axis in enumerate(header.axes) if axis in AXIS_NAMES]
        self._executed = episode.executed[:, known]
        self._since_start_ns = episode.captured_ns - episode.captured_ns[0]
        self._tolerance_ns = round(0.5e9 / header.rate_hz)  # half a tick: no two live drives tick at the same moments
        self._spec = ModelSpec(
            name=episode.path.stem[:100],
            backbone="none",
            game=header.game,
            rate_hz=min(FASTEST_HZ, max(SLOWEST_HZ, header.rate_hz)),
            outputs=outputs_named([header.axes[place] for place in known]),
        )
        self._start_ns: int | None = None
        self._finished = False

    @property
    def name(self) -> str:
        """``replayed``."""
        return "replayed"

    @property
    def driver(self) -> str:
        """``replayed:`` and the name of the episode."""
        return f"replayed:{self._spec.name}"

    @property
    def spec(self) -> ModelSpec:
        """A spec with the recording's rate and outputs, and an observation of the usual size."""
        return self._spec

    @property
    def finished(self) -> bool:
        """Whether the recording is over."""
        return self._finished

    def reset(self) -> None:
        """Begin again; the recording's start is the next frame."""
        self._start_ns = None
        self._finished = False

    def decide(self, frame: Frame, section: Section) -> Decision:
        with section("preprocess"):
            observation = preprocess(frame, self._spec)
        with section("infer"):
            if self._start_ns is None:
                self._start_ns = frame.captured_ns
            since_ns = frame.captured_ns - self._start_ns + self._tolerance_ns
            row = int(np.searchsorted(self._since_start_ns, since_ns, side="right")) - 1
            self._finished = since_ns > self._since_start_ns[-1] + 2 * self._tolerance_ns
            prediction = np.zeros_like(self._executed[0]) if self._finished else self._executed[row].copy()
        return Decision(prediction, observation)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
