"""A drive whose every decision an expert labels, whoever is at the wheel."""

from collections.abc import Callable, Iterator

import numpy as np

from agent.contract.controls import Controls
from agent.contract.episodes.columns import EpisodeRow
from agent.contract.observation import Frame
from agent.engines.base import Engine
from agent.games.base import Simulator
from agent.policies.base import untimed
from agent.policies.stacked import policy_for
from training.collecting.courses import Course, Labeller


def drive_and_label(
    course: Course,
    game: Simulator,
    expert: Labeller,
    disturbances: Iterator[Callable[[Controls], Controls]],
    write: Callable[[EpisodeRow], None],
    decisions: int,
    wheel: "SharedWheel | None" = None,
    until: Callable[[], bool] = lambda: False,
) -> None:
    """Drive one track in lockstep and hand on every row: the frame, the expert's controls, what was really executed.

    Args:
        course: How the game is driven.
        game: On its track.
        expert: Labels every decision; has planned the track.
        disturbances: Change the wanted controls on their way to the car.
        write: Takes each row, as long as controls have an effect.
        decisions: After so many the drive ends; the end of the lap ends it earlier.
        wheel: Who drives; None: the expert. In a mix of network and expert, ``intervention`` marks the expert's rows.
        until: Asked before every decision; true ends the drive.
    """
    period_s = 1.0 / course.profile.rate_hz
    for index in range(decisions):
        if game.state.outcome != "driving" or until():
            break
        frame = Frame(game.render(), captured_ns=round(index * period_s * 1e9), index=index)
        label = expert.decide()
        wanted, intervention = (label, False) if wheel is None else wheel.decide(frame, label)
        executed = next(disturbances)(wanted)
        state = game.state
        telemetry = state.telemetry | expert.telemetry()
        if state.in_control:
            write(EpisodeRow(frame, label, executed, state.speed, intervention, telemetry))
        game.advance(executed, course.hold_ticks)


class SharedWheel:
    """A network that drives, except for random stretches of one second that the expert drives."""

    def __init__(self, engine: Engine, expert_share: float, stretch: int, rng: np.random.Generator) -> None:
        self._network = policy_for(engine)  # a new one an episode, so that it remembers nothing of the last
        self._expert_share = expert_share
        self._stretch = stretch  # decisions a second
        self._rng = rng
        self._left = 0
        self._expert_drives = False

    def decide(self, frame: Frame, label: Controls) -> tuple[Controls, bool]:
        """Return what is wanted of the car, and whether the expert wants it."""
        if self._left == 0:
            self._left = self._stretch
            self._expert_drives = bool(self._rng.random() < self._expert_share)
        self._left -= 1
        sees_more = self._network.spec.stack is not None  # then it is shown what happens while the expert drives, too
        if self._expert_drives and not sees_more:
            return label, True
        prediction, _ = self._network.decide(frame, untimed)
        if self._expert_drives:
            return label, True
        return Controls.from_prediction(prediction, self._network.spec.output_names).clip().arbitrate(), False
