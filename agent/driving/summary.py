"""What happened in a drive."""

import logging
from dataclasses import asdict
from typing import Any

from agent.contract.controls import YIELDING_AXES, Controls
from agent.contract.errors import BlindError
from agent.contract.observation import Frame
from agent.driving.stuck import StuckWatch
from agent.system.pacing import TickStats

_log = logging.getLogger(__name__)

_PRESSED = 0.05  # a raw pedal above this counts as pressed; the regression heads hover a little above zero at rest


class DriveSummary:
    """What happened in a drive; kept up to date while it runs, so that an interrupted drive has a summary too.

    Args:
        stats: The pacer's figures.

    Attributes:
        stats: Timing, rates and missed deadlines.
        frames: Distinct frames that the source delivered, including those that passed unseen between two ticks.
        predictions: Predictions made and sent.
        repeated_frames: Ticks that found no new frame and acted on the previous one again.
        co_pressed: Predictions that pressed throttle and brake at once, before arbitration.
        interventions: Ticks on which a person drove.
        problems: What went wrong without stopping the drive, such as a recording that failed; one line each.
        blind_ticks: Ticks without a usable picture; controls were neutral.
        blind_events: How many times the pictures were lost.
        stale_ticks: Ticks whose decision came when its picture was already too old; controls were neutral.
        stale_events: How many times decisions began to come too late.
        fault: The failure that ended the drive, if there was one.
        stuck: The watch for a stuck car, if there was one.
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
    def late_in_a_row(self) -> int:
        """How many decisions have come too late since the last one that was in time."""
        return self._stale_ticks_now

    @property
    def co_pressed_share(self) -> float:
        """Share of predictions that pressed both pedals."""
        return self.co_pressed / self.predictions if self.predictions else 0.0

    def count(self, frame: Frame, prediction: Controls) -> None:
        """Count one tick.

        Args:
            frame: The frame that it acted on.
            prediction: The raw prediction.
        """
        if self._last_index is None:
            self.frames = 1
        else:
            self.frames += max(0, frame.index - self._last_index)
            self.repeated_frames += frame.index == self._last_index
        self._last_index = frame.index
        self.predictions += 1
        self.co_pressed += any(
            min(getattr(prediction, name), getattr(prediction, other)) > _PRESSED for name, other in YIELDING_AXES
        )

    def lose_sight(self, blind: BlindError) -> None:
        """Count a tick without a picture; logs once when such ticks begin."""
        if not self._blind_ticks_now:
            self.blind_events += 1
            _log.warning("blind: %s; controls are neutral until there is a picture again", blind)
        self._blind_ticks_now += 1
        self.blind_ticks += 1

    def regain_sight(self) -> None:
        """Note that there is a picture; logs it if there was none before."""
        if self._blind_ticks_now:
            _log.warning("sees again after %.1f s", self._blind_ticks_now * self.stats.period_s)
            self._blind_ticks_now = 0

    def come_too_late(self, age_s: float, limit_s: float) -> None:
        """Count a decision that was not sent because its picture was too old; logs once when such ticks begin."""
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
        """Note that a decision is in time; logs it if the previous one was late."""
        if self._stale_ticks_now:
            _log.warning("in time again after %d late decisions", self._stale_ticks_now)
            self._stale_ticks_now = 0

    def describe_trouble(self, expired: int) -> str:
        """Return everything that went wrong, in one line; empty if nothing did.

        Args:
            expired: How often the guard released the controls by itself.
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
            "frames_per_second": max(0, self.frames - 1) / elapsed_s if elapsed_s > 0 else 0.0,
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
