"""Windows as X11's servers and window managers show them, on a server of the test's own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from x11_client import Client

from agent.capture.desktop_x11 import X11Desktop
from tests.waiting import Environment

pytestmark = pytest.mark.game


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


LOOK = """
from Xlib import display
screen = display.Display()
print(screen.screen().root.get_image(0, 0, 1, 1, 2, 1) is not None)
"""


def look_at(environment: Environment, options: dict[str, int] | None = None) -> str:
    """Return what a program says that looks at the desktop of this environment."""
    command = [sys.executable, "-c", LOOK]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, **(options or {}))
    return done.stdout + done.stderr


def test_nobody_looks_at_a_private_desktop_without_its_key(display: Environment, tmp_path: Path) -> None:
    assert look_at(display) == "True\n"
    without = {name: value for name, value in display.items() if name != "XAUTHORITY"} | {"HOME": str(tmp_path)}
    assert "Authorization required" in look_at(without)
    wrong = tmp_path / "key"
    wrong.write_bytes(Path(display["XAUTHORITY"]).read_bytes()[:-16] + bytes(16))
    assert "Invalid MIT-MAGIC-COOKIE-1 key" in look_at({**without, "XAUTHORITY": str(wrong)})


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_no_other_user_reads_the_key_to_a_private_desktop(display: Environment) -> None:
    read = f"print(open({display['XAUTHORITY']!r}, 'rb').read())"
    done = subprocess.run(
        ["/usr/bin/python3", "-c", read], user=65534, group=65534, extra_groups=[], capture_output=True, text=True
    )
    assert "PermissionError" in done.stderr
