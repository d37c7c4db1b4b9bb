"""A person drives a game in a window; what they see and what they do becomes episodes to learn from."""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from agent.capture.base import FrameSource
from agent.contract.controls import NEUTRAL, Controls
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.errors import BlindError
from agent.contract.observation import Frame
from agent.inputs.sampling import ControlTrack
from agent.observers.episode_writer import EpisodeRecorder
from agent.system.pacing import Pacer, clock_ns

_log = logging.getLogger(__name__)

DISCARDED_S = 5.0
"""What the discard key takes back: somebody who has just crashed needs about as long to reach it."""
_ALIKE = 0.05  # controls that differ by less are the same
_STRAIGHT = 0.05  # a steering below this counts as straight on


@dataclass(slots=True)
class DemonstrationCounts:
    """What has been recorded; every frame is in one of the counts.

    Attributes:
        frames: Rows recorded.
        dropped: Frames that compressing and writing could not keep up with.
        repeated: Ticks at which neither the picture nor the controls were new; nothing is recorded then.
        blind: Ticks without a picture: minimised, black, frozen.
        unheard: Ticks at which the person could not be heard, such as with a gamepad that has gone.
        discarded: Rows taken back by the discard key, and pictures that waited for their controls then or at the end.
        left: Rows steering left.
        straight: Rows steering straight on.
        right: Rows steering right.
        marks: How often the mark key was pressed.
        episodes: Files written.
        size_bytes: Of those files and the recording.
    """

    frames: int = 0
    dropped: int = 0
    repeated: int = 0
    blind: int = 0
    unheard: int = 0
    discarded: int = 0
    left: int = 0
    straight: int = 0
    right: int = 0
    marks: int = 0
    episodes: int = 0
    size_bytes: int = 0


class Demonstration:
    """Records a person, one episode from every start to the next stop.

    The keys' methods may be called from any thread; they take effect with the next frame.

    Args:
        source: The game's pictures; open.
        track: What the person does.
        header: What is true of the episodes.
        folder: Where they go, as GAME-DATE-TIME.parquet.
        started: Whether to record at once, or only from the start key on.
        clock: Monotonic time in nanoseconds, the one that stamps the frames.
        blocking: Wait for the disk instead of dropping frames; for games that wait.
        averaged_s: A picture's controls are the mean of those from it on for so long, and an episode's last pictures,
            for which there is no such time, are left out; 0: those of its moment.

    Attributes:
        counts: What was recorded so far.
        paused: Whether recording rests inside an episode.
        files: The episodes' files.
    """

    def __init__(
        self,
        source: FrameSource,
        track: ControlTrack,
        header: EpisodeHeader,
        folder: Path,
        started: bool = True,
        clock: Callable[[], int] = clock_ns,
        blocking: bool = False,
        averaged_s: float = 0.0,
    ) -> None:
        self.counts = DemonstrationCounts()
        self.paused = False
        self.files: list[Path] = []
        self._source = source
        self._track = track
        self._header = header
        self._folder = folder
        self._clock = clock
        self._blocking = blocking
        self._averaged_s = averaged_s
        self._wanted = started
        self._recorder: EpisodeRecorder | None = None
        self._pending: deque[Frame] = deque()
        self._last: tuple[int, Controls] | None = None  # the newest row's picture and controls
        self._discard_since_ns: int | None = None
        self._mark_ns: int | None = None
        self._dropped_before = 0
        self._finished_bytes = 0
        self._told: str | None = None  # why nothing is being recorded, as it was said last
        self._was_moved = False  # whether anything was pressed or turned in this episode
        self._rows: deque[tuple[int, float]] = deque(maxlen=round(2 * DISCARDED_S * header.rate_hz))

    def __enter__(self) -> Self:
        """Open the first episode, which takes a second or more, before the person's time runs.

        Raises:
            EpisodeError: If it cannot be created.
        """
        if self._wanted and not self.recording:
            self._start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop()

    @property
    def recording(self) -> bool:
        """Whether an episode is being recorded."""
        return self._recorder is not None

    def start_or_stop(self) -> None:
        """Begin an episode, or end the one that is being recorded."""
        self._wanted = not self._wanted

    def pause_or_go_on(self) -> None:
        """Let recording rest, or go on, in the same episode."""
        self.paused = not self.paused

    def discard(self) -> None:
        """Take back the last five seconds."""
        self._discard_since_ns = self._clock() - round(DISCARDED_S * 1e9)

    def mark(self) -> None:
        """Mark this moment: the telemetry of the picture seen then has ``mark`` 1."""
        self._mark_ns = self._clock()

    def run(self, pacer: Pacer, until: Callable[[], bool], each_tick: Callable[[], None] = lambda: None) -> None:
        """Record at the pacer's rate until told to stop.

        Raises:
            CaptureError: If the window was closed or the screen cannot be read; what was recorded is kept.
            EpisodeError: If an episode cannot be created or was not written whole.
        """
        for _ in pacer.ticks():
            if until():
                break
            self._obey()
            self._take_picture()
            each_tick()

    def _obey(self) -> None:
        if self._wanted and not self.recording:
            self._start()
        elif not self._wanted and self.recording:
            self._stop()
        if self._discard_since_ns is not None:
            since_ns, self._discard_since_ns = self._discard_since_ns, None
            if self._recorder is not None:
                self._drop_pending()
                self._recorder.discard_since(since_ns)
                self._count_discarded(since_ns)

    def _count_discarded(self, since_ns: int) -> None:
        while self._rows and self._rows[-1][0] >= since_ns:
            self._count_steering(self._rows.pop()[1], -1)
            self.counts.frames -= 1
            self.counts.discarded += 1

    def _drop_pending(self) -> None:
        self.counts.discarded += len(self._pending)
        self._pending.clear()

    def _take_picture(self) -> None:
        """Record the pictures before this one whose controls are known by now, and take a new one."""
        if self._recorder is not None:
            self._record_known(self._recorder)
        if not self.recording or self.paused:
            return
        if self._track.unheard is not None:  # what the samples say now is nobody's: no label is made of it
            self._drop_pending()
            self.counts.unheard += 1
            self._tell(self._track.unheard)
            return
        try:
            frame = self._source.read()
        except BlindError as blind:
            self.counts.blind += 1
            self._tell(f"blind: {blind}")
            return
        self._tell(None)
        self._pending.append(frame)

    def _tell(self, reason: str | None) -> None:
        """Say once why nothing is being recorded, and once that something is again."""
        if reason == self._told:
            return
        if reason is not None:
            _log.warning("nothing is recorded now: %s", reason)
        elif self._told is not None:
            _log.warning("recording again")
        self._told = reason

    def _record_known(self, recorder: EpisodeRecorder) -> None:
        known_ns = self._clock() - round(self._averaged_s * 1e9)
        while self._pending and self._pending[0].captured_ns <= known_ns:
            self._record(self._pending.popleft(), recorder)

    def _record(self, frame: Frame, recorder: EpisodeRecorder) -> None:
        if self._averaged_s:
            controls = self._track.mean(frame.captured_ns, self._averaged_s)
        else:
            controls = self._track.at(frame.captured_ns)
        # The same picture again matters only if the person does something else about it: pulls away from a standstill.
        if self._last is not None and self._last[0] == frame.index and _alike(self._last[1], controls):
            self.counts.repeated += 1
            return
        self._last = (frame.index, controls)
        self._was_moved |= not _alike(controls, NEUTRAL)
        seen_until_ns = self._pending[0].captured_ns if self._pending else self._clock()
        mark = self._mark_ns is not None and self._mark_ns <= seen_until_ns
        if mark:
            self._mark_ns = None
        self.counts.marks += mark
        if recorder.put(EpisodeRow(frame, controls, controls, telemetry={"mark": float(mark)})):
            self.counts.frames += 1
            self._rows.append((frame.captured_ns, controls.steering))
            self._count_steering(controls.steering, 1)
        self.counts.dropped = self._dropped_before + recorder.dropped
        self.counts.size_bytes = self._finished_bytes + recorder.size_bytes

    def _count_steering(self, steering: float, by: int) -> None:
        name = "straight" if abs(steering) < _STRAIGHT else "left" if steering < 0 else "right"
        setattr(self.counts, name, getattr(self.counts, name) + by)

    def _start(self) -> None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        path = self._folder / f"{self._header.game}-{stamp}.parquet"
        number = 2
        while path.exists() or path.with_suffix(".recording").exists():
            path, number = path.with_name(f"{self._header.game}-{stamp}-{number}.parquet"), number + 1
        self._recorder = EpisodeRecorder(path, self._header, blocking=self._blocking).__enter__()
        self._was_moved = False
        self.files.append(path)

    def _stop(self) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        self._record_known(recorder)
        self._drop_pending()
        try:
            recorder.__exit__(None, None, None)
        finally:
            self.counts.dropped = self._dropped_before = self._dropped_before + recorder.dropped
            path = self.files[-1]
            if path.exists():
                if not self._was_moved:
                    _log.warning(
                        "in %s nothing was ever pressed or turned, expected you to drive: a network learns from it to "
                        "do nothing. Delete it, and look at what you drive with by `python -m agent doctor`.",
                        path.name,
                    )
                self.counts.episodes += 1
                self._finished_bytes += path.stat().st_size
            else:
                self.files.pop()
            self.counts.size_bytes = self._finished_bytes


def _alike(first: Controls, second: Controls) -> bool:
    return bool(np.abs(np.subtract(first.values, second.values)).max() <= _ALIKE)


def describe(counts: DemonstrationCounts, state: str) -> str:
    """Return one line: what is recorded, and whether it is "only straight" so far."""
    rows = max(1, counts.frames)
    return (
        f"{state} | frames {counts.frames}, dropped {counts.dropped}, repeated {counts.repeated}, blind {counts.blind}"
        f"{f', unheard {counts.unheard}' if counts.unheard else ''} | "
        f"left {counts.left / rows:.0%} straight {counts.straight / rows:.0%} right {counts.right / rows:.0%} | "
        f"{counts.size_bytes / 1e6:.1f} MB"
    )


def state_of(demonstration: Demonstration) -> str:
    """Return what the person wants to know first."""
    if not demonstration.recording:
        return "stopped"
    return "paused" if demonstration.paused else "recording"
