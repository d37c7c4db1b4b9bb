"""A program of an X server, with windows of its own, for the tests."""

from typing import Any


class Client:
    """A program of the X server, with windows of its own."""

    def __init__(self, name: str) -> None:
        from Xlib import X, display

        self.display: Any = display.Display(name)
        self.root = self.display.screen().root
        self._x = X

    def window(self, title: str, parent: Any = None, x: int = 0, size: int = 50) -> Any:
        window = (parent or self.root).create_window(x, 0, size, size, 0, self.display.screen().root_depth)
        window.change_text_property(self.atom("_NET_WM_NAME"), self.atom("UTF8_STRING"), title)
        window.map()
        self.display.sync()
        return window

    def atom(self, name: str) -> int:
        return int(self.display.intern_atom(name))

    def tell(self, name: str, *windows: int) -> None:
        from Xlib import Xatom

        self.root.change_property(self.atom(name), Xatom.WINDOW, 32, list(windows))
        self.display.sync()
