"""The loop with fakes on a virtual clock: what is sent, and that leaving is always neutral."""

import gc
import json
import weakref
from typing import Any, Self

import numpy as np
import pytest

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import (
    BlindError,
    CaptureError,
    ControllerError,
    ControlsError,
    EngineError,
    FrozenError,
    UnexpectedError,
)
from agent.contract.observation import Frame, Observation
from agent.contract.profile import Stuck
from agent.contract.spec import ModelSpec
from agent.controllers.memory import MemoryController
from agent.driving.loop import STALE_S, drive, stale_after
from agent.driving.rate import sustainable_rate, warm_up
from agent.driving.stuck import StuckWatch
from agent.driving.summary import DriveSummary
from agent.engines.base import Prediction
from agent.observers.base import DrivenTick, TickRecord
from agent.policies.network import NetworkPolicy
from agent.sessions.opening import settle_rate
from agent.system import priority
from agent.system.pacing import Pacer, VirtualClock

SPEC = ModelSpec("fake", "none", "fake", width_px=6, height_px=4)


class FakeSource:
    """Delivers frames with the given indices, then fails."""

    def __init__(self, clock: VirtualClock, indices: list[int], then: BaseException | None = None) -> None:
        self.events: list[str] = []
        self._clock = clock
        self._indices = list(indices)
        self._then = then

    def __enter__(self) -> Self:
        self.events.append("open")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.events.append("close")

    @property
    def empty(self) -> bool:
        return not self._indices

    def read(self) -> Frame:
        if self._then is not None and self.empty:
            raise self._then
        pixels = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)
        return Frame(pixels, self._clock(), self._indices.pop(0))


class FakeEngine:
    """Returns a fixed prediction after a fixed virtual time."""

    name = "fake"
    spec = SPEC

    def __init__(
        self, prediction: Any = (0.5, 0.25, 0.0), clock: VirtualClock | None = None, takes_s: float = 0.0
    ) -> None:
        self.prediction = prediction
        self.observations: list[Observation] = []
        self._clock = clock
        self._takes_s = takes_s

    def infer(self, observation: Observation) -> Prediction:
        self.observations.append(observation)
        if isinstance(self.prediction, BaseException):
            raise self.prediction
        if self._clock is not None:
            self._clock.sleep(self._takes_s)
        return np.array(self.prediction, np.float32)

    def close(self) -> None:
        pass


class Watcher:
    """Keeps records, those of ticks whose decision was sent apart; fails where it is told to."""

    def __init__(self, fail_at: str | int | None = None) -> None:
        self.records: list[DrivenTick] = []
        self.ticks: list[TickRecord] = []
        self.closed = 0
        self._fail_at = fail_at

    def __enter__(self) -> Self:
        if self._fail_at == "open":
            raise OSError("disk full")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.closed += 1
        if self._fail_at == "close":
            raise OSError("disk full")

    def on_tick(self, record: TickRecord) -> None:
        if record.index == self._fail_at:
            raise OSError("disk full")
        self.ticks.append(record)
        if record.kind == "driven":
            self.records.append(record)


def setup(indices: list[int], then: BaseException | None = None) -> tuple[VirtualClock, FakeSource, Pacer]:
    clock = VirtualClock()
    return clock, FakeSource(clock, indices, then), Pacer(0.04, clock, clock.sleep)


def test_predictions_are_clipped_and_arbitrated_before_they_are_sent() -> None:
    _, source, pacer = setup([0])
    controller, engine, watcher = MemoryController(), FakeEngine((-1.5, 0.4, 0.75)), Watcher()
    summary = drive(source, controller, NetworkPolicy(engine), pacer, [watcher], until=lambda: source.empty)
    assert list(controller.sent) == [Controls(-1.0, 0.0, 0.75), NEUTRAL]
    assert summary.co_pressed_share == 1.0
    (record,) = watcher.records
    assert record.prediction.tolist() == [-1.5, np.float32(0.4), 0.75]
    assert record.controls == Controls(-1.0, 0.0, 0.75)
    assert record.observation is engine.observations[0]
    assert record.observation.shape == (4, 6, 3)
    assert list(record.sections_s) == ["capture", "preprocess", "infer", "send"]


def test_latency_runs_from_capture_to_sent() -> None:
    clock, source, pacer = setup([0, 1, 2])
    watcher = Watcher()
    engine = FakeEngine(clock=clock, takes_s=0.015)
    summary = drive(source, MemoryController(), NetworkPolicy(engine), pacer, [watcher], until=lambda: source.empty)
    assert [record.latency_s for record in watcher.records] == [0.015] * 3
    assert summary.stats.summarise().latency_max_s == 0.015
    assert summary.stats.rate_hz == 25.0


def test_frames_are_counted_by_index() -> None:
    _, source, pacer = setup([10, 12, 12, 14])  # 11 and 13 passed unseen, one tick found nothing new
    summary = drive(source, MemoryController(), NetworkPolicy(FakeEngine()), pacer, until=lambda: source.empty)
    assert (summary.frames, summary.predictions, summary.repeated_frames) == (5, 4, 1)
    raw = json.loads(json.dumps(summary.to_dict()))
    assert raw["frames_per_second"] == pytest.approx(4 / 0.12)
    assert raw["predictions_per_second"] == pytest.approx(25.0)
    assert raw["timing"]["ticks"] == 4


@pytest.mark.parametrize("failure", [CaptureError("gone"), KeyboardInterrupt(), RuntimeError("bug")])
def test_leaving_in_the_middle_is_neutral(failure: BaseException) -> None:
    _, source, pacer = setup([0, 1], then=failure)
    controller, watcher = MemoryController(), Watcher()
    summary = DriveSummary(pacer.stats)
    with pytest.raises(UnexpectedError if isinstance(failure, RuntimeError) else type(failure)):
        drive(source, controller, NetworkPolicy(FakeEngine()), pacer, [watcher], summary=summary)
    assert list(controller.sent)[-2:] == [Controls(0.5, 0.25, 0.0), NEUTRAL]
    assert (source.events, watcher.closed) == (["open", "close"], 1)
    assert (summary.predictions, summary.stats.ticks) == (2, 2)


@pytest.mark.parametrize(
    ("prediction", "error"),
    [
        ((float("nan"), 0.0, 0.0), ControlsError),
        ((0.0, float("inf"), 0.0), ControlsError),
        ((0.0, 0.0), ControlsError),
        ([[0.0, 0.0, 0.0]], ControlsError),
        (EngineError("lost the device"), EngineError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_an_unusable_prediction_ends_the_drive_and_is_never_sent(prediction: Any, error: type[BaseException]) -> None:
    _, source, pacer = setup([0])
    controller = MemoryController()
    with pytest.raises(error):
        drive(source, controller, NetworkPolicy(FakeEngine(prediction)), pacer)
    assert list(controller.sent) == [NEUTRAL]


def test_a_controller_that_fails_is_still_closed_before_the_source() -> None:
    _, source, pacer = setup([0])

    class Broken(MemoryController):
        def send(self, controls: Controls) -> None:
            super().send(controls)
            if controls != NEUTRAL:
                raise ControllerError("unplugged")
            source.events.append("neutral")

    controller = Broken()
    with pytest.raises(ControllerError, match="unplugged"):
        drive(source, controller, NetworkPolicy(FakeEngine()), pacer)
    assert controller.current == NEUTRAL
    assert source.events == ["open", "neutral", "close"]


def test_a_failing_observer_is_reported_once_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    _, source, pacer = setup([0, 1, 2])
    controller, broken, other = MemoryController(), Watcher(fail_at=1), Watcher()
    summary = drive(source, controller, NetworkPolicy(FakeEngine()), pacer, [broken, other], until=lambda: source.empty)
    assert len(controller.sent) == 4
    assert ([record.index for record in broken.records], broken.closed) == ([0], 1)
    assert [record.index for record in other.records] == [0, 1, 2]
    assert summary.problems == ["Watcher failed and was left out (OSError: disk full)"]
    assert caplog.text.count("disk full") == 1


def test_an_observer_that_fails_to_close_is_reported_and_hides_nothing() -> None:
    _, source, pacer = setup([0], then=CaptureError("gone"))
    summary = DriveSummary(pacer.stats)
    with pytest.raises(CaptureError, match="gone"):
        drive(
            source, MemoryController(), NetworkPolicy(FakeEngine()), pacer, [Watcher(fail_at="close")], summary=summary
        )
    assert len(summary.problems) == 1


def test_an_observer_that_cannot_be_opened_prevents_the_drive() -> None:
    _, source, pacer = setup([0])
    first, controller = Watcher(), MemoryController()
    with pytest.raises(OSError, match="disk full"):
        drive(source, controller, NetworkPolicy(FakeEngine()), pacer, [first, Watcher(fail_at="open")])
    assert (source.events, first.closed, len(controller.sent)) == ([], 1, 0)


def test_an_observer_interrupted_by_the_user_ends_the_drive() -> None:
    _, source, pacer = setup([0, 1])

    class Interrupted(Watcher):
        def on_tick(self, record: TickRecord) -> None:
            raise KeyboardInterrupt

    controller = MemoryController()
    with pytest.raises(KeyboardInterrupt):
        drive(source, controller, NetworkPolicy(FakeEngine()), pacer, [Interrupted()])
    assert controller.current == NEUTRAL


def test_garbage_is_collected_between_ticks_alone() -> None:
    class Cycle:
        def __init__(self) -> None:
            self.me = self

    _, source, pacer = setup([0, 1])
    frozen_before, was_enabled = gc.get_freeze_count(), gc.isenabled()
    seen: list[tuple[bool, bool]] = []
    cycles: list[weakref.ref[Cycle]] = []

    def until() -> bool:
        seen.append((gc.isenabled(), gc.get_freeze_count() > 0))
        assert not any(cycle() for cycle in cycles), "what the tick before left behind is gone"
        cycles.append(weakref.ref(Cycle()))
        return source.empty

    drive(source, MemoryController(), NetworkPolicy(FakeEngine()), pacer, until=until)
    assert seen == [(False, True)] * 3
    assert gc.isenabled() == was_enabled
    assert gc.get_freeze_count() <= frozen_before


def test_the_loop_asks_to_be_woken_promptly_while_it_drives_and_no_longer() -> None:
    before = priority._scheduling()
    with priority.prompt_wakeups():
        allowed = priority._scheduling()
    if before is None or allowed == before:
        pytest.skip("this system knows no short slices: Linux does since 6.12")
    seen: list[object] = []

    def until() -> bool:
        seen.append(priority._scheduling())
        return source.empty

    _, source, pacer = setup([0, 1])
    drive(source, MemoryController(), NetworkPolicy(FakeEngine()), pacer, until=until)
    assert seen == [allowed] * 3
    assert priority._scheduling() == before


def test_the_memory_controller_is_bounded() -> None:
    controller = MemoryController(remembered=2)
    for steering in (0.1, 0.2, 0.3):
        controller.send(Controls(steering))
    assert list(controller.sent) == [Controls(0.2), Controls(0.3)]


def test_warm_up_returns_the_second_slowest_of_ten_after_two_unmeasured_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    monkeypatch.setattr("agent.driving.rate.clock_ns", clock)
    durations_s = iter((5.0, 1.0, 0.01, 0.09, 0.01, 0.03, *[0.02] * 6))
    engine = FakeEngine()
    infer = engine.infer

    def slow(observation: Observation) -> Prediction:
        clock.sleep(next(durations_s))
        return infer(observation)

    monkeypatch.setattr(engine, "infer", slow)
    assert warm_up(NetworkPolicy(engine), runs=10) == 0.03
    assert engine.observations[0].shape == (4, 6, 3)
    assert engine.observations[0].std() > 0


def test_warm_up_finds_an_unusable_network() -> None:
    with pytest.raises(ControlsError):
        warm_up(NetworkPolicy(FakeEngine((0.0,))))
    with pytest.raises(ValueError, match="at least 1"):
        warm_up(NetworkPolicy(FakeEngine()), runs=0)


@pytest.mark.parametrize(
    ("wanted_hz", "inference_s", "expected_hz"),
    [
        (25.0, 0.02, 25.0),
        (25.0, 0.03, 25.0),
        (25.0, 0.05, 15.0),
        (30.0, 0.031, 24.1),
        (25.0, 60.0, 1.0),
        (0.05, 60.0, 0.05),
    ],
)
def test_the_rate_is_lowered_only_as_far_as_needed(wanted_hz: float, inference_s: float, expected_hz: float) -> None:
    assert sustainable_rate(wanted_hz, inference_s) == expected_hz


@pytest.mark.parametrize(
    ("asked_hz", "inference_s", "rate_hz", "said"),
    [
        (None, 0.02, 25.0, []),
        (None, 0.1, 7.5, ["good for 7.5 Hz"]),
        (None, 3.0, 1.0, ["too long even for 1 Hz", "hold for 0.5 s at most", "decisions will come too late"]),
        (0.5, 0.02, 0.5, ["hold for 0.5 s at most"]),
    ],
)
def test_a_rate_too_low_to_drive_by_is_told(
    asked_hz: float | None, inference_s: float, rate_hz: float, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.driving.rate.warm_up", lambda policy: inference_s)
    notes: list[str] = []
    assert settle_rate(asked_hz, NetworkPolicy(FakeEngine()), notes.append) == (rate_hz, inference_s)
    assert len(notes) == len(said)
    assert all(words in note for words, note in zip(said, notes, strict=True))


class FlickeringSource(FakeSource):
    """Has no picture where the index is below 0."""

    def read(self) -> Frame:
        frame = super().read()
        if frame.index < 0:
            raise BlindError("the picture is black")
        return frame


def test_without_a_picture_the_controls_are_neutral_until_there_is_one(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    source, pacer = FlickeringSource(clock, [0, -1, -1, 1, -1, 2]), Pacer(0.04, clock, clock.sleep)
    controller, engine, watcher = MemoryController(), FakeEngine(), Watcher()
    summary = drive(source, controller, NetworkPolicy(engine), pacer, [watcher], until=lambda: source.empty)
    driven = Controls(0.5, 0.25, 0.0)
    assert list(controller.sent) == [driven, NEUTRAL, NEUTRAL, driven, NEUTRAL, driven, NEUTRAL]
    assert (summary.blind_ticks, summary.blind_events, summary.predictions) == (3, 2, 3)
    assert len(engine.observations) == len(watcher.records) == 3
    assert [record.message for record in caplog.records] == [
        "blind: the picture is black; controls are neutral until there is a picture again",
        "sees again after 0.1 s",
        "blind: the picture is black; controls are neutral until there is a picture again",
        "sees again after 0.0 s",
    ]
    assert summary.to_dict()["blind_ticks"] == 3


class LateSource(FakeSource):
    """Its frames are as old as their index says, in hundredths of a second."""

    def read(self) -> Frame:
        frame = super().read()
        return Frame(frame.pixels, frame.captured_ns - frame.index * 10_000_000, frame.index)


def test_a_picture_that_is_too_old_is_not_driven_by() -> None:
    clock = VirtualClock()
    source, pacer = LateSource(clock, [0, 20, 21, 3]), Pacer(0.04, clock, clock.sleep)
    controller, engine = MemoryController(), FakeEngine()
    summary = drive(source, controller, NetworkPolicy(engine), pacer, until=lambda: source.empty)
    driven = Controls(0.5, 0.25, 0.0)
    assert list(controller.sent) == [driven, driven, NEUTRAL, driven, NEUTRAL]
    assert (summary.blind_ticks, len(engine.observations)) == (1, 3)


class SlowEngine(FakeEngine):
    """Takes as long as it is told to, pass by pass."""

    def __init__(self, clock: VirtualClock, seconds: list[float]) -> None:
        super().__init__()
        self._time = clock
        self._seconds = iter(seconds)

    def infer(self, observation: Observation) -> Prediction:
        self._time.sleep(next(self._seconds))
        return super().infer(observation)


def test_a_decision_that_comes_too_late_is_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    clock, source, pacer = setup([0, 1, 2, 3])
    controller, watcher = MemoryController(), Watcher()
    engine = SlowEngine(clock, [0.01, 2.0, 0.21, 0.2])
    summary = drive(source, controller, NetworkPolicy(engine), pacer, [watcher], until=lambda: source.empty)
    driven = Controls(0.5, 0.25, 0.0)
    assert list(controller.sent) == [driven, NEUTRAL, NEUTRAL, driven, NEUTRAL]
    assert (summary.stale_ticks, summary.stale_events, summary.predictions) == (2, 1, 2)
    assert summary.describe_trouble(expired=1) == "2 times decided too late, 1 times let go of by the guard"
    assert DriveSummary(pacer.stats).describe_trouble(expired=0) == ""
    assert [record.controls for record in watcher.records] == [driven, driven]
    assert [record.message for record in caplog.records] == [
        "late: a decision on a picture of 2000 ms ago, expected at most 200 ms: not sent; controls are neutral until "
        "one is in time",
        "in time again after 2 late decisions",
    ]
    assert summary.to_dict()["stale_ticks"] == 2


@pytest.mark.parametrize(("late", "events"), [(3, 0), (1, 1)])
def test_a_car_that_nobody_drives_because_decisions_come_too_late_is_not_stuck(late: int, events: int) -> None:
    """At 0.5 s a late decision, they take 1.5 s of the 2 s after which a picture that stands still means stuck."""
    clock, source, pacer = setup(list(range(30 + late)))
    engine = SlowEngine(clock, [0.01] * 20 + [0.5] * late + [0.01] * 10)
    watch = StuckWatch(Stuck(after_s=0.04 * 29 + 0.5 * (late - 1), for_s=0.1))
    drive(source, MemoryController(), NetworkPolicy(engine), pacer, until=lambda: source.empty, stuck=watch)
    assert watch.events == events


def test_decisions_that_all_come_too_late_leave_figures_that_are_not_negative() -> None:
    clock, source, pacer = setup([0, 1, 2])
    engine = SlowEngine(clock, [0.5] * 3)
    summary = drive(source, MemoryController(), NetworkPolicy(engine), pacer, until=lambda: source.empty)
    assert (summary.stale_ticks, summary.to_dict()["frames_per_second"]) == (3, 0.0)


def test_a_car_that_is_stuck_is_brought_off_and_a_person_is_left_to_it() -> None:
    clock = VirtualClock()
    source, pacer = FakeSource(clock, list(range(100))), Pacer(0.04, clock, clock.sleep)  # the picture never changes
    hand = Controls(-0.7, 0.0, 0.3)
    answers = iter([None] * 60 + [hand] * 5 + [None] * 35)
    controller, watcher = MemoryController(), Watcher()
    summary = drive(
        source,
        controller,
        NetworkPolicy(FakeEngine()),
        pacer,
        [watcher],
        until=lambda: source.empty,
        takeover=lambda: next(answers),
        stuck=StuckWatch(Stuck("reverse", after_s=2.0, for_s=1.0)),
    )
    driven, back = Controls(0.5, 0.25, 0.0), Controls(0.0, 0.0, 1.0)
    assert list(controller.sent) == [driven] * 50 + [back] * 10 + [hand] * 5 + [driven] * 35 + [NEUTRAL]
    assert [record.controls for record in watcher.records] == list(controller.sent)[:-1], "what was done is recorded"
    report = summary.to_dict()
    assert (report["stuck_events"], report["stuck_attempts"], report["stuck_given_up"]) == (1, 1, 0)


def test_a_picture_that_stands_still_is_a_car_at_rest_and_one_out_of_sight_is_not() -> None:
    class NoSource(FakeSource):
        error: type[BlindError] = BlindError

        def read(self) -> Frame:
            frame = super().read()
            if 20 <= frame.index < 60:
                raise self.error("nothing to see")
            return frame

    for error, events in ((FrozenError, 1), (BlindError, 0)):
        clock = VirtualClock()
        source, pacer = NoSource(clock, list(range(70))), Pacer(0.04, clock, clock.sleep)
        source.error = error
        watch = StuckWatch(Stuck(after_s=2.0, for_s=1.0))
        drive(source, MemoryController(), NetworkPolicy(FakeEngine()), pacer, until=lambda: source.empty, stuck=watch)  # noqa: B023
        assert watch.events == events


def test_a_person_drives_however_late_the_network_is() -> None:
    clock, source, pacer = setup([0])
    controller, hand = MemoryController(), Controls(-0.7, 0.0, 0.3)
    drive(
        source,
        controller,
        NetworkPolicy(SlowEngine(clock, [2.0])),
        pacer,
        until=lambda: source.empty,
        takeover=lambda: hand,
    )
    assert list(controller.sent) == [hand, NEUTRAL]


def test_a_slow_loop_is_given_two_periods() -> None:
    assert stale_after(1 / 30) == STALE_S
    assert stale_after(0.25) == 0.5


@pytest.mark.parametrize("period_s", [1.0, 10.0, 20.0])
def test_no_loop_is_so_slow_that_an_old_picture_counts_as_fresh(period_s: float) -> None:
    assert stale_after(period_s) == 1.0


def test_what_ended_the_drive_is_in_the_summary() -> None:
    _, source, pacer = setup([0], then=CaptureError("the game was closed"))
    summary = DriveSummary(pacer.stats)
    with pytest.raises(CaptureError):
        drive(source, MemoryController(), NetworkPolicy(FakeEngine()), pacer, summary=summary)
    assert summary.to_dict()["fault"] == "the game was closed"


def test_a_bug_is_a_fault_too_and_says_where_it_is() -> None:
    _, source, pacer = setup([0], then=RuntimeError("two\nlines"))
    summary = DriveSummary(pacer.stats)
    with pytest.raises(UnexpectedError) as caught:
        drive(source, MemoryController(), NetworkPolicy(FakeEngine()), pacer, summary=summary)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert summary.fault == str(caught.value)
    assert summary.fault.startswith("unexpected RuntimeError: two lines (test_loop.py, line ")


def test_a_person_who_has_taken_over_drives_and_is_recorded_as_such() -> None:
    clock = VirtualClock()
    source, pacer = FlickeringSource(clock, [0, 1, -1, 2]), Pacer(0.04, clock, clock.sleep)
    hand = Controls(-0.7, 0.0, 0.3)
    answers = iter((None, hand, hand, None))
    controller, watcher = MemoryController(), Watcher()
    summary = drive(
        source,
        controller,
        NetworkPolicy(FakeEngine()),
        pacer,
        [watcher],
        until=lambda: source.empty,
        takeover=lambda: next(answers),
    )
    driven = Controls(0.5, 0.25, 0.0)
    assert list(controller.sent) == [driven, hand, hand, driven, NEUTRAL]
    assert [(record.controls, record.intervention) for record in watcher.records] == [
        (driven, False),
        (hand, True),
        (driven, False),
    ]
    assert summary.interventions == 1


def test_observers_see_every_tick_and_what_became_of_it() -> None:
    clock = VirtualClock()
    source, pacer = FlickeringSource(clock, [0, -1, 1, -1, 2]), Pacer(0.04, clock, clock.sleep)
    hand = Controls(-0.7, 0.0, 0.3)
    answers = iter((None, None, None, hand, None))
    watcher = Watcher()
    engine = SlowEngine(clock, [0.01, 0.21, 0.01])
    summary = drive(
        source,
        MemoryController(),
        NetworkPolicy(engine),
        pacer,
        [watcher],
        until=lambda: source.empty,
        takeover=lambda: next(answers),
        stuck=StuckWatch(Stuck()),
    )
    assert [(tick.kind, tick.index) for tick in watcher.ticks] == [
        ("driven", 0),
        ("blind", 1),
        ("late", 2),
        ("blind", 3),
        ("driven", 4),
    ]
    assert [tick.started_ns for tick in watcher.ticks] == [0, 40_000_000, 80_000_000, 290_000_000, 320_000_000]
    assert [tick.intervention for tick in watcher.ticks] == [False, False, False, True, False]
    assert [tick.stuck for tick in watcher.ticks] == ["free"] * 5
    _, blind, late, by_hand, _ = watcher.ticks
    assert (blind.kind, late.kind, by_hand.kind) == ("blind", "late", "blind")
    assert (blind.reason, blind.controls, by_hand.controls) == ("the picture is black", NEUTRAL, hand)
    assert list(blind.sections_s) == ["capture"]
    assert (late.controls, late.age_s, late.frame.index) == (NEUTRAL, 0.21, 1)
    assert late.observation is engine.observations[1]
    assert late.prediction.tolist() == [0.5, 0.25, 0.0]
    assert list(late.sections_s) == ["capture", "preprocess", "infer", "send"]
    assert (summary.blind_ticks, summary.stale_ticks, summary.interventions) == (2, 1, 0)


def test_observers_are_told_how_a_stuck_car_fares() -> None:
    clock = VirtualClock()
    source, pacer = FakeSource(clock, list(range(40))), Pacer(0.1, clock, clock.sleep)
    watcher = Watcher()
    stuck = StuckWatch(Stuck("wait", after_s=1.0, for_s=0.5, attempts=1))
    drive(
        source,
        MemoryController(),
        NetworkPolicy(FakeEngine()),
        pacer,
        [watcher],
        until=lambda: source.empty,
        stuck=stuck,
    )
    states = [tick.stuck for tick in watcher.ticks]
    assert states == ["free"] * 10 + ["recovering"] * 5 + ["free"] * 10 + ["given_up"] * 15
