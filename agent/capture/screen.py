"""A part of the screen as a camera: a window that is followed, a monitor, or a fixed region."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from agent.capture import registry
from agent.capture.base import Grabber
from agent.capture.desktop import find_windows, is_wayland, open_desktop, plain_title
from agent.capture.desktop_base import Desktop, Window, WindowState
from agent.contract.errors import BlindError, CaptureError, FrozenError
from agent.contract.observation import Frame, Pixels
from agent.contract.profile import Capture, Region
from agent.system.pacing import clock_ns

_log = logging.getLogger(__name__)

FROZEN_S = 0.5
"""If the picture has not changed for this long, the game counts as frozen: 25 pictures at 50 a second."""

RETRY_AFTER_S = (2.0, 4.0, 8.0)
"""Pauses before a frozen picture is tried again: the agent drives by it until it counts as frozen once more.

A game at rest also shows the same picture all the time, and only moving its car can tell it from a frozen one. After
the last of these tries, the agent drives on only once the picture has changed."""

AWAY_S = 10.0
"""A game without a window for this long has ended. Games that replace their window, such as for full screen, took
0.1 s."""

BLACK_LEVEL = 8
"""A picture whose brightest value (of 255) is at most this counts as black: a minimised or protected window, or a
loading screen."""


@dataclass(slots=True)
class CaptureCounts:
    """Counts of a source's pictures.

    Attributes:
        grabbed: Pictures taken off the screen.
        repeated: Pictures equal to the one before, to the last pixel.
        black: Black pictures.
    """

    grabbed: int = 0
    repeated: int = 0
    black: int = 0


class ScreenSource:
    """Delivers the present content of the screen; each read takes a new picture.

    A frame's index goes up only when the picture has changed. ``captured_ns`` is the time just before the picture is
    taken, so that a latency is never reported shorter than it is.

    Args:
        capture: Where the picture is. Its window is followed when it moves and when its size changes.
        open_grabber: Opens the screen; None opens the grabber that ``capture`` names.
        open_desktop: Opens the list of windows, if one is named.
        clock: Monotonic time in nanoseconds.
        frozen_s: How long the picture may stand still; ``math.inf`` for no limit.

    Attributes:
        counts: Counts of the pictures so far.
        focused: Whether the window had the keyboard focus at the last read; None if unknown.
        title: The whole title of the captured window, in printable form; empty without a window.
    """

    def __init__(
        self,
        capture: Capture,
        open_grabber: "Callable[[], Grabber] | None" = None,
        open_desktop: Callable[[], Desktop] = open_desktop,
        clock: Callable[[], int] = clock_ns,
        frozen_s: float = FROZEN_S,
    ) -> None:
        self.counts = CaptureCounts()
        self.focused: bool | None = None
        self._capture = capture
        self._open_grabber = open_grabber or partial(registry.open_grabber, capture.grabber)
        self._open_desktop = open_desktop
        self._clock = clock
        self._frozen_s = frozen_s
        self._grabber: Grabber | None = None
        self._desktop: Desktop | None = None
        self._handle = 0
        self.title = ""
        self._process = 0
        self._gone_ns: int | None = None  # when its window disappeared
        self._last: Pixels | None = None
        self._index = 0
        self._changed_ns = 0

    def __enter__(self) -> Self:
        """Find the window and open the screen.

        Raises:
            CaptureError: If there is no such window, monitor or screen.
        """
        if self._grabber is not None:
            return self
        if self._capture.window is not None:
            self._desktop = self._open_desktop()
            self._take(find_windows(self._desktop, self._capture.window))
        try:
            self._grabber = self._open_grabber()
            monitors = len(self._grabber.monitors) - 1
            if self._capture.window is None and self._capture.monitor > monitors:
                raise CaptureError(f"there is no monitor {self._capture.monitor}, expected 1 to {monitors}.")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self._changed_ns = self._clock()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._grabber is not None:
            self._grabber.close()
        if self._desktop is not None:
            self._desktop.close()
        self._grabber = self._desktop = None

    def covering(self) -> list[str]:
        """Return the titles of the windows that lie on top of this one: their pixels are captured as the game's.

        Raises:
            CaptureError: If the desktop is gone.
        """
        if self._desktop is None:
            return []
        return [plain_title(window.title) for window in self._desktop.covering(self._handle)]

    def region(self) -> Region:
        """Return what is captured now, in desktop pixels.

        Raises:
            CaptureError: If the window has been closed.
            BlindError: If it is minimised, does not have the focus, or is partly outside of the screen.
        """
        grabber = self._opened()
        whole = grabber.monitors[0]
        if self._desktop is None:
            outer = grabber.monitors[self._capture.monitor]
            name = f"monitor {self._capture.monitor}"
        else:
            state = self._desktop.look(self._handle)
            if state is None:
                state = self._look_again()
            self._gone_ns = None
            self.focused = state.focused
            if state.minimised:
                raise BlindError(f"the window {self.title!r} is minimised")
            if state.focused is False and self._capture.needs_focus:
                raise BlindError(f"the window {self.title!r} is not the one in use (click into it)")
            outer, name = state.region, f"the window {self.title!r}"
        region = outer if self._capture.region is None else self._capture.region.within(outer)
        right, bottom = whole.left + whole.width, whole.top + whole.height
        outside = region.left < whole.left or region.top < whole.top
        if outside or region.left + region.width > right or region.top + region.height > bottom:
            raise BlindError(f"{name} is partly outside of the screen ({region}, the screen is {whole})")
        return region

    def _take(self, found: list[Window]) -> None:
        """Capture the likeliest of the windows from now on, and log which it is."""
        window, *others = found
        self._handle, self.title, self._process = window.handle, plain_title(window.title), window.process
        listed = ", ".join(repr(plain_title(other.title)) for other in others[:5])
        _log.warning("looking at the window %r%s", self.title, f"; these would fit as well: {listed}" if others else "")

    def _look_again(self) -> WindowState:
        """Find the window that a game has opened in place of its old one: for another resolution, level or full screen.

        Raises:
            BlindError: If it is not there yet.
            CaptureError: If there has been no window for too long.
        """
        assert self._desktop is not None, "asked for a window alone"
        assert self._capture.window is not None, "asked for a window alone"
        if self._gone_ns is None:
            self._gone_ns = self._clock()
        away_s = (self._clock() - self._gone_ns) / 1e9
        try:
            found = [each for each in find_windows(self._desktop, self._capture.window) if self._is_the_games(each)]
        except CaptureError:
            found = []
        state = self._desktop.look(found[0].handle) if found else None
        if state is not None:
            self._take(found)
            return state
        if away_s > AWAY_S:
            raise CaptureError(
                f"the window {self.title!r} was closed {away_s:.0f} s ago, expected the game to keep running, or to "
                "open another window with that title."
            )
        raise BlindError(f"the window {self.title!r} was closed; waiting for the game to show another")

    def _is_the_games(self, window: Window) -> bool:
        """Return whether a window can be the game's: of its process, or of its whole title.

        When a game ends, the next window that speaks of it may be a terminal, a launcher or a browser: keys would go
        there.
        """
        is_same_process = self._process != 0 and window.process == self._process
        return is_same_process or plain_title(window.title) == self.title

    def read(self) -> Frame:
        """Return what is on the screen now: uint8, shape (height, width, 4), BGRA.

        Raises:
            CaptureError: If the window has been closed or the screen cannot be read.
            BlindError: If there is no usable picture now: minimised, without focus, off the screen, black or frozen.
        """
        region = self.region()
        captured_ns = self._clock()
        pixels = self._opened().grab(region)
        self.counts.grabbed += 1
        if self._last is not None and _equal(pixels, self._last):
            self.counts.repeated += 1
        else:
            self._last = pixels
            self._index += 1
            self._changed_ns = captured_ns
        if _is_black(pixels):
            self.counts.black += 1
            raise BlindError(
                "the picture is black" + (" (a Wayland session shows X programs nothing)" if is_wayland() else "")
            )
        self._check_for_life((captured_ns - self._changed_ns) / 1e9)
        return Frame(pixels, captured_ns, self._index)

    def _check_for_life(self, still_s: float) -> None:
        """Refuse a picture that has been the same for this long, except during the tries of a frozen picture."""
        began_s = 0.0
        for pause_s in (*RETRY_AFTER_S, math.inf):
            ends_s = began_s + self._frozen_s
            if still_s < ends_s:
                return
            began_s = ends_s + pause_s
            if still_s < began_s:
                then = "not driven by until it does" if math.isinf(pause_s) else f"tried again after {pause_s:g} s"
                raise FrozenError(f"the picture has not changed for {ends_s:g} s ({then})")

    def _opened(self) -> Grabber:
        if self._grabber is None:
            raise CaptureError("the screen is not open, expected to be used inside its `with` block.")
        return self._grabber


def _equal(first: Pixels, second: Pixels) -> bool:
    """Compare two pictures; first a sample of their pixels, because most pictures differ everywhere."""
    if first.shape != second.shape:
        return False
    step = max(1, first.shape[0] // 8)
    return np.array_equal(first[::step], second[::step]) and np.array_equal(first, second)


def _is_black(pixels: Pixels) -> bool:
    sample = pixels[::4, ::4, :3]
    return bool(sample.max() <= BLACK_LEVEL) and bool(pixels[..., :3].max() <= BLACK_LEVEL)
