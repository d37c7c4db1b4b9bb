"""Windows on the desktop: found by title, followed while they move.

Written on python-xlib and on Windows' own user32 instead of PyWinCtl 0.4.1, the library that covers both: that one ends
the whole program on its import where ``xset`` or ``xrandr`` are not installed, finds nothing without a window manager,
and its inner frame of a 640 x 360 window was 638 x 339 px (Xvfb, openbox 3.6).
"""

import os
import sys

from agent.capture.desktop_base import Desktop, Window
from agent.capture.desktop_windows import WindowsDesktop
from agent.capture.desktop_x11 import X11Desktop
from agent.contract.errors import CaptureError


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
        return WindowsDesktop()
    if sys.platform == "darwin":
        raise CaptureError(
            "windows cannot be found by title on macOS, expected Windows or X11. Use --monitor or --region."
        )
    if not os.environ.get("DISPLAY"):
        wayland = os.environ.get("WAYLAND_DISPLAY")
        found = "this is a Wayland session without X" if wayland else "there is no display (DISPLAY is not set)"
        advice = 'Log in to an X11 session ("on Xorg")' if wayland else "Run it where the game is shown, or under Xvfb"
        raise CaptureError(f"{found}, expected a desktop whose screen programs may read. {advice}.")
    return X11Desktop()


def is_wayland() -> bool:
    """Return whether the session is Wayland's, where X programs see only each other."""
    return bool(os.environ.get("WAYLAND_DISPLAY")) or os.environ.get("XDG_SESSION_TYPE") == "wayland"
