"""Windows of a Windows desktop, through user32."""

from contextlib import suppress
from typing import Any

from agent.capture.desktop_base import Window, WindowState, overlap
from agent.contract.profile import Region


class WindowsDesktop:
    """Through user32, with coordinates in real pixels, independent of the scaling of each monitor."""

    def __init__(self) -> None:
        import ctypes

        self._ctypes = ctypes
        windll: Any = vars(ctypes)["windll"]  # exists only on Windows
        self._user32 = windll.user32
        # Per-monitor awareness, version 2: without it, Windows scales the coordinates that it returns.
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
                    found.append(Window(handle, title.value, self._region(handle), self._process(handle)))
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

    def covering(self, handle: int) -> list[Window]:
        on_top: list[Window] = []
        for window in self.windows():  # the topmost first
            if window.handle == handle:
                return [other for other in on_top if overlap(other.region, window.region)]
            on_top.append(window)
        return []

    def close(self) -> None:
        pass

    def _process(self, handle: int) -> int:
        number = self._ctypes.c_ulong(0)
        self._user32.GetWindowThreadProcessId(self._ctypes.c_void_p(handle), self._ctypes.byref(number))
        return int(number.value)

    def _region(self, handle: int) -> Region:
        from ctypes import wintypes

        pointer = self._ctypes.c_void_p(handle)
        inside, corner = wintypes.RECT(), wintypes.POINT(0, 0)
        self._user32.GetClientRect(pointer, self._ctypes.byref(inside))
        self._user32.ClientToScreen(pointer, self._ctypes.byref(corner))
        return Region(corner.x, corner.y, max(1, inside.right), max(1, inside.bottom))
