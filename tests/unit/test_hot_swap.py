"""Another network takes over between two decisions; what must not drive never does."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import EngineError, WeightsError
from agent.contract.observation import Frame, Observation
from agent.contract.spec import ModelSpec, Stack, outputs_named
from agent.controllers.memory import MemoryController
from agent.driving.loop import drive
from agent.engines.base import Prediction
from agent.policies.base import Policy, untimed
from agent.policies.hot_swap import HotSwapPolicy
from agent.policies.network import NetworkPolicy
from agent.policies.stacked import policy_for
from agent.system.pacing import Pacer, VirtualClock

SPEC = ModelSpec("first", "none", "carracing", width_px=6, height_px=4)
TIMEOUT_S = 30.0


class Steering:
    """Always steers the same way; its spec has its name."""

    def __init__(self, name: str, steering: float, spec: ModelSpec = SPEC) -> None:
        self.name = "fake"
        self.spec = replace(spec, name=name)
        self.seen: list[Observation] = []
        self.closed = threading.Event()
        self._steering = steering

    def infer(self, observation: Observation) -> Prediction:
        assert not self.closed.is_set(), "a closed network must not be asked"
        self.seen.append(observation)
        return np.array([self._steering, *[0.0] * (len(self.spec.outputs) - 1)], np.float32)

    def close(self) -> None:
        self.closed.set()


def frame(value: int = 1, captured_ns: int = 0) -> Frame:
    return Frame(np.full((4, 6, 3), value, np.uint8), captured_ns)


def steering_of(policy: Policy) -> float:
    return round(float(policy.decide(frame(), untimed).prediction[0]), 3)


@pytest.fixture
def first() -> Steering:
    return Steering("first", 0.1)


@pytest.fixture
def policy(first: Steering) -> Iterator[HotSwapPolicy]:
    policy = HotSwapPolicy(NetworkPolicy(first))
    yield policy
    policy.close()
    assert first.closed.is_set()


def load(policy: HotSwapPolicy, engine: Steering, **options: str) -> Steering:
    policy.load(lambda: policy_for(engine), **options)  # type: ignore[arg-type]
    assert policy.wait(TIMEOUT_S)
    return engine


def test_new_weights_are_warm_before_they_drive_and_the_old_ones_are_kept(
    policy: HotSwapPolicy, first: Steering, caplog: pytest.LogCaptureFixture
) -> None:
    policy.decide(frame(77), untimed)
    second = load(policy, Steering("second", 0.2))
    assert len(second.seen) == 3, "checked before it drives"
    assert second.seen[0].max() == 77, "on the newest picture of the drive"
    assert (policy.spec.name, policy.is_ready, policy.swaps) == ("first", True, 0)
    assert steering_of(policy) == 0.2
    assert (policy.spec.name, policy.driver, policy.is_ready, policy.swaps) == ("second", "policy:second", False, 1)
    assert not first.closed.is_set()
    assert policy.back()
    assert (steering_of(policy), policy.swaps) == (0.1, 2)
    assert policy.back()
    assert steering_of(policy) == 0.2, "and forth again"
    assert "second is loaded and checked" in caplog.text
    assert "second (fake) drives now; first is kept" in caplog.text


def test_only_two_networks_are_kept(policy: HotSwapPolicy, first: Steering) -> None:
    second, third = Steering("second", 0.2), Steering("third", 0.3)
    for engine, steering in ((second, 0.2), (third, 0.3)):
        load(policy, engine)
        assert steering_of(policy) == steering
    assert first.closed.wait(TIMEOUT_S)
    assert not second.closed.is_set()
    policy.close()
    assert second.closed.is_set()
    assert third.closed.is_set()


def test_nothing_waits_while_weights_are_loaded_and_the_newest_win(policy: HotSwapPolicy) -> None:
    gate, made = threading.Event(), []

    def make(name: str, steering: float) -> Callable[[], Policy]:
        def made_when_told() -> Policy:
            gate.wait(TIMEOUT_S)
            made.append(name)
            return policy_for(Steering(name, steering))

        return made_when_told

    policy.load(make("second", 0.2))
    while policy.wait(0.01) or policy._wanted is not None:  # until the first is being made
        pass
    policy.load(make("third", 0.3))
    policy.load(make("fourth", 0.4))
    assert policy.is_loading
    assert steering_of(policy) == 0.1
    gate.set()
    assert policy.wait(TIMEOUT_S)
    assert made == ["second", "fourth"]
    assert (steering_of(policy), policy.swaps) == (0.4, 1)


def test_weights_can_wait_for_the_next_episode_or_for_a_word(policy: HotSwapPolicy) -> None:
    load(policy, Steering("second", 0.2), when="reset")
    assert steering_of(policy) == 0.1
    policy.reset()
    assert steering_of(policy) == 0.2
    third = load(policy, Steering("third", 0.3), when="asked")
    policy.reset()
    assert steering_of(policy) == 0.2
    load(policy, Steering("fourth", 0.4), when="asked")
    assert third.closed.is_set(), "it never drove, and newer ones wait in its place"
    assert policy.swap()
    assert steering_of(policy) == 0.4
    assert not policy.swap()


def test_going_back_before_new_weights_drive_keeps_them_from_driving(policy: HotSwapPolicy) -> None:
    assert not policy.back(), "nothing drove before"
    load(policy, Steering("second", 0.2))
    assert steering_of(policy) == 0.2
    third = load(policy, Steering("third", 0.3))
    assert policy.back()
    assert steering_of(policy) == 0.1
    assert third.closed.is_set()


def fail(error: Exception) -> Callable[[], Policy]:
    def make() -> Policy:
        raise error

    return make


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (fail(WeightsError("weights.safetensors has another checksum")), "weights.safetensors has another checksum"),
        (fail(ImportError("no openvino")), "ImportError: no openvino"),
        (lambda: policy_for(Steering("bad", float("nan"))), "steering is nan"),
        (
            lambda: policy_for(Steering("other", 0.2, replace(SPEC, outputs=outputs_named(["steering"])))),
            "other predicts steering, expected steering, throttle, brake as first does",
        ),
    ],
)
def test_what_fails_a_check_never_drives(
    policy: HotSwapPolicy, make: Callable[[], Policy], problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    policy.load(make)
    assert policy.wait(TIMEOUT_S)
    assert problem in (policy.problem or "")
    assert f"the new weights do not drive, the old ones go on: {policy.problem}" in caplog.text
    assert (steering_of(policy), policy.swaps, policy.is_ready) == (0.1, 0, False)
    load(policy, Steering("good", 0.2))
    assert (steering_of(policy), policy.problem) == (0.2, None)


def test_a_further_check_may_refuse_and_what_is_refused_is_closed() -> None:
    def drives_worse(policy: Policy) -> None:
        raise EngineError(f"{policy.spec.name} drives worse")

    second = Steering("second", 0.2)
    with closing(HotSwapPolicy(NetworkPolicy(Steering("first", 0.1)), check=drives_worse)) as policy:
        load(policy, second)
        assert policy.problem == "second drives worse"
        assert second.closed.is_set()
        assert steering_of(policy) == 0.1


def test_weights_that_are_too_slow_for_the_rate_do_not_drive(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    monkeypatch.setattr("agent.policies.hot_swap.time.perf_counter", lambda: clock() / 1e9)

    class Slow(Steering):
        takes_s = iter((5.0, 1.0, 0.031, 5.0, 1.0, 0.029, 0.0))

        def infer(self, observation: Observation) -> Prediction:
            clock.sleep(next(self.takes_s))
            return super().infer(observation)

    with closing(HotSwapPolicy(NetworkPolicy(Steering("first", 0.1)), limit_s=0.03)) as policy:
        load(policy, Slow("slow", 0.2))
        assert policy.problem is not None
        assert policy.problem.startswith("slow takes 31 ms for a decision, expected at most 30 ms")
        load(policy, Slow("faster", 0.3))
        assert steering_of(policy) == 0.3


def test_what_a_network_remembered_of_the_check_is_forgotten(policy: HotSwapPolicy) -> None:
    policy.decide(frame(50), untimed)
    stacked = load(policy, Steering("stacked", 0.2, replace(SPEC, stack=Stack(2))))
    policy.decide(frame(60, 40_000_000), untimed)
    assert [int(stacked.seen[-1][0, 0, place]) for place in (0, 3)] == [60, 60]


def test_a_closed_policy_loads_nothing_more() -> None:
    first, second = Steering("first", 0.1), Steering("second", 0.2)
    policy = HotSwapPolicy(NetworkPolicy(first))
    load(policy, second)
    policy.close()
    policy.close()
    assert first.closed.is_set()
    assert second.closed.is_set(), "it was ready and never drove"
    with pytest.raises(ValueError, match="the policy is closed"):
        policy.load(lambda: policy_for(second))


class Screen:
    """A picture a tick; calls back at each."""

    def __init__(self, clock: VirtualClock, at_tick: Callable[[int], None]) -> None:
        self.reads = 0
        self._clock = clock
        self._at_tick = at_tick

    def __enter__(self) -> "Screen":
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def read(self) -> Frame:
        self._at_tick(self.reads)
        self.reads += 1
        return Frame(np.full((4, 6, 3), 9, np.uint8), self._clock(), self.reads)


def test_the_loop_drives_by_one_network_or_the_other_at_every_tick(policy: HotSwapPolicy) -> None:
    def at_tick(tick: int) -> None:
        if tick == 3:
            load(policy, Steering("second", 0.2))
        elif tick == 6:
            assert policy.back()

    clock = VirtualClock()
    source, controller, pacer = Screen(clock, at_tick), MemoryController(), Pacer(0.04, clock, clock.sleep)
    summary = drive(source, controller, policy, pacer, until=lambda: source.reads == 8)
    expected = [Controls(round(steering, 1)) for steering in [0.1] * 3 + [0.2] * 3 + [0.1] * 2]
    sent = [Controls(round(each.steering, 3), each.throttle, each.brake) for each in controller.sent]
    assert sent == [*expected, NEUTRAL]
    assert (summary.stats.missed, policy.swaps) == (0, 2)


@pytest.mark.thorough
def test_swapping_from_many_threads_at_once_never_asks_a_closed_network(policy: HotSwapPolicy) -> None:
    stop, trouble = threading.Event(), []

    def meddle(number: int) -> None:
        try:
            while not stop.is_set():
                policy.load(lambda: policy_for(Steering(f"n{number}", number / 10)))
                policy.back()
                policy.swap()
        except Exception as exc:
            trouble.append(exc)

    threads = [threading.Thread(target=meddle, args=(number,)) for number in range(1, 4)]
    for thread in threads:
        thread.start()
    try:
        while policy.swaps < 200:
            assert steering_of(policy) in (0.1, 0.2, 0.3)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert trouble == []
