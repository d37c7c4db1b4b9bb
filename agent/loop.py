"""The drive: capture, preprocess, one forward pass, controls sent; again at the next deadline."""

import gc
import logging
import math
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from agent.capture.base import FrameSource
from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import AgentError, BlindError, FrozenError, UnexpectedError
from agent.contract.observation import Frame, Observation
from agent.contract.preprocess import preprocess
from agent.controllers.base import Controller
from agent.engines.base import Engine
from agent.observers.base import TickObserver, TickRecord
from agent.pacing import Pacer, Tick, TickStats, clock_ns
from agent.process import prompt_wakeups
from agent.stuck import StuckWatch

_log = logging.getLogger(__name__)

_PRESSED = 0.05  # a raw pedal above this counts as pressed; the regression heads hover a little above zero at rest

STALE_S = 0.2
"""The oldest picture whose controls are sent: what people take to react, and several times what a pass takes where the
machine is fit for driving."""

_STALE_PERIODS = 2.0  # where the rate is lower than 10 a second, a decision on time may be older than that

# Of a period, the share a forward pass may take when measured on an otherwise idle process: the rest is for capture,
# preprocessing, sending, and for the game beside us.
_INFERENCE_SHARE = 0.75


class DriveSummary:
    """What happened in a drive, kept up to date while it runs so that an interrupted drive has one too.

    Args:
        stats: The pacer's.

    Attributes:
        stats: Timing, rates and missed deadlines.
        frames: Distinct frames the source delivered, those that passed unseen between two ticks included.
        predictions: Predictions made and sent.
        repeated_frames: Ticks that found no new frame and acted on the previous one again.
        co_pressed: Predictions that pressed throttle and brake at once, before arbitration.
        interventions: Ticks on which a person drove.
        problems: What went wrong without stopping the drive, such as a recording that failed; one line each.
        blind_ticks: Ticks without a picture to drive by, on which controls were neutral.
        blind_events: How often sight was lost.
        stale_ticks: Ticks whose decision came when its picture was too old to act on; controls were neutral.
        stale_events: How often decisions began to come too late.
        fault: What ended the drive, if something did that should not.
        stuck: What watched for a car that gets nowhere, if something did.
    """

    def __init__(self, stats: TickStats) -> None:
        self.stats = stats
        self.frames = 0
        self.predictions = 0
        self.repeated_frames = 0
        self.co_pressed = 0
        self.problems: list[str] = []
        self.interventions = 0
        self.blind_ticks = 0
        self.blind_events = 0
        self.stale_ticks = 0
        self.stale_events = 0
        self.fault: str | None = None
        self.stuck: StuckWatch | None = None
        self._blind_ticks_now = 0
        self._stale_ticks_now = 0
        self._last_index: int | None = None

    @property
    def co_pressed_share(self) -> float:
        """Share of predictions that pressed both pedals."""
        return self.co_pressed / self.predictions if self.predictions else 0.0

    def count(self, frame: Frame, prediction: Controls) -> None:
        """Take one tick into account.

        Args:
            frame: The frame it acted on.
            prediction: The raw prediction.
        """
        if self._last_index is None:
            self.frames = 1
        else:
            self.frames += max(0, frame.index - self._last_index)
            self.repeated_frames += frame.index == self._last_index
        self._last_index = frame.index
        self.predictions += 1
        self.co_pressed += min(prediction.throttle, prediction.brake) > _PRESSED

    def lose_sight(self, blind: BlindError) -> None:
        """Take a tick without a picture into account; says so once for as long as it lasts."""
        if not self._blind_ticks_now:
            self.blind_events += 1
            _log.warning("blind: %s; controls are neutral until there is a picture again", blind)
        self._blind_ticks_now += 1
        self.blind_ticks += 1

    def regain_sight(self) -> None:
        """Note that there is a picture; says so if there was none."""
        if self._blind_ticks_now:
            _log.warning("sees again after %.1f s", self._blind_ticks_now * self.stats.period_s)
            self._blind_ticks_now = 0

    def come_too_late(self, age_s: float, limit_s: float) -> None:
        """Take a decision into account that its picture's age kept from being sent; says so once while it lasts."""
        if not self._stale_ticks_now:
            self.stale_events += 1
            _log.warning(
                "late: a decision on a picture of %.0f ms ago, expected at most %.0f ms: not sent; controls are "
                "neutral until one is in time",
                age_s * 1e3,
                limit_s * 1e3,
            )
        self._stale_ticks_now += 1
        self.stale_ticks += 1

    def come_in_time(self) -> None:
        """Note that a decision is in time; says so if the one before was not."""
        if self._stale_ticks_now:
            _log.warning("in time again after %d decisions that were not", self._stale_ticks_now)
            self._stale_ticks_now = 0

    def describe_trouble(self, expired: int) -> str:
        """Return what was not as it should be, in a line; empty if everything was.

        Args:
            expired: How often whatever held the controls let go of them by itself.
        """
        stuck = self.stuck
        found = {
            "without a picture to drive by": self.blind_ticks,
            "decided too late": self.stale_ticks,
            "let go of by the guard": expired,
            "stuck": 0 if stuck is None else stuck.events,
            "stuck for good": 0 if stuck is None else stuck.given_up,
        }
        return ", ".join(f"{count} times {what}" for what, count in found.items() if count)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        timing = self.stats.summarise()
        elapsed_s = timing.interval_mean_s * (timing.ticks - 1)
        return {
            "frames": self.frames,
            "frames_per_second": (self.frames - 1) / elapsed_s if elapsed_s > 0 else 0.0,
            "repeated_frames": self.repeated_frames,
            "predictions": self.predictions,
            "predictions_per_second": timing.rate_hz,
            "co_pressed_share": self.co_pressed_share,
            "interventions": self.interventions,
            "blind_ticks": self.blind_ticks,
            "blind_events": self.blind_events,
            "stale_ticks": self.stale_ticks,
            "stale_events": self.stale_events,
            "stuck_events": 0 if self.stuck is None else self.stuck.events,
            "stuck_attempts": 0 if self.stuck is None else self.stuck.attempts,
            "stuck_given_up": 0 if self.stuck is None else self.stuck.given_up,
            "fault": self.fault,
            "problems": list(self.problems),
            "timing": asdict(timing),
        }


def drive(
    source: FrameSource,
    controller: Controller,
    engine: Engine,
    pacer: Pacer,
    observers: Sequence[TickObserver] = (),
    until: Callable[[], bool] = lambda: False,
    summary: DriveSummary | None = None,
    takeover: Callable[[], Controls | None] = lambda: None,
    stuck: StuckWatch | None = None,
) -> DriveSummary:
    """Drive until told to stop. However the drive ends, the controller is left neutral.

    While the source has no picture to drive by (:class:`BlindError`, or a picture older than :func:`stale_after`) the
    controls are neutral, and it is asked again on every tick. They are neutral too where a decision is made so late
    that its picture has become too old.

    Args:
        source: Where frames come from; opened and closed here.
        controller: What moves the car; opened and closed here, first of all to be closed.
        engine: What runs the network; stays open.
        pacer: Sets the rate, on the clock that stamps the frames.
        observers: Side jobs; opened and closed here. One that fails while driving is dropped and named in
            ``summary.problems``; one that cannot be opened prevents the drive.
        until: Asked before every tick; true ends the drive.
        takeover: Asked after every forward pass; a person's controls, where there are some, are sent instead of the
            network's, and on ticks without a picture too.
        stuck: Watches for a car that gets nowhere, and has its own controls sent where it knows what to do about it.
        summary: Filled in while driving. Pass one to have it after an exception or Ctrl-C too.

    Returns:
        The summary.

    Raises:
        AgentError: If a frame, a prediction or the controller fails on the way, which ``summary.fault`` says too, as
            an ``UnexpectedError`` where it is nothing that they are known to fail by; or if one of them, or an
            observer, cannot be opened.
    """
    summary = summary or DriveSummary(pacer.stats)
    summary.stuck = stuck
    driver = _Driver(source, controller, engine, summary, takeover, stuck, stale_after(pacer.period_s))
    with ExitStack() as stack:
        stack.enter_context(_no_garbage_in_mid_tick())
        watchers = [stack.enter_context(_Watcher(observer, summary.problems)) for observer in observers]
        stack.enter_context(source)
        stack.enter_context(controller)
        stack.enter_context(prompt_wakeups())
        try:
            for tick in pacer.ticks():
                if until():
                    break
                record = driver.act(tick)
                if record is not None:
                    for watcher in watchers:
                        watcher.on_tick(record)
                gc.collect()
        except AgentError as exc:
            summary.fault = str(exc)
            raise
        except Exception as exc:
            summary.fault = _describe_unexpected(exc)
            raise UnexpectedError(summary.fault) from exc
    return summary


def _describe_unexpected(exc: Exception) -> str:
    place = traceback.extract_tb(exc.__traceback__)[-1]
    what = f"{type(exc).__name__}: {' '.join(str(exc).split())}"
    return (
        f"unexpected {what} ({Path(place.filename).name}, line {place.lineno}), which should not happen. Report it, "
        "with what --verbose says of it."
    )


@contextmanager
def _no_garbage_in_mid_tick() -> Iterator[None]:
    """Collect garbage between two ticks alone, and walk through nothing there that was loaded before.

    A collection in mid-tick comes when it likes and walks through everything: 221 ms with TensorFlow loaded, 4 ms
    without (two-core EPYC). One after every tick, over what little the tick has left behind, takes 5 us.
    """
    enabled = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()


class _Driver:
    """What happens in a tick; see :func:`drive` for the arguments."""

    def __init__(
        self,
        source: FrameSource,
        controller: Controller,
        engine: Engine,
        summary: DriveSummary,
        takeover: Callable[[], Controls | None],
        stuck: StuckWatch | None,
        limit_s: float,
    ) -> None:
        self._source = source
        self._controller = controller
        self._engine = engine
        self._summary = summary
        self._takeover = takeover
        self._stuck = stuck
        self._limit_s = limit_s

    def act(self, tick: Tick) -> TickRecord | None:
        """Look, decide, send; return what was done, or None where nothing could be decided and neutral was sent."""
        try:
            frame = self._look(tick)
        except BlindError as blind:
            self._summary.lose_sight(blind)
            if self._stuck is not None and not isinstance(blind, FrozenError):
                self._stuck.look_away()
            self._send_neutral()
            return None
        self._summary.regain_sight()
        with tick.section("preprocess"):
            observation = preprocess(frame, self._engine.spec)
        with tick.section("infer"):
            prediction = self._engine.infer(observation)
        with tick.section("send"):
            raw = Controls.from_prediction(prediction)
            age_s = tick.age_s(frame.captured_ns)
            if age_s > self._limit_s:
                self._summary.come_too_late(age_s, self._limit_s)
                self._send_neutral()
                return None
            by_hand = self._takeover()
            controls = self._choose(raw, by_hand, observation, frame)
            self._controller.send(controls)
        latency_s = tick.mark_sent(frame.captured_ns)
        self._summary.come_in_time()
        self._summary.count(frame, raw)
        self._summary.interventions += by_hand is not None
        return TickRecord(
            tick.index, frame, observation, prediction, controls, latency_s, tick.sections_s, by_hand is not None
        )

    def _look(self, tick: Tick) -> Frame:
        with tick.section("capture"):
            frame = self._source.read()
        age_s = tick.age_s(frame.captured_ns)
        if age_s > self._limit_s:
            raise BlindError(f"the newest picture is {age_s * 1e3:.0f} ms old")
        return frame

    def _send_neutral(self) -> None:
        by_hand = self._takeover()
        self._controller.send(NEUTRAL if by_hand is None else by_hand)

    def _choose(self, raw: Controls, by_hand: Controls | None, observation: Observation, frame: Frame) -> Controls:
        """Return what is sent: a person's controls, or else what brings a stuck car off, or else the network's."""
        if by_hand is not None:
            if self._stuck is not None:
                self._stuck.hand_over()
            return by_hand
        controls = raw.clip().arbitrate()
        return controls if self._stuck is None else self._stuck.watch(observation, controls, frame.captured_ns / 1e9)


def stale_after(period_s: float) -> float:
    """Return how old the picture behind controls may be, in seconds: 0.2, or two periods of a slow loop."""
    return max(STALE_S, _STALE_PERIODS * period_s)


class _Watcher:
    """An observer that cannot stop the drive: its first failure is written down and it is left out from then on."""

    def __init__(self, observer: TickObserver, problems: list[str]) -> None:
        self._observer = observer
        self._problems = problems
        self._failed = False

    def __enter__(self) -> Self:
        self._observer.__enter__()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._observer.__exit__(exc_type, exc, traceback)
        except Exception as problem:
            self._report(problem)

    def on_tick(self, record: TickRecord) -> None:
        if self._failed:
            return
        try:
            self._observer.on_tick(record)
        except Exception as problem:
            self._report(problem)

    def _report(self, problem: Exception) -> None:
        if self._failed:
            return
        self._failed = True
        if isinstance(problem, AgentError):
            line = str(problem)  # says by itself which file, what was expected and what to do
        else:
            line = f"{type(self._observer).__name__} failed and was left out ({type(problem).__name__}: {problem})"
        self._problems.append(line)
        _log.warning("%s", line)
        _log.debug("the observer's failure", exc_info=problem)


def warm_up(engine: Engine, runs: int = 10) -> float:
    """Run the network on noise until it has settled, before anything depends on its speed.

    Args:
        engine: What runs the network.
        runs: Forward passes to measure, after two that are not (the first compiles, the second allocates).

    Returns:
        Seconds of a slow forward pass, the second longest of ten: a rate that the median allows misses deadlines all
        the time on a machine that is not steady.

    Raises:
        ValueError: If ``runs`` is not positive.
        AgentError: If the network cannot be run, or its prediction is unusable.
    """
    if runs < 1:
        raise ValueError(f"cannot warm up in {runs} runs, expected at least 1")
    spec = engine.spec
    observation = np.random.default_rng(0).integers(0, 256, (spec.height_px, spec.width_px, 3), np.uint8)
    durations_s = []
    for _ in range(2 + runs):
        started_ns = clock_ns()
        prediction = engine.infer(observation)
        durations_s.append((clock_ns() - started_ns) / 1e9)
        Controls.from_prediction(prediction)
    return sorted(durations_s[2:])[-1 - runs // 10]


def sustainable_rate(wanted_hz: float, inference_s: float) -> float:
    """Return the rate that this machine can hold, at most the wanted one.

    Args:
        wanted_hz: The rate asked for.
        inference_s: Seconds of a slow forward pass, from :func:`warm_up`.

    Returns:
        ``wanted_hz`` if forward passes leave a quarter of the period for the rest of a tick and for the game;
        otherwise the highest rate at which they do, rounded down to a tenth of a hertz, at least 0.1.
    """
    if inference_s * wanted_hz <= _INFERENCE_SHARE:
        return wanted_hz
    return min(wanted_hz, max(0.1, math.floor(10 * _INFERENCE_SHARE / inference_s) / 10))
