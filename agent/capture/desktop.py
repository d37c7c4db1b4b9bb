"""Windows on the desktop: found by title, followed while they move.

Uses python-xlib and Windows' own user32. One library, PyWinCtl 0.4.1, covers both, but its import ends the whole
program if ``xset`` or ``xrandr`` is not installed, it finds nothing without a window manager, and it gave 638 x 339 px
for the inside of a 640 x 360 window (Xvfb, openbox 3.6).
"""

import os
import re
import sys

from agent.capture.desktop_base import Desktop, Window
from agent.capture.desktop_windows import WindowsDesktop
from agent.capture.desktop_x11 import X11Desktop
from agent.contract.errors import CaptureError


def plain_title(title: str) -> str:
    """Return a title that can be typed, saved and printed: one line, plain spaces, nothing invisible.

    Titles may hold no-break and ideographic spaces, zero-width characters and joined emoji, which people cannot see.
    """
    return _spaced(title).strip()


def _spaced(text: str) -> str:
    plain = "".join(" " if character.isspace() else character for character in text)
    return re.sub(" +", " ", "".join(character for character in plain if character.isprintable()))


def find_windows(desktop: Desktop, title: str) -> list[Window]:
    """Return every window whose title contains these words, in upper or lower case, the likeliest first.

    An equal title comes first, then titles that begin with the words, then titles that contain them. Among equals, the
    window with the focus comes first, then the largest.

    Raises:
        CaptureError: If there is none; the message lists the windows that there are.
    """
    wanted = _spaced(title).casefold()
    windows = desktop.windows()
    ranked: dict[int, list[Window]] = {}
    for window in windows:
        words = plain_title(window.title).casefold()
        if wanted in words:
            rank = 0 if words == wanted else 1 if words.startswith(wanted) else 2
            ranked.setdefault(rank, []).append(window)
    if ranked:
        return [window for _, alike in sorted(ranked.items()) for window in _in_use_or_largest_first(desktop, alike)]
    titles = sorted({plain_title(window.title) for window in windows})
    listed = ", ".join(repr(known) for known in titles[:10]) or "none at all"
    raise CaptureError(
        f"no window has {title!r} in its title, expected the game to be running; windows here: {listed}. "
        "Start the game, or give a part of its window's title with --window."
    )


def _in_use_or_largest_first(desktop: Desktop, windows: list[Window]) -> list[Window]:
    if len(windows) == 1:
        return windows

    def importance(window: Window) -> tuple[bool, int]:
        state = desktop.look(window.handle)
        return state is not None and bool(state.focused), window.region.width * window.region.height

    return sorted(windows, key=importance, reverse=True)


def find_window(desktop: Desktop, title: str) -> Window:
    """Return the likeliest of :func:`find_windows`.

    Raises:
        CaptureError: If there is none; the message lists the windows that there are.
    """
    return find_windows(desktop, title)[0]


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


def why_no_screen(problem: Exception) -> str:
    """Say why the screen cannot be read, and what to do: no display, another user's, or one of another depth.

    Args:
        problem: The error of the library that reads it.
    """
    said = f"{type(problem).__name__}: {' '.join(str(problem).split())}"
    owner = owner_of_the_desktop()
    if owner is not None:
        return (
            f"the screen cannot be opened ({said}), expected to be run by {owner}, whose desktop this is. Run it "
            "without sudo; for /dev/uinput see docs/your-own-game.md."
        )
    depth, refused = _ask_x()
    if depth not in (None, 24, 32):
        return (
            f"the screen has {depth} bits a pixel, expected 24. Set `DefaultDepth 24` in xorg.conf, or start "
            "`Xvfb -screen 0 1280x1024x24`."
        )
    if refused:
        return (
            f"the screen cannot be opened ({said}), expected an X server that lets this user in. Run it as the user "
            "who is logged in, or give this one the right: `xhost +si:localuser:NAME`."
        )
    return (
        f"the screen cannot be opened ({said}), expected a desktop. Run it where the game is shown; on a Linux server, "
        "under Xvfb."
    )


def owner_of_the_desktop() -> str | None:
    """Return who is logged in, if this runs as root through sudo or su: by default, X does not let root in."""
    user = os.environ.get("SUDO_USER")
    return user if user and user != "root" and hasattr(os, "geteuid") and os.geteuid() == 0 else None


def _ask_x() -> tuple[int | None, bool]:
    """Return X11's bits per pixel, None where they cannot be asked for; and whether it refuses this user."""
    if sys.platform != "linux":
        return None, False
    from Xlib import display

    try:
        connection = display.Display()
    except Exception as exc:  # no display, or it refuses us: the caller reports that
        return None, "uthorization" in str(exc)
    depth = int(connection.screen().root_depth)
    connection.close()
    return depth, False


def is_wayland() -> bool:
    """Return whether this is a Wayland session, in which X programs see only each other."""
    return bool(os.environ.get("WAYLAND_DISPLAY")) or os.environ.get("XDG_SESSION_TYPE") == "wayland"
