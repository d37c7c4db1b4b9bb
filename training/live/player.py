"""The player of a live training: takes new weights between two ticks, at a moment that costs nothing."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

import numpy as np

from agent.contract.observation import Frame
from agent.contract.preprocess import preprocess
from agent.contract.spec import WEIGHTS_FILE, ModelSpec
from agent.observers.base import TickRecord
from agent.policies.base import Decision, Policy, Section
from agent.policies.hot_swap import HotSwapPolicy
from training.live.handover import check_probe, newest

_log = logging.getLogger(__name__)

SMALL_BYTES = 10_000_000
"""Larger weights are loaded only while a person drives or the car is being freed.

Reading weights holds Python's global lock, and the loop with it. On two cores of an AMD EPYC, at most 17 ms at a time
for pilotnet (2 MB; 9 ms without loading, the same machine busy), and 48 ms for the full network (48 MB): more than a
period of 25 a second."""
LATEST_S = 30.0
"""Weights that are ready wait so long for a takeover or for a stuck car; then they take over all the same."""
_LOOK_S = 1.0

Now = Callable[[], float]


class Nobody:
    """Drives before there are weights: lets go of everything.

    Args:
        spec: Of the weights that will come.
    """

    name = "nobody"
    driver = "human"

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def reset(self) -> None:
        """Do nothing."""

    def decide(self, frame: Frame, section: Section) -> Decision:
        """Return neutral controls."""
        with section("preprocess"):
            observation = preprocess(frame, self.spec)
        with section("infer"):
            prediction = np.zeros(len(self.spec.outputs), np.float32)
        return Decision(prediction, observation)

    def close(self) -> None:
        """Do nothing."""


class Named:
    """A policy that is named by its round: ``policy:NAME-12``.

    Args:
        policy: What decides.
        weights: Its model folder, whose name is the round.
    """

    def __init__(self, policy: Policy, weights: Path) -> None:
        self._policy = policy
        self.folder = weights
        self.driver = f"{policy.driver}-{int(weights.name)}"

    @property
    def name(self) -> str:
        """The engine's name."""
        return self._policy.name

    @property
    def spec(self) -> ModelSpec:
        """The description of the weights."""
        return self._policy.spec

    def reset(self) -> None:
        """Begin an episode."""
        self._policy.reset()

    def decide(self, frame: Frame, section: Section) -> Decision:
        """Return the policy's decision."""
        return self._policy.decide(frame, section)

    def close(self) -> None:
        """Release its resources."""
        self._policy.close()


class Player:
    """Watches a drive, and has it take over new weights; an observer of the drive.

    Weights are loaded in a thread, checked (checksums, the answer to a known picture, a finite decision in time), and
    then take over at a moment when nothing depends on them: a person drives, a stuck car is being freed. Without such a
    moment, they take over after a while all the same: a swap is a change of reference between two ticks.

    Args:
        policy: Drives; starts with :class:`Nobody` or with older weights.
        folder: The run's.
        open_policy: Loads a folder of weights; raises ``AgentError``.
        now: Seconds.

    Attributes:
        round: Of the weights at the wheel; 0: none.
        since_s: When they took it.
    """

    def __init__(
        self,
        policy: HotSwapPolicy,
        folder: Path,
        open_policy: Callable[[Path], Policy],
        now: Now = time.monotonic,
    ) -> None:
        self.round = 0
        self.since_s = now()
        self._policy = policy
        self._folder = folder
        self._open = open_policy
        self._now = now
        self._looked_s = -_LOOK_S
        self._asked: Path | None = None  # loaded, or being loaded
        self._ready_s: float | None = None
        self._swaps = 0
        self._is_wanted = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def take_newest(self) -> None:
        """Have the newest weights take over as soon as they are loaded; may be called from any thread."""
        self._is_wanted = True

    def back(self) -> None:
        """Have the weights before drive again; may be called from any thread."""
        if not self._policy.back():
            _log.warning("there are no weights before these")

    def on_tick(self, record: TickRecord) -> None:
        """Look for new weights now and then, and let them take over."""
        self._notice_swap()
        is_safe = record.intervention or record.stuck == "recovering"
        if self._policy.is_ready:
            self._ready_s = self._now() if self._ready_s is None else self._ready_s
            if is_safe or self._is_wanted or self._now() - self._ready_s > LATEST_S:
                self._is_wanted = False
                self._policy.swap()
            return
        self._ready_s = None
        if self._now() - self._looked_s < _LOOK_S:
            return
        self._looked_s = self._now()
        found = newest(self._folder)
        if found is None or found == self._asked or self._policy.is_loading:
            return
        if is_safe or self._is_wanted or is_small(found):
            self._asked = found
            self._policy.load(lambda: self._load(found), "asked")

    def _load(self, weights: Path) -> Policy:
        policy = self._open(weights)
        try:
            check_probe(weights, policy)
        except Exception:
            with suppress(Exception):
                policy.close()
            raise
        return Named(policy, weights)

    def _notice_swap(self) -> None:
        if self._policy.swaps == self._swaps:
            return
        self._swaps = self._policy.swaps
        driving = self._policy.driver
        number = driving.rpartition("-")[2]
        self.round = int(number) if number.isdigit() else 0
        self.since_s = self._now()


def is_small(weights: Path) -> bool:
    """Return whether weights are loaded at any time; see :data:`SMALL_BYTES`."""
    try:
        return (weights / WEIGHTS_FILE).stat().st_size <= SMALL_BYTES
    except OSError:
        return False
