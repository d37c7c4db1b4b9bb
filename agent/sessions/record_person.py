"""A person drives a game in a window; their pictures and controls become episodes to learn from."""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from agent.capture.base import FrameSource
from agent.contract.controls import NEUTRAL, STRAIGHT, Controls
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow, timed_path
from agent.contract.errors import BlindError
from agent.contract.observation import Frame
from agent.inputs.resting import RestWatch
from agent.inputs.sampling import ControlTrack
from agent.observers.episode_writer import EpisodeRecorder
from agent.sessions.pages import PersonOnPage
from agent.system.pacing import Pacer, clock_ns

_log = logging.getLogger(__name__)

DISCARDED_S = 5.0
"""How much the discard key deletes: after a crash, a person needs about this long to reach the key."""
_ALIKE = 0.05  # controls that differ by less are the same


@dataclass(slots=True)
class DemonstrationCounts:
    """Counts of a recording; every frame is in one of them.

    Attributes:
        frames: Rows recorded.
        dropped: Frames lost because compressing and writing could not keep up.
        repeated: Ticks on which neither the picture nor the controls were new; nothing is recorded then.
        blind: Ticks without a picture: minimised, black, frozen.
        unheard: Ticks on which the device could not be read, such as a gamepad that was unplugged.
        discarded: Rows deleted by the discard key, and pictures still without controls then or at the end.
        left: Rows steering left.
        straight: Rows steering straight on.
        right: Rows steering right.
        marks: How often the mark key was pressed.
        episodes: Files written.
        size_bytes: Size of those files and the recording.
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
    """Records a person: one episode from every start to the next stop.

    The hotkeys' methods may be called from any thread; they take effect with the next frame.

    Args:
        source: The game's pictures; open.
        track: The person's controls.
        header: The header of the episodes.
        folder: Where the episodes go, as GAME-DATE-TIME.parquet.
        started: Whether to record at once, or only after the start key.
        clock: Monotonic time in nanoseconds; the clock that stamps the frames.
        blocking: Wait for the disk instead of dropping frames; for games that wait.
        averaged_s: A picture's controls are the mean over this many seconds after it. An episode's last pictures, which
            have less time after them, are left out. 0 takes the controls at the moment of the picture.
        page: Shows what is recorded.

    Attributes:
        counts: The counts so far.
        paused: Whether recording is paused inside an episode.
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
        page: PersonOnPage | None = None,
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
        self._page = page
        self._wanted = started
        self._recorder: EpisodeRecorder | None = None
        self._rest = RestWatch()
        self._pending: deque[Frame] = deque()
        self._last: tuple[int, Controls] | None = None  # the newest row's picture and controls
        self._discard_since_ns: int | None = None
        self._mark_ns: int | None = None
        self._dropped_before = 0
        self._finished_bytes = 0
        self._told: str | None = None  # the last logged reason why nothing is recorded
        self._was_moved = False  # whether anything was pressed or turned in this episode
        self._rows: deque[tuple[int, float]] = deque(maxlen=round(2 * DISCARDED_S * header.rate_hz))

    def __enter__(self) -> Self:
        """Open the first episode before the person's time starts; that takes a second or more.

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
        """Pause or resume recording in the same episode."""
        self.paused = not self.paused

    def discard(self) -> None:
        """Delete the last five seconds."""
        self._discard_since_ns = self._clock() - round(DISCARDED_S * 1e9)

    def mark(self) -> None:
        """Mark this moment: the telemetry of its picture has ``mark`` 1."""
        self._mark_ns = self._clock()

    def run(self, pacer: Pacer, until: Callable[[], bool], each_tick: Callable[[], None] = lambda: None) -> None:
        """Record at the pacer's rate until told to stop.

        Raises:
            CaptureError: If the window was closed or the screen cannot be read; what was recorded is kept.
            EpisodeError: If an episode cannot be created or was not written completely.
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
        """Record the earlier pictures whose controls are known by now, and take a new picture."""
        if self._recorder is not None:
            self._record_known(self._recorder)
        if not self.recording or self.paused:
            return
        if self._track.unheard is not None:  # these samples are not the person's: make no label of them
            self._drop_pending()
            self.counts.unheard += 1
            self._tell(self._track.unheard)
            return
        try:
            frame = self._source.read()
        except BlindError as blind:
            self.counts.blind += 1
            self._tell(f"blind: {blind}")
            if self._page is not None:
                self._page.saw_nothing(str(blind))
            return
        self._tell(None)
        self._pending.append(frame)

    def _tell(self, reason: str | None) -> None:
        """Log once why nothing is recorded, and once that recording goes on."""
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
        for line in self._rest.look(controls, frame.captured_ns):
            _log.warning("%s", line)
        # A repeated picture matters only if the person's controls have changed, as when driving off from a standstill.
        if self._last is not None and self._last[0] == frame.index and _alike(self._last[1], controls):
            self.counts.repeated += 1
            return
        self._last = (frame.index, controls)
        self._was_moved |= not _alike(controls, NEUTRAL)
        if self._page is not None:
            self._page.drove(frame, controls)
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
        name = "straight" if abs(steering) < STRAIGHT else "left" if steering < 0 else "right"
        setattr(self.counts, name, getattr(self.counts, name) + by)

    def _start(self) -> None:
        path = timed_path(self._folder, self._header.game)
        self._recorder = EpisodeRecorder(path, self._header, blocking=self._blocking).__enter__()
        self._was_moved = False
        self._rest = RestWatch()
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
    """Return one line: the counts, and the shares of left, straight and right so far."""
    rows = max(1, counts.frames)
    return (
        f"{state} | frames {counts.frames}, dropped {counts.dropped}, repeated {counts.repeated}, blind {counts.blind}"
        f"{f', unheard {counts.unheard}' if counts.unheard else ''} | "
        f"left {counts.left / rows:.0%} straight {counts.straight / rows:.0%} right {counts.right / rows:.0%} | "
        f"{counts.size_bytes / 1e6:.1f} MB"
    )


def state_of(demonstration: Demonstration) -> str:
    """Return the state of the recording in a word or two."""
    if not demonstration.recording:
        return "stopped"
    return "paused" if demonstration.paused else "recording"
