"""The screen as a camera, on a screen and a desktop made of arrays: what is followed, and what is not driven by."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

from agent.capture.compound_text import decode_compound_text
from agent.capture.desktop import find_window, plain_title
from agent.capture.desktop_base import Window, WindowState
from agent.capture.screen import AWAY_S, FROZEN_S, RETRY_AFTER_S, ScreenSource
from agent.contract.errors import BlindError, CaptureError, GameError
from agent.contract.observation import Pixels
from agent.contract.profile import Capture, Region
from agent.system.pacing import VirtualClock

SCREEN = Region(0, 0, 200, 100)
GAME = Capture(window="game")


class FakeScreen:
    monitors = [SCREEN, SCREEN]  # noqa: RUF012

    def __init__(self) -> None:
        self.pixels = np.random.default_rng(0).integers(20, 256, (100, 200, 4), np.uint8)
        self.closed = False

    def change(self) -> None:
        self.pixels = np.roll(self.pixels, 1)

    def grab(self, region: Region) -> Pixels:
        return self.pixels[region.top : region.top + region.height, region.left : region.left + region.width].copy()

    def close(self) -> None:
        self.closed = True


class FakeDesktop:
    def __init__(self) -> None:
        self.state: WindowState | None = WindowState(Region(10, 20, 64, 32), minimised=False, focused=True)
        self.closed = False

        self.there: dict[int, tuple[Window, WindowState]] = {}

    def windows(self) -> list[Window]:
        game = [Window(7, "My Game 1.0", Region(10, 20, 64, 32), process=42)] if self.state is not None else []
        return [Window(1, "Terminal", SCREEN), *game, *(window for window, _ in self.there.values())]

    def look(self, handle: int) -> WindowState | None:
        if handle == 7:
            return self.state
        return self.there[handle][1] if handle in self.there else None

    def covering(self, handle: int) -> list[Window]:
        return []

    def close(self) -> None:
        self.closed = True


class World:
    def __init__(self, capture: Capture = GAME) -> None:
        self.screen, self.desktop, self.clock = FakeScreen(), FakeDesktop(), VirtualClock()
        self.source = ScreenSource(capture, lambda: self.screen, lambda: self.desktop, self.clock)

    def after(self, seconds: float, change: bool = True) -> None:
        self.clock.sleep(seconds)
        if change:
            self.screen.change()


def test_a_window_is_found_and_followed() -> None:
    world = World()
    with world.source as source:
        first = source.read()
        assert np.array_equal(first.pixels, world.screen.pixels[20:52, 10:74])
        world.desktop.state = WindowState(Region(30, 40, 80, 40), minimised=False, focused=None)
        moved = source.read()
        assert np.array_equal(moved.pixels, world.screen.pixels[40:80, 30:110])
        assert (first.index, moved.index, source.focused) == (1, 2, None)
    assert world.screen.closed
    assert world.desktop.closed


def test_a_region_is_counted_from_the_windows_corner() -> None:
    world = World(Capture("game", region=Region(4, 2, 20, 10)))
    with world.source as source:
        assert np.array_equal(source.read().pixels, world.screen.pixels[22:32, 14:34])


def test_a_monitor_needs_no_desktop() -> None:
    world = World(Capture(region=Region(0, 0, 50, 50)))
    world.source._open_desktop = lambda: pytest.fail("asked for the windows")
    with world.source as source:
        assert source.read().pixels.shape == (50, 50, 4)


def test_a_monitor_that_is_not_there() -> None:
    with pytest.raises(CaptureError, match="there is no monitor 2, expected 1 to 1"):
        World(Capture(monitor=2)).source.__enter__()


def test_the_same_picture_keeps_its_index_and_is_counted() -> None:
    world = World()
    with world.source as source:
        indices = [source.read().index]
        for change in (False, True, False):
            world.after(0.02, change)
            indices.append(source.read().index)
    assert indices == [1, 1, 2, 2]
    assert (source.counts.grabbed, source.counts.repeated) == (4, 2)


def test_frames_carry_the_time_before_the_grab() -> None:
    world = World()
    world.clock.advance_to(5)
    with world.source as source:
        assert source.read().captured_ns == 5


def gone(world: World) -> None:
    world.desktop.state = None


def test_a_closed_window_ends_it() -> None:
    world = World()
    with world.source as source:
        gone(world)
        with pytest.raises(BlindError, match="was closed; waiting for the game to show another"):
            source.read()
        world.after(AWAY_S + 0.1)
        with pytest.raises(CaptureError, match="was closed 10 s ago, expected the game to keep running") as caught:
            source.read()
    assert not isinstance(caught.value, BlindError)


def test_a_window_that_is_made_anew_is_taken_again(caplog: pytest.LogCaptureFixture) -> None:
    """As games do for full screen, another resolution, or the next level."""
    world = World()
    with world.source as source:
        source.read()
        gone(world)
        with pytest.raises(BlindError, match="was closed"):
            source.read()
        anew = Window(9, "My Game 1.0 (full screen)", Region(30, 40, 80, 40), process=42)
        world.desktop.there = {9: (anew, WindowState(anew.region, minimised=False, focused=True))}
        world.after(1.0)
        assert source.read().pixels.shape == (40, 80, 4)
        assert source.title == anew.title
    assert caplog.messages == ["looking at the window 'My Game 1.0'", f"looking at the window {anew.title!r}"]
    world.after(100.0)
    with world.source as source:  # the time away is not remembered
        world.desktop.there.clear()
        with pytest.raises(BlindError, match="was closed"):
            source.read()


def minimise(world: World) -> None:
    world.desktop.state = WindowState(Region(10, 20, 64, 32), minimised=True, focused=False)


def push_out(world: World) -> None:
    world.desktop.state = WindowState(Region(150, 20, 64, 32), minimised=False, focused=True)


def leave(world: World) -> None:
    world.desktop.state = WindowState(Region(10, 20, 64, 32), minimised=False, focused=False)


def blacken(world: World) -> None:
    world.screen.pixels[..., :3] = 3


@pytest.mark.parametrize(
    ("happen", "finding"),
    [(minimise, "is minimised"), (push_out, "partly outside"), (leave, "not the one in use"), (blacken, "is black")],
)
def test_there_may_be_no_picture_for_a_while(happen: Callable[[World], None], finding: str) -> None:
    world = World()
    state, pixels = world.desktop.state, world.screen.pixels.copy()
    with world.source as source:
        source.read()
        happen(world)
        with pytest.raises(BlindError, match=finding):
            source.read()
        world.desktop.state, world.screen.pixels = state, np.roll(pixels, 1)
        assert source.read().index >= 2


def test_one_bright_dot_is_a_picture() -> None:
    world = World()
    blacken(world)
    world.screen.pixels[25, 15] = 200
    with world.source as source:
        source.read()


@pytest.mark.parametrize("frozen_s", [FROZEN_S, 3.0])
def test_a_picture_that_stands_still_is_believed_again_a_few_times_and_no_more(frozen_s: float) -> None:
    """It was once every 2 s for ever: a minute's freeze was driven on for 15 s of it."""
    world = World()
    world.source._frozen_s = frozen_s
    step_s, seconds = 0.05, 120
    sighted, said = [], []
    with world.source as source:
        source.read()
        for _ in range(round(seconds / step_s)):
            world.after(step_s, change=False)
            try:
                source.read()
                sighted.append(True)
            except BlindError as blind:
                sighted.append(False)
                said.append(str(blind))
        world.after(step_s)
        source.read()
    assert (sighted.index(False) + 1) * step_s == pytest.approx(frozen_s, abs=step_s + 1e-3)
    tries = 1 + len(RETRY_AFTER_S)
    assert sum(sighted) * step_s == pytest.approx(tries * frozen_s, abs=tries * step_s)
    assert sum(before and not after for before, after in itertools.pairwise(sighted)) == tries
    assert said[0] == f"the picture has not changed for {frozen_s:g} s (tried again after 2 s)"
    assert said[-1].endswith("(not driven by until it does)")


def test_a_person_may_look_at_a_standing_picture() -> None:
    world = World()
    world.source._frozen_s = math.inf
    with world.source as source:
        for _ in range(100):
            world.after(0.05, change=False)
            assert source.read().index == 1


def test_a_region_outside_of_the_window() -> None:
    world = World(Capture("game", region=Region(64, 0, 10, 10)))
    with world.source as source, pytest.raises(GameError, match="lies outside of the 64 x 32 px"):
        source.read()


def test_a_title_is_found_by_a_part_of_it_and_the_exact_one_first() -> None:
    class Desktop(FakeDesktop):
        def windows(self) -> list[Window]:
            return [
                Window(1, "game manual", Region(0, 0, 90, 90)),
                Window(2, "Game", Region(0, 0, 10, 10)),
                Window(3, "The Game: Launcher", Region(0, 0, 99, 99)),
            ]

    assert find_window(Desktop(), "GAME").handle == 2
    assert find_window(Desktop(), "the").handle == 3
    assert find_window(Desktop(), "game ").handle == 1


def test_when_the_game_ends_no_other_window_that_speaks_of_it_is_taken() -> None:
    """A terminal with the command, a launcher, a browser: the keys would go there."""
    world = World()
    with world.source as source:
        source.read()
        gone(world)
        terminal = Window(9, "user: python -m agent drive --window 'My Game 1.0'", SCREEN, process=7)
        world.desktop.there = {9: (terminal, WindowState(SCREEN, minimised=False, focused=True))}
        with pytest.raises(BlindError, match="was closed"):
            source.read()
        again = Window(10, "My Game 1.0", Region(0, 0, 40, 20), process=77)  # started again
        world.desktop.there[10] = again, WindowState(again.region, minimised=False, focused=True)
        world.after(1.0)
        assert source.read().pixels.shape[:2] == (20, 40)


def test_a_window_that_does_not_answer_once_is_not_counted_as_gone_ever_after() -> None:
    world = World()
    state = world.desktop.state
    with world.source as source:
        gone(world)
        with pytest.raises(BlindError):
            source.read()
        world.desktop.state = state
        world.after(1.0)
        source.read()
        world.after(600.0)
        gone(world)
        with pytest.raises(BlindError, match="waiting for the game"):
            source.read()


def test_the_game_and_not_a_larger_window_that_speaks_of_it() -> None:
    class Desktop(FakeDesktop):
        def windows(self) -> list[Window]:
            return [
                Window(1, "Let's play Fake Racer - part 7", SCREEN),
                Window(2, "Fake Racer - 30.0 FPS", Region(0, 0, 10, 10)),
            ]

    assert find_window(Desktop(), "fake racer").handle == 2


def test_of_two_windows_with_one_title_the_one_in_use(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    other = Window(9, "My Game 1.0", SCREEN)
    world.desktop.there[9] = other, WindowState(SCREEN, minimised=False, focused=False)
    with world.source as source:
        assert source.region() == Region(10, 20, 64, 32)
    assert caplog.messages == ["looking at the window 'My Game 1.0'; these would fit as well: 'My Game 1.0'"]
    world.desktop.state = WindowState(Region(10, 20, 64, 32), minimised=False, focused=False)
    world.desktop.there[9] = other, WindowState(SCREEN, minimised=False, focused=True)
    with world.source as source:
        assert source.region() == SCREEN


@pytest.mark.parametrize(
    ("title", "plain"),
    [
        ("Touhou\u3000Racer", "Touhou Racer"),
        ("Page \u200bMicrosoft\u200b Edge", "Page Microsoft Edge"),
        ("Caf\u00e9\u00a0 Racer\n2", "Caf\u00e9 Racer 2"),
        ("\u2066Racer\u2069 \U0001f468\u200d\U0001f469", "Racer \U0001f468\U0001f469"),
    ],
)
def test_titles_are_compared_as_people_see_them(title: str, plain: str) -> None:
    class Desktop(FakeDesktop):
        def windows(self) -> list[Window]:
            return [Window(3, title, SCREEN)]

    assert plain_title(title) == plain
    assert plain.isprintable()
    assert find_window(Desktop(), plain).title == title
    assert find_window(Desktop(), title).handle == 3


def test_a_window_that_is_not_there_lists_those_that_are() -> None:
    with pytest.raises(CaptureError, match=r"no window has 'Doom' in its title.*'My Game 1.0', 'Terminal'"):
        find_window(FakeDesktop(), "Doom")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"Racer", "Racer"),
        (b"Caf\xe9 Racer", "Caf\u00e9 Racer"),
        (b"\x1b-L\xb3\xde\xdd\xda\xd8", "\u0413\u043e\u043d\u043a\u0438"),
        (b"\x1b$(B%l!<%5!<\x1b(B 2", "\u30ec\u30fc\u30b5\u30fc 2"),
        (b"a\x1b%G\xe2\x98\x85\x1b%@b", "a\u2605b"),
    ],
)
def test_older_toolkits_titles_are_read(value: bytes, text: str) -> None:
    assert decode_compound_text(value) == text
