"""Windows on the desktop: found by title, followed while they move.

Written on python-xlib and on Windows' own user32 instead of PyWinCtl 0.4.1, the library that covers both: that one ends
the whole program on its import where ``xset`` or ``xrandr`` are not installed, finds nothing without a window manager,
and its inner frame of a 640 x 360 window was 638 x 339 px (Xvfb, openbox 3.6).
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from agent.contract.errors import CaptureError
from agent.contract.profile import Region


@dataclass(frozen=True, slots=True)
class Window:
    """A window as it was when it was listed.

    Attributes:
        handle: The system's number for it.
        title: Its title.
        region: Its inside, in desktop pixels.
    """

    handle: int
    title: str
    region: Region


@dataclass(frozen=True, slots=True)
class WindowState:
    """How a window stands now.

    Attributes:
        region: Its inside, in desktop pixels.
        minimised: Whether it is hidden, so that its pixels are not on the screen.
        focused: Whether keys go to it; None where nobody keeps the focus (no window manager).
    """

    region: Region
    minimised: bool
    focused: bool | None


class Desktop(Protocol):
    """The windows of the session that this process belongs to."""

    def windows(self) -> list[Window]:
        """Return every window with a title that is or can be on the screen.

        Raises:
            CaptureError: If the session has ended.
        """

    def look(self, handle: int) -> WindowState | None:
        """Return how a window stands now, or None if it is gone.

        Raises:
            CaptureError: If the session has ended.
        """

    def close(self) -> None:
        """Let go of the session."""


def find_window(desktop: Desktop, title: str) -> Window:
    """Return the window whose title is, or else contains, these words, whatever the case; of several the largest.

    Raises:
        CaptureError: If there is none; the message lists those there are.
    """
    wanted = title.casefold()
    windows = desktop.windows()
    exact = [window for window in windows if window.title.casefold() == wanted]
    found = exact or [window for window in windows if wanted in window.title.casefold()]
    if found:
        return max(found, key=lambda window: window.region.width * window.region.height)
    titles = sorted({window.title for window in windows})
    listed = ", ".join(repr(known) for known in titles[:10]) or "none at all"
    raise CaptureError(
        f"no window has {title!r} in its title, expected the game to be running; windows here: {listed}. "
        "Start the game, or give a part of its window's title with --window."
    )


def open_desktop() -> Desktop:
    """Return the desktop of this session.

    Raises:
        CaptureError: If there is none, or it does not let programs see each other's windows.
    """
    if sys.platform == "win32":
        return _WindowsDesktop()
    if sys.platform == "darwin":
        raise CaptureError(
            "windows cannot be found by title on macOS, expected Windows or X11. Use --monitor or --region."
        )
    if not os.environ.get("DISPLAY"):
        wayland = os.environ.get("WAYLAND_DISPLAY")
        found = "this is a Wayland session without X" if wayland else "there is no display (DISPLAY is not set)"
        advice = 'Log in to an X11 session ("on Xorg")' if wayland else "Run it where the game is shown, or under Xvfb"
        raise CaptureError(f"{found}, expected a desktop whose screen programs may read. {advice}.")
    return _X11Desktop()


def is_wayland() -> bool:
    """Return whether the session is Wayland's, where X programs see only each other."""
    return bool(os.environ.get("WAYLAND_DISPLAY")) or os.environ.get("XDG_SESSION_TYPE") == "wayland"


class _X11Desktop:
    def __init__(self) -> None:
        from Xlib import X, display, error

        self._x: Any = X
        self._gone = (error.BadWindow, error.BadDrawable, error.BadMatch)
        self._ended = (error.ConnectionClosedError, OSError)
        try:
            self._display: Any = display.Display()
        except (error.DisplayError, OSError) as exc:
            raise CaptureError(
                f"the display {os.environ.get('DISPLAY')!r} cannot be opened ({exc}), expected a running X server. "
                "Run it where the game is shown."
            ) from exc
        self._root = self._display.screen().root
        intern = self._display.intern_atom
        self._net_name, self._utf8 = intern("_NET_WM_NAME"), intern("UTF8_STRING")
        self._wm_state, self._active = intern("WM_STATE"), intern("_NET_ACTIVE_WINDOW")

    def windows(self) -> list[Window]:
        with self._session():
            return list(self._walk(self._root))

    def look(self, handle: int) -> WindowState | None:
        window = self._display.create_resource_object("window", handle)
        try:
            with self._session():
                region = self._region(window)
                viewable = window.get_attributes().map_state == self._x.IsViewable
                active = self._root.get_full_property(self._active, self._x.AnyPropertyType)
        except self._gone:
            return None
        focused = None if active is None else active.value[0] == handle
        return WindowState(region, not viewable, focused)

    def close(self) -> None:
        with suppress(*self._ended):
            self._display.close()

    @contextmanager
    def _session(self) -> Iterator[None]:
        try:
            yield
        except self._ended as exc:
            raise CaptureError(
                f"the X server of the display {os.environ.get('DISPLAY')!r} is gone ({exc}), expected it to run on. "
                "Log in again, or start Xvfb again."
            ) from exc

    def _walk(self, parent: Any) -> Iterator[Window]:
        with suppress(*self._gone):  # windows come and go while they are listed
            for window in parent.query_tree().children:
                with suppress(*self._gone):
                    title = self._title(window)
                    if title and (self._is_shown(window) or self._is_minimised(window)):
                        yield Window(window.id, title, self._region(window))
                    else:
                        yield from self._walk(window)

    def _title(self, window: Any) -> str:
        for name, kind in ((self._net_name, self._utf8), (self._x_name(), self._x.AnyPropertyType)):
            found = window.get_full_property(name, kind)
            if found is not None and found.value:
                value = found.value
                return (value if isinstance(value, str) else bytes(value).decode("utf-8", "replace")).strip()
        return ""

    def _x_name(self) -> int:
        from Xlib import Xatom

        return int(Xatom.WM_NAME)

    def _is_shown(self, window: Any) -> bool:
        attributes = window.get_attributes()
        return bool(attributes.map_state == self._x.IsViewable and attributes.win_class == self._x.InputOutput)

    def _is_minimised(self, window: Any) -> bool:
        state = window.get_full_property(self._wm_state, self._wm_state)
        return state is not None and state.value[0] == 3  # IconicState

    def _region(self, window: Any) -> Region:
        size = window.get_geometry()
        corner = window.translate_coords(self._root, 0, 0)
        # The answer is where the root's corner lies as seen from the window.
        return Region(-corner.x, -corner.y, max(1, size.width), max(1, size.height))


class _WindowsDesktop:
    """Through user32, with coordinates in real pixels whatever the scaling of each monitor."""

    def __init__(self) -> None:
        import ctypes

        self._ctypes = ctypes
        windll: Any = vars(ctypes)["windll"]  # only there on Windows
        self._user32 = windll.user32
        # Per-monitor awareness, version 2: without it Windows scales the coordinates that it tells us.
        with suppress(AttributeError, OSError):
            self._user32.SetProcessDpiAwarenessContext(ctypes.c_void_p(-4))

    def windows(self) -> list[Window]:
        ctypes = self._ctypes
        found: list[Window] = []

        def add(handle: int, _: int) -> bool:
            if self._user32.IsWindowVisible(ctypes.c_void_p(handle)):
                title = ctypes.create_unicode_buffer(512)
                self._user32.GetWindowTextW(ctypes.c_void_p(handle), title, len(title))
                if title.value:
                    found.append(Window(handle, title.value, self._region(handle)))
            return True

        visit = vars(ctypes)["WINFUNCTYPE"](ctypes.c_bool, ctypes.c_void_p, ctypes.c_void_p)(add)
        self._user32.EnumWindows(visit, 0)
        return found

    def look(self, handle: int) -> WindowState | None:
        pointer = self._ctypes.c_void_p(handle)
        if not self._user32.IsWindow(pointer):
            return None
        minimised = bool(self._user32.IsIconic(pointer)) or not self._user32.IsWindowVisible(pointer)
        self._user32.GetForegroundWindow.restype = self._ctypes.c_void_p
        return WindowState(self._region(handle), minimised, self._user32.GetForegroundWindow() == handle)

    def close(self) -> None:
        pass

    def _region(self, handle: int) -> Region:
        from ctypes import wintypes

        pointer = self._ctypes.c_void_p(handle)
        inside, corner = wintypes.RECT(), wintypes.POINT(0, 0)
        self._user32.GetClientRect(pointer, self._ctypes.byref(inside))
        self._user32.ClientToScreen(pointer, self._ctypes.byref(corner))
        return Region(corner.x, corner.y, max(1, inside.right), max(1, inside.bottom))
