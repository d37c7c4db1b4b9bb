"""Policies: what each makes of a picture, with fakes."""

from contextlib import AbstractContextManager, nullcontext

import cv2
import numpy as np

from agent.contract.controls import Controls
from agent.contract.observation import Frame, Observation
from agent.contract.spec import ModelSpec
from agent.controllers.memory import MemoryController
from agent.driving.loop import drive
from agent.engines.base import Prediction
from agent.policies.base import Decision, Section, untimed
from agent.policies.network import NetworkPolicy
from agent.system.pacing import Pacer, VirtualClock

SPEC = ModelSpec("tiny", "none", "carracing", width_px=6, height_px=4)


class RememberingEngine:
    """Keeps what it sees and always predicts the same."""

    name = "remembering"
    spec = SPEC

    def __init__(self) -> None:
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
    """A frame source that has two pictures."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.reads = 0

    def __enter__(self) -> "Flicker":
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def read(self) -> Frame:
        self.reads += 1
        return picture(self.reads, self._clock(), self.reads)


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
