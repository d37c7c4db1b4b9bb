"""Windows of an X11 desktop."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from agent.capture.compound_text import decode_compound_text
from agent.capture.desktop_base import Window, WindowState, overlap
from agent.contract.errors import CaptureError
from agent.contract.profile import Region


class X11Desktop:
    def __init__(self) -> None:
        from Xlib import X, display, error

        self._x: Any = X
        self._gone = (error.BadWindow, error.BadDrawable, error.BadMatch)
        self._ended = (error.ConnectionClosedError, OSError)
        try:
            self._display: Any = display.Display()
        except (error.DisplayError, OSError) as exc:
            raise CaptureError(
                f"the display {os.environ.get('DISPLAY')!r} cannot be opened ({' '.join(str(exc).split())}), expected "
                "an X server that runs and lets this user in. Run it where the game is shown, as the user who is "
                "logged in (without sudo)."
            ) from exc
        self._root = self._display.screen().root
        intern = self._display.intern_atom
        self._net_name, self._utf8 = intern("_NET_WM_NAME"), intern("UTF8_STRING")
        self._wm_state, self._active = intern("WM_STATE"), intern("_NET_ACTIVE_WINDOW")
        self._check, self._stack = intern("_NET_SUPPORTING_WM_CHECK"), intern("_NET_CLIENT_LIST_STACKING")
        self._compound, self._pid = intern("COMPOUND_TEXT"), intern("_NET_WM_PID")

    def windows(self) -> list[Window]:
        with self._session():
            return list(self._walk(self._root, self._manager()))

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

    def covering(self, handle: int) -> list[Window]:
        with self._session():
            stack = self._listed(self._stack)  # the lowest first
            if handle not in stack:
                return []
            on_top = [self._window(each) for each in stack[stack.index(handle) + 1 :]]
            covered = self._window(handle)
        if covered is None:
            return []
        return [window for window in on_top if window is not None and overlap(window.region, covered.region)]

    def close(self) -> None:
        with suppress(*self._ended):
            self._display.close()

    @contextmanager
    def _session(self) -> Iterator[None]:
        try:
            yield
        except self._ended as exc:
            raise CaptureError(
                f"the X server of the display {os.environ.get('DISPLAY')!r} is gone ({exc}), expected it to keep "
                "running. Log in again, or start Xvfb again."
            ) from exc

    def _listed(self, name: int) -> list[int]:
        """Return the windows that the window manager lists under a name; none if it has no such list."""
        found = self._root.get_full_property(name, self._x.AnyPropertyType)
        return [] if found is None else [int(handle) for handle in found.value]

    def _manager(self) -> int:
        """Return the window manager's range of window numbers; 0 if there is no window manager.

        Its own windows around those of the programs have titles too: i3's containers, IceWM's and ctwm's frames.
        """
        found = self._root.get_full_property(self._check, self._x.AnyPropertyType)
        return 0 if found is None or not found.value else self._owner(int(found.value[0]))

    def _owner(self, handle: int) -> int:
        return int(handle & ~self._display.display.info.resource_id_mask)

    def _walk(self, parent: Any, manager: int) -> Iterator[Window]:
        with suppress(*self._gone):  # windows come and go while they are listed
            for window in parent.query_tree().children:
                with suppress(*self._gone):
                    is_managers = manager and self._owner(window.id) == manager
                    found = None if is_managers else self._window(window.id)
                    if found is not None:
                        yield found
                    else:
                        yield from self._walk(window, manager)

    def _window(self, handle: int) -> Window | None:
        """Return the window if it has a title and is or can be on the screen; None otherwise, or if it is gone."""
        window = self._display.create_resource_object("window", handle)
        with suppress(*self._gone):
            title = self._title(window)
            if title and (self._is_shown(window) or self._is_minimised(window)):
                return Window(handle, title, self._region(window), self._process(window))
        return None

    def _process(self, window: Any) -> int:
        found = window.get_full_property(self._pid, self._x.AnyPropertyType)
        return 0 if found is None or not found.value else int(found.value[0])

    def _title(self, window: Any) -> str:
        for name, kind in ((self._net_name, self._utf8), (self._x_name(), self._x.AnyPropertyType)):
            found = window.get_full_property(name, kind)
            if found is not None and found.value:
                if isinstance(found.value, str):
                    return found.value.strip()
                return self._decode(bytes(found.value), found.property_type).strip()
        return ""

    def _decode(self, value: bytes, kind: int) -> str:
        if kind == self._compound:
            return decode_compound_text(value)
        try:
            return value.decode("utf-8")  # many programs store UTF-8 under any type
        except UnicodeDecodeError:
            return value.decode("latin-1")  # the type STRING means this encoding

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
        # The answer is the position of the root's corner, relative to the window.
        return Region(-corner.x, -corner.y, max(1, size.width), max(1, size.height))
