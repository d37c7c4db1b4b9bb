"""What every frame source, controller, engine and policy must do: tests for those of other packages, too.

A package that brings one of its own makes a test class of it, in a test module that pytest collects::

    from agent.testing import FrameSourceBehaviour

    class TestMyCamera(FrameSourceBehaviour):
        def make(self):
            return MyCamera()

The methods named ``test_`` are plain functions with plain ``assert``: no test runner is imported here, and any that
collects classes by name runs them. They need no game, no screen and no gamepad but what ``make`` opens.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from agent.capture.base import FrameSource
from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import AgentError
from agent.contract.observation import Frame, Observation
from agent.controllers.base import Controller
from agent.engines.base import Engine
from agent.policies.base import Policy, untimed

_T = TypeVar("_T")

_LEFT = Controls(-0.5, 0.25, 0.0)
_FULL = Controls(1.0, 0.0, 1.0)


class _Stopped(BaseException):
    """What leaves a block in a test: no ``Exception``, as Ctrl-C is none."""


class FrameSourceBehaviour(ABC):
    """What the loop counts on from a :class:`agent.capture.base.FrameSource`."""

    @abstractmethod
    def make(self) -> FrameSource:
        """Return a new one, not yet entered, that has a picture to show."""

    def come_up_with_another(self, source: FrameSource) -> None:
        """Have the source show another picture; override it where that takes more than a look."""
        source.read()

    def test_a_frame_is_a_picture_with_the_moment_of_its_capture(self) -> None:
        with self.make() as source:
            first = source.read()
            self.come_up_with_another(source)
            second = source.read()
        for frame in (first, second):
            assert frame.pixels.dtype == np.uint8
            assert frame.pixels.ndim == 3
            assert frame.pixels.shape[2] in (3, 4)
        assert second.captured_ns >= first.captured_ns, "time does not run backwards"
        assert second.index >= first.index, "neither do the numbers of the pictures"

    def test_the_same_number_is_the_same_picture(self) -> None:
        with self.make() as source:
            frames = [source.read() for _ in range(3)]
        for before, after in pairwise(frames):
            if after.index == before.index:
                assert np.array_equal(after.pixels, before.pixels)

    def test_a_picture_that_was_handed_out_stays_as_it_was(self) -> None:
        with self.make() as source:
            first = source.read()
            kept = first.pixels.copy()
            self.come_up_with_another(source)
            source.read()
            assert np.array_equal(first.pixels, kept), "the recorder still holds it"

    def test_it_may_be_left_for_any_reason_and_left_again(self) -> None:
        source = self.make()
        _leave_by(_Stopped, source)
        source.__exit__(None, None, None)


class ControllerBehaviour(ABC):
    """What the loop counts on from a :class:`agent.controllers.base.Controller`.

    Attributes:
        tolerance: How far off a value may be shown, for what is rounded on its way.
    """

    tolerance = 0.0

    @abstractmethod
    def make(self) -> Controller:
        """Return a new one, not yet entered."""

    @abstractmethod
    def shown(self, controller: Controller) -> Controls:
        """Return what a car that is driven by it does now; after it was left, too."""

    def test_it_opens_neutral(self) -> None:
        with self.make() as controller:
            assert self.shown(controller) == NEUTRAL

    def test_it_holds_what_it_was_sent_last(self) -> None:
        with self.make() as controller:
            for controls in (_FULL, _LEFT, _LEFT):
                controller.send(controls)
            assert np.allclose(self.shown(controller).values, _LEFT.values, rtol=0.0, atol=self.tolerance)

    def test_left_for_any_reason_it_is_neutral(self) -> None:
        for reason in (None, RuntimeError, _Stopped):
            controller = self.make()
            _leave_by(reason, controller, lambda opened: opened.send(_FULL))
            assert self.shown(controller) == NEUTRAL

    def test_neutral_is_at_once(self) -> None:
        with self.make() as controller:
            controller.send(_FULL)
            controller.send(NEUTRAL)
            assert self.shown(controller) == NEUTRAL


class EngineBehaviour(ABC):
    """What a policy counts on from an :class:`agent.engines.base.Engine`."""

    @abstractmethod
    def make(self) -> Engine:
        """Return a new one, its network loaded."""

    def test_a_prediction_has_a_number_for_each_output(self) -> None:
        engine = self.make()
        prediction = engine.infer(_pictures(engine)[0])
        assert prediction.dtype == np.float32
        assert prediction.shape == (len(engine.spec.outputs),)
        assert np.isfinite(prediction).all()
        engine.close()

    def test_it_remembers_nothing(self) -> None:
        engine = self.make()
        first, second = _pictures(engine)
        before = engine.infer(first).copy()
        engine.infer(second)
        assert np.array_equal(engine.infer(first), before), "the same picture, the same prediction"
        engine.close()

    def test_a_prediction_that_was_handed_out_stays_as_it_was(self) -> None:
        engine = self.make()
        first, second = _pictures(engine)
        prediction = engine.infer(first)
        kept = prediction.copy()
        prediction[:] = 7.0
        again = engine.infer(first)
        assert np.array_equal(again, kept), "a caller that writes into one changes no other"
        engine.infer(second)
        assert np.array_equal(again, kept)
        engine.close()

    def test_a_picture_is_not_written_into(self) -> None:
        engine = self.make()
        picture = _pictures(engine)[0]
        kept = picture.copy()
        engine.infer(picture)
        assert np.array_equal(picture, kept)
        engine.close()

    def test_a_picture_of_another_size_or_type_is_refused(self) -> None:
        engine = self.make()
        picture = _pictures(engine)[0]
        wrong_pictures: tuple[Any, ...] = (picture[1:], picture.astype(np.float32), picture[..., :1])
        for wrong in wrong_pictures:
            _assert_refused(partial(engine.infer, wrong))
        engine.close()

    def test_it_has_a_name_and_is_closed_twice_without_harm(self) -> None:
        engine = self.make()
        assert engine.name
        engine.close()
        engine.close()


class PolicyBehaviour(ABC):
    """What the loop counts on from a :class:`agent.policies.base.Policy`."""

    @abstractmethod
    def make(self) -> Policy:
        """Return a new one."""

    def test_a_decision_has_a_number_for_each_output_and_what_was_seen(self) -> None:
        policy = self.make()
        policy.reset()
        for frame in _frames(policy):
            decision = policy.decide(frame, untimed)
            assert decision.prediction.shape == (len(policy.spec.outputs),)
            assert np.isfinite(decision.prediction).all()
            assert decision.observation.dtype == np.uint8
            assert decision.observation.shape == policy.spec.observation_shape
        policy.close()

    def test_a_new_episode_is_decided_like_the_first(self) -> None:
        policy = self.make()
        drives = []
        for _ in range(2):
            policy.reset()
            drives.append([policy.decide(frame, untimed).prediction.tolist() for frame in _frames(policy)])
        assert drives[0] == drives[1], "reset() forgets what was seen"
        policy.close()

    def test_a_frame_is_not_written_into(self) -> None:
        policy = self.make()
        policy.reset()
        for frame in _frames(policy):
            kept = frame.pixels.copy()
            policy.decide(frame, untimed)
            assert np.array_equal(frame.pixels, kept), "the recorder gets it next"
        policy.close()

    def test_it_says_what_runs_it_and_who_drives_and_is_closed_twice_without_harm(self) -> None:
        policy = self.make()
        assert policy.name
        assert policy.driver
        assert policy.spec.rate_hz > 0
        policy.close()
        policy.close()


def _pictures(engine: Engine) -> tuple[Observation, Observation]:
    generator = np.random.default_rng(0)
    first, second = (generator.integers(0, 256, engine.spec.observation_shape, np.uint8) for _ in range(2))
    return first, second


def _frames(policy: Policy) -> list[Frame]:
    generator = np.random.default_rng(0)
    period_ns = round(1e9 / policy.spec.rate_hz)
    return [
        Frame(generator.integers(0, 256, (90, 160, 3), np.uint8), captured_ns=(k + 1) * period_ns, index=k)
        for k in range(4)
    ]


def _leave_by(
    reason: type[BaseException] | None, opened: AbstractContextManager[_T], act: Callable[[_T], object] = lambda _: None
) -> None:
    try:
        with opened as entered:
            act(entered)
            if reason is not None:
                raise reason
    except (RuntimeError, _Stopped):
        pass


def _assert_refused(infer: Callable[[], object]) -> None:
    try:
        infer()
    except (ValueError, AgentError):
        return
    raise AssertionError("expected a ValueError or an AgentError")
