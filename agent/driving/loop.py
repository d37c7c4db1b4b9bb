"""The drive: capture a picture, decide, send controls; repeat at the next deadline."""

import gc
import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from agent.capture.base import FrameSource
from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import AgentError, BlindError, FrozenError, UnexpectedError
from agent.contract.observation import Frame, Observation
from agent.controllers.base import Controller
from agent.driving.stuck import StuckWatch
from agent.driving.summary import DriveSummary
from agent.observers.base import BlindTick, DrivenTick, LateTick, StuckState, TickObserver, TickRecord
from agent.policies.base import Policy
from agent.system.pacing import Pacer, Tick
from agent.system.priority import prompt_wakeups

_log = logging.getLogger(__name__)

STALE_S = 0.2
"""How old a picture may be for the controls decided from it to be sent. It is about a person's reaction time, and
several times as long as a pass takes on a machine that is fast enough to drive."""

LONGEST_STALE_S = 1.0
"""That limit at its highest, for slow loops: one period at one decision a second, the lowest rate allowed."""

_STALE_PERIODS = 2.0  # below 10 decisions a second, the picture of a timely decision may be older than STALE_S


def drive(
    source: FrameSource,
    controller: Controller,
    policy: Policy,
    pacer: Pacer,
    observers: Sequence[TickObserver] = (),
    until: Callable[[], bool] = lambda: False,
    summary: DriveSummary | None = None,
    takeover: Callable[[], Controls | None] = lambda: None,
    stuck: StuckWatch | None = None,
) -> DriveSummary:
    """Drive until told to stop. However the drive ends, the controller is left neutral.

    While the source has no usable picture (:class:`BlindError`, or a picture older than :func:`stale_after`), the
    controls are neutral, and the source is asked again on every tick. Controls are also neutral if a decision comes so
    late that its picture has become too old.

    Args:
        source: Where frames come from; opened and closed here.
        controller: What moves the car; opened here, and closed here before everything else.
        policy: What decides; reset before the first tick, and left open.
        pacer: Sets the rate, on the clock that stamps the frames.
        observers: Side jobs, which see every tick, blind and late ones too; opened and closed here. One that fails
            while driving is dropped and named in ``summary.problems``; one that cannot be opened prevents the drive.
        until: Asked before every tick; true ends the drive.
        takeover: Asked after every decision. If it returns a person's controls, they are sent instead of the policy's,
            also on ticks without a picture.
        stuck: Watches for a stuck car; its controls are sent while it frees the car.
        summary: Filled in while driving. Pass one to have it after an exception or Ctrl-C too.

    Returns:
        The summary.

    Raises:
        AgentError: If a frame, a prediction or the controller fails on the way; ``summary.fault`` has the error too.
            An unknown kind of failure is raised as an ``UnexpectedError``. Also if the source, the controller or an
            observer cannot be opened.
    """
    summary = summary or DriveSummary(pacer.stats)
    summary.stuck = stuck
    driver = _Driver(source, controller, policy, summary, takeover, stuck, stale_after(pacer.period_s))
    policy.reset()
    with ExitStack() as stack:
        stack.enter_context(_no_garbage_in_mid_tick())
        watchers = [stack.enter_context(_Watcher(observer, summary.problems)) for observer in observers]
        stack.enter_context(source)
        stack.enter_context(controller)
        stack.enter_context(prompt_wakeups())
        stack.enter_context(_faults_noted(summary))
        for tick in pacer.ticks():
            if until():
                break
            record = driver.act(tick)
            for watcher in watchers:
                watcher.on_tick(record)
            gc.collect()
    return summary


@contextmanager
def _faults_noted(summary: DriveSummary) -> Iterator[None]:
    """Note what ends the drive in its summary; raise an unknown kind of failure as an ``UnexpectedError``."""
    try:
        yield
    except AgentError as exc:
        summary.fault = str(exc)
        raise
    except Exception as exc:
        summary.fault = _describe_unexpected(exc)
        raise UnexpectedError(summary.fault) from exc


def _describe_unexpected(exc: Exception) -> str:
    place = traceback.extract_tb(exc.__traceback__)[-1]
    what = f"{type(exc).__name__}: {' '.join(str(exc).split())}"
    return (
        f"unexpected {what} ({Path(place.filename).name}, line {place.lineno}), which should not happen. Report it, "
        "with the output of --verbose."
    )


@contextmanager
def _no_garbage_in_mid_tick() -> Iterator[None]:
    """Collect garbage only between two ticks, and skip all objects that were loaded before the drive.

    Otherwise Python may collect in the middle of a tick and go through all objects: 221 ms with TensorFlow loaded, 4 ms
    without (two-core EPYC). A collection after every tick, over the few objects that the tick has left, takes 5 us.
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
        policy: Policy,
        summary: DriveSummary,
        takeover: Callable[[], Controls | None],
        stuck: StuckWatch | None,
        limit_s: float,
    ) -> None:
        self._source = source
        self._controller = controller
        self._policy = policy
        self._summary = summary
        self._takeover = takeover
        self._stuck = stuck
        self._limit_s = limit_s

    def act(self, tick: Tick) -> TickRecord:
        """Look, decide, send; return a record of it."""
        try:
            frame = self._look(tick)
        except BlindError as blind:
            self._summary.lose_sight(blind)
            if self._stuck is not None and not isinstance(blind, FrozenError):
                self._stuck.look_away()
            controls, is_by_hand = self._send_neutral()
            reason = str(blind)
            return BlindTick(
                tick.index, reason, controls, tick.sections_s, tick.started_ns, is_by_hand, self._stuck_state
            )
        self._summary.regain_sight()
        prediction, observation = self._policy.decide(frame, tick.section)
        outputs = self._policy.spec.output_names
        with tick.section("send"):
            raw = Controls.from_prediction(prediction, outputs)
            age_s = tick.age_s(frame.captured_ns)
            if age_s > self._limit_s:
                self._summary.come_too_late(age_s, self._limit_s)
                # After several late ticks in a row, the car may stand because nothing drove it: that time does not
                # count as stuck. A single late tick is too short to matter.
                if self._stuck is not None and self._summary.late_in_a_row > 1:
                    self._stuck.look_away()
                controls, is_by_hand = self._send_neutral()
                return LateTick(
                    tick.index,
                    frame,
                    observation,
                    prediction,
                    controls,
                    age_s,
                    tick.sections_s,
                    tick.started_ns,
                    is_by_hand,
                    self._stuck_state,
                )
            by_hand = self._takeover()
            controls = self._choose(raw, by_hand, observation, frame)
            self._controller.send(controls)
        latency_s = tick.mark_sent(frame.captured_ns)
        self._summary.come_in_time()
        self._summary.count(frame, raw)
        self._summary.interventions += by_hand is not None
        return DrivenTick(
            tick.index,
            frame,
            observation,
            prediction,
            controls,
            latency_s,
            tick.sections_s,
            tick.started_ns,
            by_hand is not None,
            self._stuck_state,
            outputs,
        )

    def _look(self, tick: Tick) -> Frame:
        with tick.section("capture"):
            frame = self._source.read()
        age_s = tick.age_s(frame.captured_ns)
        if age_s > self._limit_s:
            raise BlindError(f"the newest picture is {age_s * 1e3:.0f} ms old")
        return frame

    def _send_neutral(self) -> tuple[Controls, bool]:
        """Send neutral controls, or a person's controls; return them, and whether they are a person's."""
        by_hand = self._takeover()
        controls = NEUTRAL if by_hand is None else by_hand
        self._controller.send(controls)
        return controls, by_hand is not None

    @property
    def _stuck_state(self) -> StuckState | None:
        return None if self._stuck is None else self._stuck.state

    def _choose(self, raw: Controls, by_hand: Controls | None, observation: Observation, frame: Frame) -> Controls:
        """Return the controls to send: a person's, else those that free a stuck car, else the network's."""
        if by_hand is not None:
            if self._stuck is not None:
                self._stuck.hand_over()
            return by_hand
        controls = raw.clip().arbitrate()
        return controls if self._stuck is None else self._stuck.watch(observation, controls, frame.captured_ns / 1e9)


def stale_after(period_s: float) -> float:
    """Return how old the picture behind controls may be, in seconds: two periods, but at least 0.2 and at most 1."""
    return min(LONGEST_STALE_S, max(STALE_S, _STALE_PERIODS * period_s))


class _Watcher:
    """An observer that cannot stop the drive: its first failure is noted, and after that it is no longer called."""

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
            line = str(problem)  # already says which file, what was expected and what to do
        else:
            line = f"{type(self._observer).__name__} failed and was left out ({type(problem).__name__}: {problem})"
        self._problems.append(line)
        _log.warning("%s", line)
        _log.debug("the observer's failure", exc_info=problem)
