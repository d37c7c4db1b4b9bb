"""Windows as X11's servers and window managers show them, on a server of the test's own."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agent.capture.desktop_x11 import X11Desktop

pytestmark = pytest.mark.game
Xlib = pytest.importorskip("Xlib")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run an X server without a window manager; return its display."""
    if shutil.which("Xvfb") is None:
        pytest.skip("needs Xvfb (`apt install xvfb`)")
    reading, writing = os.pipe()
    process = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "640x480x24"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    with os.fdopen(reading) as answer:
        display = f":{answer.readline().strip()}"
    monkeypatch.setenv("DISPLAY", display)
    yield display
    process.terminate()
    process.wait()


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


@pytest.fixture
def client(server: str) -> Iterator[Callable[[], Client]]:
    """Make programs of the server."""
    clients: list[Client] = []

    def connect() -> Client:
        clients.append(Client(server))
        return clients[-1]

    yield connect
    for each in clients:
        each.display.close()


def test_a_window_managers_own_frames_are_no_windows(client: Callable[[], Client]) -> None:
    """i3's containers, IceWM's and ctwm's frames have titles; the game's window stands inside of one."""
    manager, game = client(), client()
    check = manager.window("the manager")
    frame = manager.window("[i3 con] container around 0x55ae20175490", size=100)
    inside = game.window("Fake Racer")
    inside.reparent(frame, 5, 20)
    game.display.sync()
    desktop = X11Desktop()
    assert "Fake Racer" not in {window.title for window in desktop.windows()}, "hidden by the frame, without a check"
    manager.tell("_NET_SUPPORTING_WM_CHECK", check.id)
    found = desktop.windows()
    assert [(window.title, window.handle) for window in found] == [("Fake Racer", inside.id)]
    assert (found[0].region.left, found[0].region.top) == (5, 20)
    desktop.close()


def test_what_lies_on_top_of_a_window_is_told(client: Callable[[], Client]) -> None:
    manager, game = client(), client()
    low, high, aside = game.window("game"), game.window("chat", x=30), game.window("beside", x=300)
    manager.tell("_NET_CLIENT_LIST_STACKING", low.id, high.id, aside.id)
    desktop = X11Desktop()
    assert [window.title for window in desktop.covering(low.id)] == ["chat"]
    assert desktop.covering(high.id) == []
    desktop.close()


def test_titles_of_older_programs_are_read(client: Callable[[], Client]) -> None:
    from Xlib import Xatom

    game = client()
    window = game.root.create_window(0, 0, 50, 50, 0, game.display.screen().root_depth)
    window.map()
    desktop = X11Desktop()
    for kind, value in ((Xatom.STRING, b"Caf\xe9 Racer"), (game.atom("COMPOUND_TEXT"), b"Caf\xe9 \x1b%G\xe2\x98\x85")):
        window.change_property(Xatom.WM_NAME, kind, 8, value)
        game.display.sync()
        assert desktop.windows()[0].title.startswith("Café")
    assert desktop.windows()[0].title == "Café ★"
    desktop.close()
