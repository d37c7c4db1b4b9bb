"""Policies: what each makes of a picture, with fakes."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import cv2
import numpy as np
import pytest

from agent.contract.controls import Controls
from agent.contract.observation import Frame, Observation
from agent.contract.profile import Stuck as StuckRule
from agent.contract.spec import ModelSpec, Stack
from agent.controllers.memory import MemoryController
from agent.driving.loop import drive
from agent.driving.stuck import StuckWatch
from agent.engines.base import Prediction
from agent.policies.base import Decision, Section, untimed
from agent.policies.network import NetworkPolicy
from agent.policies.stacked import StackedPolicy, policy_for
from agent.system.pacing import Pacer, VirtualClock

SPEC = ModelSpec("tiny", "none", "carracing", width_px=6, height_px=4)


class RememberingEngine:
    """Keeps what it sees and always predicts the same."""

    name = "remembering"

    def __init__(self, spec: ModelSpec = SPEC) -> None:
        self.spec = spec
        self.seen: list[Observation] = []
        self.closed = 0

    def infer(self, observation: Observation) -> Prediction:
        self.seen.append(observation)
        return np.array((0.1, 0.2, 0.3), np.float32)

    def close(self) -> None:
        self.closed += 1


def picture(value: int, captured_ns: int = 0, index: int = 0) -> Frame:
    return Frame(np.full((8, 12, 3), value, np.uint8), captured_ns, index)


def test_a_network_gets_the_preprocessed_picture_and_its_stages_are_timed() -> None:
    engine, stages = RememberingEngine(), []

    def section(name: str) -> AbstractContextManager[object]:
        stages.append((name, len(engine.seen)))
        return nullcontext()

    policy = NetworkPolicy(engine)
    pixels = np.zeros((8, 12, 3), np.uint8)
    pixels[:, :, 2] = 200  # red, in BGR
    decision = policy.decide(Frame(pixels, 0), section)
    assert decision.prediction.tolist() == np.array((0.1, 0.2, 0.3), np.float32).tolist()
    assert decision.observation is engine.seen[0]
    assert np.array_equal(decision.observation, np.full((4, 6, 3), (200, 0, 0)))
    assert stages == [("preprocess", 0), ("infer", 0)]
    assert (policy.name, policy.driver, policy.spec) == ("remembering", "policy:tiny", SPEC)
    policy.close()
    assert engine.closed == 1


class Flicker:
    """A frame source whose every picture is another, unless it is told what to show."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.reads = 0
        self.shown: int | None = None

    def __enter__(self) -> "Flicker":
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def read(self) -> Frame:
        self.reads += 1
        return picture(self.reads if self.shown is None else self.shown, self._clock(), self.reads)


def test_the_loop_drives_by_any_policy_and_tells_it_when_an_episode_begins() -> None:
    class Counting:
        """Steers by how many pictures it saw since the episode began: no engine, no network."""

        name, driver, spec = "counting", "program", SPEC
        resets = seen = 0

        def reset(self) -> None:
            self.resets += 1
            self.seen = 0

        def decide(self, frame: Frame, section: Section) -> Decision:
            self.seen += 1
            return Decision(np.array((self.seen / 10, 0, 0), np.float32), cv2.resize(frame.pixels, (6, 4)))

        def close(self) -> None:
            pass

    policy = Counting()
    for episode in (1, 2):
        clock = VirtualClock()
        source, controller, pacer = Flicker(clock), MemoryController(), Pacer(0.04, clock, clock.sleep)
        drive(source, controller, policy, pacer, until=lambda: source.reads == 3)  # noqa: B023
        assert [round(sent.steering, 3) for sent in controller.sent] == [0.1, 0.2, 0.3, 0.0]
        assert policy.resets == episode


def test_nothing_is_timed_unless_asked() -> None:
    with untimed("infer") as nothing:
        assert nothing is None
    assert NetworkPolicy(RememberingEngine()).decide(picture(3), untimed).observation.max() == 3
    assert Controls.from_prediction(NetworkPolicy(RememberingEngine()).decide(picture(0), untimed).prediction)


STACKED = ModelSpec("tiny", "none", "carracing", width_px=6, height_px=4, rate_hz=25.0, stack=Stack(3, every_ticks=2))


def seen_by_a_stack(frames: Iterable[Frame]) -> list[list[int]]:
    """Return which pictures the network saw at each tick, the oldest first."""
    engine = RememberingEngine(STACKED)
    policy = StackedPolicy(engine)
    for frame in frames:
        decision = policy.decide(frame, untimed)
        assert decision.observation is engine.seen[-1]
        assert decision.observation.shape == STACKED.observation_shape == (4, 6, 9)
        assert decision.observation.flags.c_contiguous
    return [[int(observation[0, 0, 3 * place]) for place in range(3)] for observation in engine.seen]


def at(tick: float) -> int:
    return round(tick * 40_000_000)


def test_every_second_picture_is_stacked_and_the_first_stands_in_for_those_before_it() -> None:
    frames = [picture(10 + tick, at(tick), tick) for tick in range(7)]
    assert seen_by_a_stack(frames) == [
        [10, 10, 10],
        [10, 10, 11],
        [10, 10, 12],
        [10, 11, 13],
        [10, 12, 14],
        [11, 13, 15],
        [12, 14, 16],
    ]


def test_pictures_are_stacked_by_their_age_where_ticks_were_missed_or_come_at_another_rate() -> None:
    missed = [picture(tick, at(tick)) for tick in (0, 1, 2, 3, 6, 7)]
    assert seen_by_a_stack(missed)[-2:] == [[2, 3, 6], [3, 6, 7]]
    slower = [picture(tick, at(tick)) for tick in range(0, 20, 2)]  # at half the rate every picture is one of the stack
    assert seen_by_a_stack(slower)[-1] == [14, 16, 18]
    jittered = [picture(tick, at(tick + (tick % 2) * 0.2)) for tick in range(9)]
    assert seen_by_a_stack(jittered)[-1] == [4, 6, 8]


def test_the_same_picture_again_counts_once_and_a_gap_leaves_nothing_old() -> None:
    repeated = [picture(tick, at(tick)) for tick in (0, 1, 2, 2, 2, 3, 4)]
    assert seen_by_a_stack(repeated)[-1] == [0, 2, 4]
    gap = [picture(tick, at(tick)) for tick in (0, 1, 2, 3, 4, 50, 51, 52)]
    assert seen_by_a_stack(gap)[-3:] == [[50, 50, 50], [50, 50, 51], [50, 50, 52]]


def test_an_episode_begins_without_the_pictures_of_the_last() -> None:
    engine = RememberingEngine(STACKED)
    policy = StackedPolicy(engine)
    for episode in (1, 2):
        policy.reset()
        clock = VirtualClock()
        source, pacer = Flicker(clock), Pacer(0.04, clock, clock.sleep)
        drive(source, MemoryController(), policy, pacer, until=lambda: source.reads == 5)  # noqa: B023
        stacks = [[int(seen[0, 0, 3 * place]) for place in range(3)] for seen in engine.seen[5 * episode - 5 :]]
        assert stacks == [[1, 1, 1], [1, 1, 2], [1, 1, 3], [1, 2, 4], [1, 3, 5]]


def test_a_stuck_car_is_seen_by_the_newest_of_the_stacked_pictures() -> None:
    clock = VirtualClock()
    source, pacer = Flicker(clock), Pacer(0.04, clock, clock.sleep)
    source.shown = 7  # the picture never changes
    stuck = StuckWatch(StuckRule("wait", after_s=1.0, for_s=0.5))
    policy = StackedPolicy(RememberingEngine(STACKED))
    drive(source, MemoryController(), policy, pacer, until=lambda: source.reads == 50, stuck=stuck)
    assert stuck.events == 1


def test_a_policy_is_made_for_what_the_network_sees() -> None:
    assert isinstance(policy_for(RememberingEngine(STACKED)), StackedPolicy)
    assert isinstance(policy_for(RememberingEngine(SPEC)), NetworkPolicy)
    with pytest.raises(ValueError, match="sees one picture at a time"):
        StackedPolicy(RememberingEngine(SPEC))
    with pytest.raises(ValueError, match="sees 3 pictures at once"):
        NetworkPolicy(RememberingEngine(STACKED))
