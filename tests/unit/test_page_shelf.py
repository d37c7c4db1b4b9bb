"""The shelf: what recordings hold, marks, deleting with a way back, and requests that lead nowhere else."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from aiohttp import ClientSession

from agent.contract.controls import Controls
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.edits import DELETED, edits_path, read_edits
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.errors import AgentError, EpisodeError, TrainingError
from agent.contract.observation import Frame
from agent.contract.spec import ModelSpec
from agent.engines.constant import ConstantEngine
from agent.page.feed import Address
from agent.page.folder import serve_folder
from agent.page.runs import SHOWN_SETTINGS, Runs
from agent.page.shelf import Opinion, Shelf, form_opinion
from agent.policies.base import Policy
from agent.policies.network import NetworkPolicy
from training.fitting.config import FitConfig

ROWS = 6


def write_episode(path: Path) -> Path:
    with EpisodeWriter(path, EpisodeHeader("carracing", "expert", 25.0, 7)) as writer:
        for row in range(ROWS):
            controls = Controls(row / 10, 0.5, 0.0)
            frame = Frame(np.full((40, 60, 3), 40 * row, np.uint8), row * 40_000_000, row)
            writer.write(EpisodeRow(frame, controls, controls, intervention=row < 3))
    return path


def constant(game: str) -> Policy:
    return NetworkPolicy(ConstantEngine(ModelSpec("model", "none", game), Controls(0.2, 0.5, 0.0)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_episode(tmp_path / "b.parquet")
    write_episode(tmp_path / "day" / "a.parquet")
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    (tmp_path / "._b.parquet").write_bytes(b"nobody's")
    (tmp_path / "secret.txt").write_text("secret")
    return tmp_path


def test_the_shelf_says_what_each_recording_holds(folder: Path) -> None:
    entries = {entry["key"]: entry for entry in Shelf(folder).scan()}
    assert list(entries) == ["b.parquet", "damaged.parquet", "day/a.parquet"]
    about = entries["day/a.parquet"]
    assert (about["rows"], about["seconds"], about["driver"], about["track"]) == (ROWS, 0.2, "expert", "track 7")
    assert (about["by_hand"], sum(about["steering"]), about["bad"]) == (0.5, ROWS, ())
    assert "damaged.parquet" in entries["damaged.parquet"]["problem"]


def test_numbers_and_pictures_of_a_row(folder: Path) -> None:
    shelf = Shelf(folder)
    shelf.scan()
    numbers = shelf.numbers("b.parquet")
    assert numbers["label"]["steering"] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert numbers["time_s"][-1] == 0.2
    picture = cv2.imdecode(np.frombuffer(shelf.picture("b.parquet", 4), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (40, 60, 3)
    assert abs(int(picture.mean()) - 160) <= 2
    small = cv2.imdecode(np.frombuffer(shelf.picture("b.parquet", 4, 30), np.uint8), cv2.IMREAD_COLOR)
    assert small.shape == (20, 30, 3)
    for row in (-1, ROWS):
        with pytest.raises(EpisodeError, match="has no row"):
            shelf.picture("b.parquet", row)


def test_a_mark_is_written_beside_the_recording(folder: Path) -> None:
    shelf = Shelf(folder)
    shelf.scan()
    assert shelf.mark("day/a.parquet", [[1, 2]]) == ((1, 2),)
    assert read_edits(folder / "day" / "a.parquet", ROWS) == ((1, 2),)
    assert next(each for each in shelf.scan() if each["key"] == "day/a.parquet")["bad"] == ((1, 2),)
    with pytest.raises(ValueError, match="no span"):
        shelf.mark("day/a.parquet", [[1, ROWS]])


def test_what_is_deleted_comes_back_with_its_marks(folder: Path) -> None:
    shelf = Shelf(folder)
    shelf.scan()
    shelf.mark("b.parquet", [[0, 1]])
    content = (folder / "b.parquet").read_bytes()
    shelf.delete("b.parquet")
    assert not (folder / "b.parquet").exists()
    assert not edits_path(folder / "b.parquet").exists()
    key = f"{DELETED}/b.parquet"
    assert next(each for each in shelf.scan() if each["key"] == key)["deleted"]
    write_episode(folder / "b.parquet")  # another one took its place
    with pytest.raises(EpisodeError, match="exists already"):
        shelf.restore(key)
    os.unlink(folder / "b.parquet")
    shelf.restore(key)
    assert (folder / "b.parquet").read_bytes() == content
    assert read_edits(folder / "b.parquet", ROWS) == ((0, 1),)


def test_the_network_s_opinion_on_every_row(folder: Path) -> None:
    opinion = Opinion()
    form_opinion(folder / "b.parquet", constant, opinion, lambda: True)
    assert opinion.to_dict(4) == {
        **{"outputs": ("steering", "throttle", "brake"), "rows": ROWS, "since": 4, "problem": "", "done": True},
        "values": [[0.2, 0.5, 0.0]] * 2,
    }

    def refuse(game: str) -> Policy:
        raise AgentError(f"no weights for {game}")

    form_opinion(folder / "b.parquet", refuse, opinion := Opinion(), lambda: True)
    assert opinion.to_dict(0)["problem"] == "no weights for carracing"
    form_opinion(folder / "b.parquet", constant, opinion := Opinion(), lambda: False)
    assert opinion.values == []


def test_a_training_s_log_is_read_while_it_grows(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "config.json").write_text('{"balance": "v3", "data": ["x"], "backbone": 7}')
    assert runs.scan() == [{"key": "one", "settings": {"balance": "v3", "backbone": 7}}]
    assert runs.log("one") == {}
    (tmp_path / "one" / "log.csv").write_text("step,loss,return\n10,0.5,nan\n20,oops,812\n")
    assert runs.log("one") == {"step": [10.0, 20.0], "loss": [0.5, None], "return": [None, 812.0]}
    assert Runs(tmp_path / "one").scan()[0]["key"] == "one"
    with pytest.raises(TrainingError, match="no such run"):
        runs.log("../one")


def test_the_shown_settings_are_those_that_fit_writes_down(tmp_path: Path) -> None:
    config = FitConfig.debug((tmp_path,), tmp_path)
    (tmp_path / "config.json").write_text(config.to_json())
    (run,) = Runs(tmp_path).scan()
    assert run["settings"].keys() == set(SHOWN_SETTINGS)
    assert (run["settings"]["width_px"], run["settings"]["height_px"], run["settings"]["steps"]) == (120, 68, 2)


def visit(folder: Path, what: Callable[[str, ClientSession], Awaitable[None]]) -> None:
    async def run() -> None:
        urls: list[str] = []

        async def until() -> None:
            async with ClientSession() as session:
                await what(urls[0], session)

        await serve_folder(folder, Address(), urls.append, until, constant)

    asyncio.run(run())


def test_the_page_answers_its_own_requests(folder: Path) -> None:
    async def ask(url: str, session: ClientSession) -> None:
        async def get(path: str, **query: Any) -> Any:
            async with session.get(url + path, params=query) as answer:
                assert answer.status == 200, await answer.text()
                return await answer.json()

        async with session.get(url) as answer:
            assert "Recordings" in await answer.text()
        shelf = await get("shelf")
        assert [entry["key"] for entry in shelf["episodes"]] == ["b.parquet", "damaged.parquet", "day/a.parquet"]
        assert len((await get("numbers", episode="b.parquet"))["time_s"]) == ROWS
        origin = {"Origin": url.removesuffix("/")}
        mark = json.dumps({"episode": "b.parquet", "bad": [[2, 3]]})
        async with session.post(url + "mark", data=mark, headers=origin) as answer:
            assert (answer.status, await answer.json()) == (200, [[2, 3]])
        async with session.get(url + "picture", params={"episode": "b.parquet", "row": 3}) as answer:
            assert (answer.content_type, (await answer.read())[:2]) == ("image/jpeg", b"\xff\xd8")
        values: list[Any] = []
        while len(values) < ROWS:
            values += (await get("opinion", episode="b.parquet", since=len(values)))["values"]
        assert values == [[0.2, 0.5, 0.0]] * ROWS

    visit(folder, ask)
    assert read_edits(folder / "b.parquet", ROWS) == ((2, 3),)


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        *(
            ("numbers", {"episode": key}, 409)
            for key in ("../b.parquet", "/etc/passwd", "secret.txt", "", "b.parquet\0")
        ),
        *(("picture", {"episode": key}, 404) for key in ("../b.parquet", "secret.txt", f"{DELETED}/../b.parquet")),
        ("picture", {"episode": "b.parquet", "row": "x"}, 400),
        ("picture", {"episode": "b.parquet", "row": "99"}, 404),
        *(
            ("picture", {}, 400),
            ("numbers", {}, 400),
            ("log", {"run": "../x"}, 409),
            ("opinion", {"episode": "x"}, 409),
        ),
        *(("mark", {}, 405), ("delete", {"episode": "b.parquet"}, 405), ("restore", {}, 405)),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(folder: Path, path: str, query: dict[str, str], status: int) -> None:
    async def ask(url: str, session: ClientSession) -> None:
        async with session.get(url + "shelf") as answer:
            assert answer.status == 200
        async with session.get(url + path, params=query) as answer:
            assert answer.status == status
            assert "secret" not in json.dumps(await answer.json())

    visit(folder, ask)
    assert (folder / "b.parquet").exists()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"episode": "b.parquet", "bad": [[0, 99]]}', 400),
        ('{"episode": "../b.parquet", "bad": []}', 409),
        *(
            (text, 400)
            for text in ("", "[]", "{", '{"episode": "b.parquet"}', "[" * 100_000, '{"bad": 1, "episode": []}')
        ),
        ("x" * 400_000, 413),
    ],
)
def test_a_mark_that_makes_no_sense_changes_nothing(folder: Path, body: str, status: int) -> None:
    async def ask(url: str, session: ClientSession) -> None:
        async with session.get(url + "shelf"):
            pass
        async with session.post(url + "mark", data=body, headers={"Origin": url.removesuffix("/")}) as answer:
            assert answer.status == status

    visit(folder, ask)
    assert not edits_path(folder / "b.parquet").exists()


def test_another_page_can_delete_nothing(folder: Path) -> None:
    async def ask(url: str, session: ClientSession) -> None:
        for headers in ({}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
            async with session.post(url + "delete", data='{"episode":"b.parquet"}', headers=headers) as answer:
                assert answer.status in (403, 405)

    visit(folder, ask)
    assert (folder / "b.parquet").exists()
