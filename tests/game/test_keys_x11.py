"""Keys as an X server and its programs hear them."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from x11_client import Client

from agent.contract.controls import Controls
from agent.contract.errors import ControllerError
from agent.contract.profile import KeyMap
from agent.controllers.keyboard import Keyboard
from agent.inputs.keyboard import Hotkeys, KeyboardInput
from agent.inputs.wheels import GameWheel

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


@pytest.fixture
def german(client: Callable[[], Client]) -> Any:
    """An X server with a German keyboard, with a semicolon on the comma's key and a euro on that of E."""
    if shutil.which("setxkbmap") is None:
        pytest.skip("needs `apt install x11-xkb-utils`")
    client()
    subprocess.run(["setxkbmap", "-display", os.environ["DISPLAY"], "de"], check=True)
    time.sleep(0.2)
    return client().display


@pytest.mark.parametrize(("character", "modifier"), [(",", "Shift_L"), ("e", "ISO_Level3_Shift"), ("w", "Control_L")])
@pytest.mark.parametrize("first", ["key", "modifier"])
def test_a_key_is_heard_as_the_same_whatever_is_held_beside_it(
    german: Any, character: str, modifier: str, first: str
) -> None:
    from Xlib import XK, X
    from Xlib.ext import xtest

    codes = [german.keysym_to_keycode(ord(character)), german.keysym_to_keycode(XK.string_to_keysym(modifier))]
    assert all(codes)
    order = codes if first == "key" else codes[::-1]

    def act(event: int, code: int) -> None:
        xtest.fake_input(german, event, code)
        german.sync()
        time.sleep(0.1)

    pressed: list[bool] = []
    with (
        KeyboardInput(KeyMap(throttle=character), wheel=GameWheel(None)) as keys,
        Hotkeys({character: lambda: pressed.append(True)}),
    ):
        time.sleep(0.3)  # pynput says that it listens a moment before it does
        for times in (1, 2):
            for code in order:
                act(X.KeyPress, code)
            assert keys.read().throttle == 1.0
            for code in order:
                act(X.KeyRelease, code)
            assert keys.read().throttle == 0.0
            assert len(pressed) == times


def test_letters_of_another_alphabet_are_pressed_and_heard(german: Any) -> None:
    """A Russian layout makes them by X11's older numbers, and none of its letters could be named."""
    subprocess.run(["setxkbmap", "-display", os.environ["DISPLAY"], "ru"], check=True)
    time.sleep(0.2)
    with (
        KeyboardInput(KeyMap(throttle="\u0446"), wheel=GameWheel(None)) as ears,
        Keyboard(KeyMap(throttle="\u0446")) as keys,
    ):
        time.sleep(0.3)
        keys.send(Controls(0.0, 1.0))
        time.sleep(0.2)
        assert ears.read().throttle == 1.0
        keys.send(Controls())
        time.sleep(0.2)
        assert ears.read().throttle == 0.0


@pytest.mark.parametrize("character", ["!", "\u20ac", "@"])
def test_a_character_that_needs_another_key_beside_it_is_told_at_once(german: Any, character: str) -> None:
    """Pressed by itself, the key makes another character: the game heard 1 instead of an exclamation mark."""
    for device in (Keyboard(KeyMap(throttle=character)), KeyboardInput(KeyMap(throttle=character))):
        with pytest.raises(ControllerError, match="only beside Shift or AltGr, expected a key of its own"):
            device.__enter__()


def test_a_hotkey_that_no_key_makes_is_told(client: Callable[[], Client]) -> None:
    """It was never heard, without a word."""
    client()
    for key, said in (
        ("\u0446", "no key of this keyboard's layout makes '\u0446'"),
        ("escpae", "key 'escpae' is unknown, expected a single character or one of: "),
    ):
        with pytest.raises(ControllerError, match=said):
            Hotkeys({key: lambda: None}).__enter__()


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
