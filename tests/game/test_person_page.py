"""A person is recorded in a game's window, and the page shows what they do and keeps the last seconds on a hotkey."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession
from road_game.driver import Manner
from road_game.person import person_at

from agent.contract.episodes.reading import Episode
from agent.games.virtual_desktop import joined
from tests.waiting import Environment, agent, running, running_game, wait_for

pytestmark = pytest.mark.game

TITLE = "A Road with a Page"
PROFILE = f"""
title = "Road"
rate_hz = 15
controller = "keyboard"
notes = "of the tests"

[capture]
window = "{TITLE}"
"""
STARTING_S = 120.0


class Looker:
    """Looks at the page until it ends, in a thread."""

    def __init__(self, url: str) -> None:
        self.columns: list[str] = []
        self.ticks: list[dict[str, float]] = []
        self.notes: list[dict[str, Any]] = []
        self.pictures: set[int] = set()
        self._url = url
        self._thread = threading.Thread(target=lambda: asyncio.run(self._look()))
        self._thread.start()

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()

    async def _look(self) -> None:
        with suppress(ClientError):
            async with ClientSession() as session, session.ws_connect(f"{self._url}live", max_msg_size=0) as socket:
                await socket.send_json({"wants": ["game", "input"]})
                async for message in socket:
                    if isinstance(message.data, bytes):
                        self.pictures.add(message.data[0])
                    else:
                        self._hear(json.loads(message.data))

    def _hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "hello":
            self.columns = message["facts"]["columns"]
        elif message["type"] == "ticks":
            self.ticks += [dict(zip(self.columns, row, strict=True)) for row in message["rows"]]
        elif message["type"] == "notes":
            self.notes += message["notes"]


def test_what_a_person_does_is_on_the_page_and_kept_on_a_hotkey(display: Environment, tmp_path: Path) -> None:
    profile, race, out = tmp_path / "road.toml", tmp_path / "race.jsonl", tmp_path / "episodes"
    profile.write_text(PROFILE)
    said = tmp_path / "said"
    game = [sys.executable, "-m", "tests.road_game", "--title", TITLE, "--log", str(race), "--size", "320x180"]
    record = agent("record", "--game", str(profile), "--out", str(out), "--input", "keyboard", "--page", "--json")
    with (
        joined(display),
        running_game(game, display, tmp_path / "game", TITLE),
        running(record, display, said) as recorder,
        person_at(race, Manner(swerves_per_minute=0, wait_s=(0.1, 0.2)), seed=0) as person,
    ):
        wait_for("the recorder", lambda: "F9" in said.read_text(), STARTING_S)
        url = next(line for line in said.read_text().splitlines() if line.startswith("the page: "))
        looker = Looker(url.removeprefix("the page: ").strip())
        wait_for("the hotkey", lambda: any(note["kind"] == "hotkey" for note in looker.notes), STARTING_S)
        person.begin_race()
        person.drive(6.0)
        subprocess.run(["xdotool", "key", "Insert"], env=display, check=True)
        wait_for("what is kept", lambda: any(note["kind"] == "kept" for note in looker.notes), STARTING_S)
        recorder.send_signal(signal.SIGINT)
        report = json.loads(recorder.communicate(timeout=60)[0])
        looker.join()
    assert [note["key"] for note in looker.notes if note["kind"] == "hotkey"] == ["insert"]
    assert [note["failed"] for note in looker.notes if note["kind"] == "kept"] == [False]
    assert looker.notes[-1]["kind"] == "end"
    assert looker.pictures == {1, 2}
    kept, recorded = (
        Episode.open(next(path for path in out.glob("*.parquet") if path.stem.endswith("-kept") == is_kept))
        for is_kept in (True, False)
    )
    driven = [tick for tick in looker.ticks if tick["kind"] == 0]
    assert all(tick["intervention"] == 1 for tick in driven)
    axes = ("steering", "throttle", "brake")
    shown = [[round(tick[f"sent_{axis}"], 4) for axis in axes] for tick in driven]
    assert report["dropped"] == 0
    assert shown == pytest.approx(recorded.labels(axes)[-len(shown) :], abs=1e-3)
    assert max(row[1] for row in shown) == 1.0, "the throttle was pressed"
    assert (kept.header.driver, bool(kept.intervention.all())) == ("human", True)
    assert len(kept) > 30
    assert next(out.glob("*-kept.mp4")).stat().st_size > 0
