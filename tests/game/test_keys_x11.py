"""Keys as an X server and its programs hear them."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from x11_client import Client

from agent.contract.controls import Controls
from agent.contract.errors import ControllerError
from agent.contract.profile import KeyMap
from agent.controllers.keyboard import Keyboard
from agent.inputs.keyboard import Hotkeys

pytestmark = pytest.mark.game


def is_down(display: Any, character: str) -> bool:
    """Ask the server for the keyboard's state, as games do that poll it."""
    code = display.keysym_to_keycode(ord(character))
    return bool(display.query_keymap()[code // 8] >> code % 8 & 1)


def test_letters_are_pressed_as_a_finger_presses_them(client: Callable[[], Client]) -> None:
    display = client().display
    with Keyboard(KeyMap("a", "d", "w", "s")) as keyboard:
        keyboard.send(Controls(0.0, 1.0, 0.0))
        time.sleep(0.1)
        assert is_down(display, "w")
        assert not is_down(display, "s")
        keyboard.send(Controls(-1.0, 0.0, 1.0))
        time.sleep(0.1)
        assert [is_down(display, key) for key in "adws"] == [True, False, False, True]
    assert not any(is_down(display, key) for key in "adws")


def test_a_letter_that_no_key_makes_is_told_at_once(client: Callable[[], Client]) -> None:
    client()
    with pytest.raises(ControllerError, match="no key of this keyboard's layout makes"):
        Keyboard(KeyMap(throttle="\u0446")).__enter__()


def test_a_hotkey_that_is_held_acts_once(client: Callable[[], Client]) -> None:
    """The server repeats a held key by itself, after 660 ms unless told otherwise."""
    from pynput.keyboard import Controller, Key

    client()
    pressed: list[float] = []
    with Hotkeys({"f8": lambda: pressed.append(time.monotonic())}):
        person = Controller()
        person.press(Key.f8)
        time.sleep(1.2)
        person.release(Key.f8)
        time.sleep(0.2)
        assert len(pressed) == 1
        person.press(Key.f8)
        person.release(Key.f8)
        time.sleep(0.2)
        assert len(pressed) == 2
