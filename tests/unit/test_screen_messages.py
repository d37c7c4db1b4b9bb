"""What is said where the screen cannot be read: of another depth, another user's, or none at all."""

import sys
from types import SimpleNamespace

import pytest

from agent.capture.desktop import why_no_screen


@pytest.mark.parametrize("depth", [16, 30])
def test_a_screen_of_another_depth_is_told_with_how_to_get_24_bits(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It said "expected a desktop. Run it where the game is shown", where it was."""
    use_x(monkeypatch, depth)
    assert why_no_screen(RuntimeError("no pixels")) == (
        f"the screen has {depth} bits a pixel, expected 24. Set `DefaultDepth 24` in xorg.conf, or start "
        "`Xvfb -screen 0 1280x1024x24`."
    )


def test_whose_desktop_it_is_is_told_under_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    """It said "expected a running X server", which was running."""
    use_x(monkeypatch, None)
    monkeypatch.setenv("SUDO_USER", "ann")
    monkeypatch.setattr("os.geteuid", lambda: 0, raising=False)
    assert "expected to be run by ann, whose desktop this is. Run it without sudo" in why_no_screen(OSError("refused"))


def test_an_x_server_that_refuses_this_user_is_told_from_one_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    use_x(monkeypatch, None, "Can't connect to display \":0\": b'Authorization required, but no protocol specified\\n'")
    assert "expected an X server that lets this user in. Run it as the user who is logged in" in why_no_screen(
        OSError()
    )
    use_x(monkeypatch, None, 'Can\'t connect to display ":0": [Errno 111] Connection refused')
    assert "expected a desktop. Run it where the game is shown" in why_no_screen(OSError())


def use_x(monkeypatch: pytest.MonkeyPatch, depth: int | None, refusal: str = "no display") -> None:
    """Stand in for the X server: one of this depth, or one that cannot be connected to."""

    class Display:
        def __init__(self) -> None:
            if depth is None:
                raise OSError(refusal)

        def screen(self) -> SimpleNamespace:
            return SimpleNamespace(root_depth=depth)

        def close(self) -> None:
            pass

    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setitem(sys.modules, "Xlib", SimpleNamespace(display=SimpleNamespace(Display=Display)))
