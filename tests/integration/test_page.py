"""The page's process beside a drive: it shows the drive's numbers, and whatever it does, the drive goes on."""

import asyncio
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from aiohttp import ClientError, ClientSession, WSMsgType

from agent.contract.controls import Controls
from agent.contract.episodes.reading import Episode
from agent.contract.observation import Frame
from agent.observers.base import DrivenTick
from agent.page.feed import Address, Page, page_of_folder
from agent.page.records import Facts
from agent.system.pacing import TickStats, clock_ns

pytestmark = pytest.mark.thorough

REPOSITORY = Path(__file__).parents[2]
FACTS = Facts(
    *("A game", "game", "model", "constant", "policy:model", 25.0, ("steering", "throttle", "brake")),
    *(("steering", "throttle", "brake"), (270, 480, 3)),
)
LIMIT_MS = 25.0
"""What a tick may cost the drive at worst here: every observation of a tick is copied, and two cores are shared with
the page and all of its viewers. The figures of an idle machine are in docs/page.md."""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with Page(FACTS, Address()) as page:
        yield page


class Drive:
    """Ticks 50 times a second, as a drive would."""

    def __init__(self, page: Page) -> None:
        self.costs_ms: list[float] = []
        self.ticks: list[int] = []  # their numbers, which go on from drive to drive of a page
        self._observer = page.of(TickStats(0.02), seed=7)
        self._frame = np.random.default_rng(0).integers(0, 256, (720, 1280, 4), np.uint8)
        self._observation = np.random.default_rng(1).integers(0, 256, FACTS.observation_shape, np.uint8)

    async def go(self, ticks: int) -> None:
        with self._observer as observer:
            for index in range(ticks):
                controls = Controls(index / 1000, 0.5, 0.0)
                frame = Frame(self._frame, clock_ns(), index)
                tick = DrivenTick(
                    index, frame, self._observation, controls.to_array(), controls, 0.01, {"infer": 0.005}, clock_ns()
                )
                # The processor's time of this thread: what else runs on a shared machine is not the page's cost.
                started_ns = time.thread_time_ns()
                observer.on_tick(tick)
                self.ticks.append(observer._stamp)
                self.costs_ms.append((time.thread_time_ns() - started_ns) / 1e6)
                await asyncio.sleep(0.02)


async def look(url: str, ticks: list[Any], wants: tuple[str, ...] = (), pictures: list[Any] | None = None) -> None:
    """Look at a page until the connection ends."""
    async with ClientSession() as session, session.ws_connect(f"{url}live", max_msg_size=0) as socket:
        await socket.send_json({"wants": wants})
        async for message in socket:
            if message.type == WSMsgType.BINARY:
                if pictures is not None:
                    pictures.append(message.data)
            elif (content := json.loads(message.data))["type"] == "ticks":
                ticks += content["rows"]


def test_a_viewer_sees_every_tick_and_moving_pictures(page: Page) -> None:
    rows: list[Any] = []
    pictures: list[bytes] = []

    drive = Drive(page)

    async def watch() -> None:
        looking = asyncio.create_task(look(page.url, rows, ("game", "input"), pictures))
        await drive.go(100)
        deadline = time.monotonic() + 20
        while not rows or rows[-1][0] < drive.ticks[-1]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        looking.cancel()

    asyncio.run(watch())
    rows = [row for row in rows if row[0] >= drive.ticks[0]]
    assert [row[0] for row in rows] == drive.ticks
    steering = FACTS.columns.index("sent_steering")
    assert [row[steering] for row in rows] == pytest.approx([index / 1000 for index in range(100)])
    for kind in (1, 2):
        stamps = [struct.unpack_from("<d", picture, 4)[0] for picture in pictures if picture[0] == kind]
        assert len(stamps) >= 5
        assert stamps == sorted(set(stamps))


def test_viewers_that_stall_flood_or_come_by_the_hundred_cost_the_drive_nothing(page: Page) -> None:
    drive = Drive(page)

    async def stall() -> None:
        reader, writer = await asyncio.open_connection(*page.url.removeprefix("http://").strip("/").split(":"))
        try:
            writer.write(b"GET / HTTP/1.1\r\n")  # and never the rest
            await reader.read()
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    async def flood() -> None:
        async with ClientSession() as session:
            while True:
                with suppress(ClientError, ConnectionError):
                    async with session.ws_connect(f"{page.url}live") as socket:
                        while not socket.closed:
                            await socket.send_str('{"wants":["game","input"]}')

    async def connect() -> None:
        with suppress(ClientError):  # only some are let in
            await look(page.url, [], ("game", "input"))

    async def besiege() -> None:
        driving = asyncio.create_task(drive.go(150))
        crowd = [asyncio.create_task(connect()) for _ in range(100)]
        others = [asyncio.create_task(each()) for each in (flood, *[stall] * 20)]
        await driving
        for task in (*crowd, *others):
            task.cancel()
        await asyncio.gather(*crowd, *others, return_exceptions=True)

    asyncio.run(besiege())
    assert len(drive.costs_ms) == 150
    assert max(drive.costs_ms) < LIMIT_MS
    rows: list[Any] = []

    async def afterwards() -> None:
        looking = asyncio.create_task(look(page.url, rows))
        await drive.go(5)
        deadline = time.monotonic() + 20
        while not rows or rows[-1][0] < drive.ticks[-1]:
            assert time.monotonic() < deadline, "the page does not answer any more"
            await asyncio.sleep(0.02)
        looking.cancel()

    asyncio.run(afterwards())


def test_a_page_that_is_stopped_or_killed_costs_the_drive_nothing(page: Page) -> None:
    drive = Drive(page)
    assert page.pid is not None
    os.kill(page.pid, signal.SIGSTOP)
    asyncio.run(drive.go(20))
    os.kill(page.pid, signal.SIGKILL)
    asyncio.run(drive.go(20))
    assert max(drive.costs_ms) < LIMIT_MS


def test_a_drive_s_page_listens_on_the_loopback_address_alone_and_shows_what_the_drive_reports() -> None:
    command = [sys.executable, "-m", "agent", "drive", "--engine", "constant", "--seconds", "2", "--page", "--json"]
    drive = psutil.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        url = drive.stderr.readline().removeprefix("the page: ").strip()
        processes = [drive, *drive.children(recursive=True)]
        listening = [
            connection.laddr
            for process in processes
            for connection in process.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert [(address.ip, f"http://127.0.0.1:{address.port}/") for address in listening] == [("127.0.0.1", url)]
        rows: list[Any] = []
        asyncio.run(look(url, rows))  # until the drive ends
        output, _ = drive.communicate(timeout=30)
    finally:
        if drive.poll() is None:
            drive.kill()
    report = json.loads(output)
    assert len(rows) == report["timing"]["ticks"]
    columns = Facts(*("", "", "", "", "", 1.0, ("steering", "throttle", "brake"), (), (1, 1, 3))).columns
    shown = [dict(zip(columns, row, strict=True)) for row in rows]
    assert sum(row["kind"] == 0 for row in shown) == sum(lap["predictions"] for lap in report["laps"])
    assert sum(row["kind"] == 2 for row in shown) == sum(lap["blind_ticks"] for lap in report["laps"])
    for row in (each for each in shown if each["kind"] == 0):
        assert (row["raw_throttle"], row["sent_steering"]) == (pytest.approx(0.1), 0)


def rows_shown_by(
    command: list[str], rows: list[Any] | None = None, **environment: str
) -> tuple[list[dict[str, Any]], str]:
    """Run a command with a page until it ends; return the ticks that a viewer saw, by column, and what it printed.

    ``rows`` gets them as they come.
    """
    rows = [] if rows is None else rows
    process = subprocess.Popen(
        [sys.executable, "-m", "agent", *command],
        cwd=REPOSITORY,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        url = next(line for line in process.stderr if line.startswith("the page: ")).removeprefix("the page: ").strip()
        asyncio.run(look(url, rows))
        output, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
    assert process.returncode == 0
    names = () if command[0] == "play" else ("steering", "throttle", "brake")
    columns = Facts(*("", "", "", "", "", 1.0, names), ("steering", "throttle", "brake"), (1, 1, 3)).columns
    return [dict(zip(columns, row, strict=True)) for row in rows], output


def test_a_replay_shows_the_networks_opinion_beside_the_label_at_the_recordings_own_pace() -> None:
    recording = REPOSITORY / "tests" / "data" / "carracing-0031000.parquet"
    started_s = time.monotonic()
    shown, output = rows_shown_by(["replay", str(recording), "--engine", "constant", "--page", "--json"])
    took_s = time.monotonic() - started_s
    episode = Episode.open(recording)
    assert json.loads(output)["frames"] == len(episode)
    assert [row["kind"] for row in shown] == [0] * len(episode)
    assert {round(row["raw_throttle"], 3) for row in shown} == {0.1}, "the network's"
    assert [row["sent_steering"] for row in shown] == pytest.approx(episode.labels(["steering"])[:, 0], abs=1e-5)
    times_s = [row["started_s"] - shown[0]["started_s"] for row in shown]
    assert times_s == pytest.approx((episode.captured_ns - episode.captured_ns[0]) / 1e9, abs=1e-3)
    assert took_s > episode.duration_s


@pytest.mark.skipif(sys.platform != "linux", reason="SDL's window that nobody sees")
def test_a_persons_game_is_shown_and_no_network_beside_it(tmp_path: Path) -> None:
    report = tmp_path / "laps.jsonl"
    seen, rows = tmp_path / "seen", list[Any]()
    script = tmp_path / "sitecustomize.py"  # a person who closes the window once the viewer has seen enough
    script.write_text(
        "import os, threading, time\n"
        "def leave():\n"
        "    import pygame\n"
        "    while not pygame.display.get_init() or pygame.display.get_surface() is None: time.sleep(0.05)\n"
        "    for _ in range(1200):\n"
        f"        if os.path.exists({str(seen)!r}): break\n"
        "        time.sleep(0.05)\n"
        "    pygame.event.post(pygame.event.Event(pygame.QUIT))\n"
        "import sys\n"
        "if 'play' in sys.orig_argv:\n"
        "    threading.Thread(target=leave, daemon=True).start()\n"
    )

    def tell() -> None:
        while len(rows) <= 20:
            time.sleep(0.05)
        seen.touch()

    threading.Thread(target=tell, daemon=True).start()
    shown, _ = rows_shown_by(
        ["play", "carracing", "--seed", "3", "--page", "--report", str(report)],
        rows,
        SDL_VIDEODRIVER="dummy",
        PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
    )
    assert len(shown) > 20
    assert {row["kind"] for row in shown} == {0}
    assert {row["sent_throttle"] for row in shown} == {0.0}
    assert not any(name.startswith("raw_") for name in shown[0])


def test_the_page_of_a_training_shows_its_rounds_as_they_come(tmp_path: Path) -> None:
    async def look_on(url: str) -> None:
        async with ClientSession() as session:

            async def ask(path: str) -> Any:
                async with session.get(url + path) as answer:
                    assert answer.status == 200
                    return await answer.json()

            assert (await ask("shelf"))["runs"] == []
            run = tmp_path / "run"
            run.mkdir()
            (run / "config.json").write_text('{"balance": "v3"}')
            (run / "log.csv").write_text("step,loss\n10,0.5\n")
            assert (await ask("shelf"))["runs"] == [{"key": "run", "settings": {"balance": "v3"}}]
            (run / "log.csv").write_text("step,loss\n10,0.5\n20,0.25\n")
            assert await ask("log?run=run") == {"step": [10, 20], "loss": [0.5, 0.25]}

    with page_of_folder(tmp_path, Address()) as url:
        asyncio.run(look_on(url))
