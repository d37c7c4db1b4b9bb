"""The hotkey that keeps the last 30 s of a drive with a page, as the page's button does."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.contract.errors import ControllerError
from agent.contract.profile import HotkeyMap
from agent.inputs.keyboard import Hotkeys
from agent.page import service
from agent.page.keeping import Kept
from agent.page.live import Live
from agent.page.records import Facts, PageMemory
from agent.page.service import _Keeper

FACTS = Facts("A game", "game", "m", "e", "policy:m", 25.0, ("steering",), ("steering",), (4, 6, 3), keep_key="insert")
KEY = SimpleNamespace(name="insert")


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[Hotkeys]:
    """What listens to keys, in place of a desktop's."""
    listening: list[Hotkeys] = []
    monkeypatch.setattr(Hotkeys, "__enter__", lambda self: listening.append(self) or self)
    return listening


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[Facts]:
    """What was kept, in place of files."""
    done: list[Facts] = []

    def keep(facts: Facts, *rest: object) -> Kept:
        done.append(facts)
        return Kept(Path("a.parquet"), Path("a.mp4"), 12.0)

    monkeypatch.setattr(service, "keep", keep)
    return done


@pytest.fixture
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    memory = PageMemory(getattr(request, "param", FACTS))
    yield Live(memory)
    memory.close(unlink=True)


def while_hearing(live: Live, act: Callable[[], Awaitable[None]]) -> list[dict[str, Any]]:
    """Do something while the key is heard; return the page's notes."""

    async def run() -> None:
        hearing = asyncio.create_task(_Keeper(live, lambda: None).hear())
        for _ in range(200):
            await asyncio.sleep(0.001)
            if any('"hotkey"' in note for note in live.board.notes.after(0)) or hearing.done():
                break
        await act()
        hearing.cancel()
        with suppress(asyncio.CancelledError):
            await hearing

    asyncio.run(run())
    return [json.loads(note) for note in live.board.notes.after(0)]


def test_one_press_keeps_once_however_long_it_is_held(live: Live, heard: list[Hotkeys], kept: list[Facts]) -> None:
    async def hold() -> None:
        (keys,) = heard
        for _ in range(20):  # as X11 repeats a held key
            keys.press(KEY)
            keys.release(KEY)
            await asyncio.sleep(0)
        keys.press(SimpleNamespace(char="k"))
        await asyncio.sleep(0.05)

    notes = while_hearing(live, hold)
    assert kept == [FACTS]
    assert notes == [
        {"kind": "hotkey", "key": "insert"},
        {"kind": "kept", "text": "kept 12 s: a.parquet and its film a.mp4", "failed": False},
    ]


def test_whatever_goes_wrong_is_told_and_the_next_press_is_heard(
    live: Live, heard: list[Hotkeys], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> Kept:
        raise ValueError("an unforeseen number")

    monkeypatch.setattr(service, "keep", fail)

    async def press_twice() -> None:
        for _ in range(2):
            heard[0]._released_ns.clear()
            heard[0].press(KEY)
            heard[0].release(KEY)
            await asyncio.sleep(0.05)

    notes = [note for note in while_hearing(live, press_twice) if note["kind"] == "kept"]
    assert [note["failed"] for note in notes] == [True, True]
    assert "ValueError: an unforeseen number" in notes[0]["text"]


def test_what_is_kept_names_the_weights_that_drove_last(live: Live, heard: list[Hotkeys], kept: list[Facts]) -> None:
    live._memory.write_note("weights", tick=1, driver="policy:m-12", engine="e", folder="")
    live.read(frozenset())

    async def press() -> None:
        heard[0].press(KEY)
        await asyncio.sleep(0.05)

    while_hearing(live, press)
    assert kept == [replace(FACTS, driver="policy:m-12")]


@pytest.mark.parametrize("live", [replace(FACTS, keep_key="")], indirect=True)
def test_a_page_of_something_else_than_a_drive_hears_no_key(live: Live, heard: list[Hotkeys]) -> None:
    async def nothing() -> None:
        pass

    assert while_hearing(live, nothing) == []
    assert heard == []


def test_where_no_keys_can_be_heard_the_page_says_so(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Hotkeys) -> Hotkeys:
        raise ControllerError("there is no desktop")

    monkeypatch.setattr(Hotkeys, "__enter__", refuse)

    async def nothing() -> None:
        pass

    (note,) = while_hearing(live, nothing)
    assert (note["kind"], note["key"]) == ("hotkey", "")
    assert note["text"].endswith("there is no desktop")


def test_no_two_hotkeys_are_one_key_those_of_live_learning_included() -> None:
    from training.live.config import LiveSettings

    hotkeys = HotkeyMap()
    keys = [getattr(hotkeys, each.name) for each in fields(hotkeys)]
    keys += [LiveSettings(game="carracing").newest_key, LiveSettings(game="carracing").back_key]
    assert len(set(keys)) == len(keys)
