"""What the page tells of trainings: what they were fed, what is in their buffers, and how their stages drove."""

import asyncio
import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from aiohttp import ClientSession

from agent.contract.controls import Controls
from agent.contract.errors import TrainingError
from agent.contract.observation import Frame
from agent.contract.spec import outputs_named
from agent.observers.base import BlindTick, DrivenTick
from agent.page.feed import Address
from agent.page.folder import serve_folder
from agent.page.runs import BUFFERS, CLIPS, FED, SETTINGS, Runs
from training.data.fed import BUCKETS, Fed
from training.fitting.clips import clip_of, name_clip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / SETTINGS).write_text("{}")
    return folder


@pytest.fixture
def runs(run: Path) -> Runs:
    runs = Runs(run.parent)
    assert [each["key"] for each in runs.scan()] == ["one"]
    return runs


def drive(run: Path, step: int, ticks: int = 30) -> None:
    """Film a drive as ``fit`` does."""
    (film,) = clip_of(run, [7, 8], 25.0, ("steering",))(7)
    with film:
        film.on_tick(BlindTick(0, "dark", Controls(), {}, 0))
        for tick in range(ticks):
            frame = Frame(np.full((200, 400, 4), 8 * tick, np.uint8), tick, tick)
            seen, raw = np.zeros((4, 6, 3), np.uint8), np.zeros(1, np.float32)
            film.on_tick(DrivenTick(tick, frame, seen, raw, Controls(), 0.01, {}, tick))
    name_clip(run, step)


def test_what_was_fed_is_counted_by_its_weight_and_told_by_output(run: Path, runs: Runs) -> None:
    assert runs.details("one") == {"fed": None, "buffers": None, "clips": []}
    fed = Fed(outputs_named(("steering", "throttle")))
    labels = np.array([[-1, 0], [0, 0.5], [0, 0.5], [1, 1]], np.float32)
    fed.add(labels, np.array([[1, 1], [2, 1], [0.5, 1], [0, 0]], np.float32))
    fed.add(labels[:1])
    fed.write(run, 40)
    told = runs.details("one")["fed"]
    assert told["step"] == 40
    steering, throttle = (told["outputs"][name] for name in ("steering", "throttle"))
    assert (steering["low"], steering["high"], len(steering["counts"])) == (-1, 1, BUCKETS)
    assert {place: count for place, count in enumerate(steering["counts"]) if count} == {0: 2, BUCKETS // 2: 2.5}
    assert sum(throttle["counts"]) == 4
    assert sorted(path.name for path in run.iterdir()) == [SETTINGS, FED]


def test_the_state_of_buffers_is_told_with_its_age(run: Path, runs: Runs) -> None:
    state = {"state": "training", "round": 3, "levels": {"steering": 900}, "capacity": 1000, "at": time.time() - 60}
    (run / BUFFERS).write_text(json.dumps(state))
    told = runs.details("one")["buffers"]
    assert (told["state"], told["levels"], told["capacity"]) == ("training", {"steering": 900}, 1000)
    assert told["age_s"] == pytest.approx(60, abs=5)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"[]", b"{", b"null", b"[" * 50_000, b"\xff"),
        b'{"step": 1, "outputs": {"steering": {"low": -1, "high": 1, "counts": [NaN]}}, "levels": 3, "at": 1}',
        b'{"step": 1, "outputs": {"steering": {"low": -1, "high": 1, "counts": []}}, "levels": {"a": "b"}, "at": 1}',
        b'{"step": 1, "outputs": [], "levels": [], "at": "yesterday"}',
    ],
)
def test_what_is_damaged_counts_as_nothing(run: Path, runs: Runs, content: bytes) -> None:
    for name in (FED, BUFFERS):
        (run / name).write_bytes(content)
    assert runs.details("one") == {"fed": None, "buffers": None, "clips": []}


def test_each_stage_has_a_small_clip_of_its_first_track(run: Path, runs: Runs) -> None:
    assert clip_of(run, [7, 8], 25.0, ("steering",))(8) == []
    for step in (1000, 200):
        drive(run, step)
    assert runs.details("one")["clips"] == ["00000200.webp", "00001000.webp"]
    content, kind = runs.clip("one", "00000200.webp", is_still=False)
    assert kind == "image/webp"
    read, film = cv2.imdecodeanimation(np.frombuffer(content, np.uint8))
    assert read
    assert len(film.frames) == 6, "every fifth tick"
    assert film.frames[0].shape == (140, 200, 3)
    still, kind = runs.clip("one", "00000200.webp", is_still=True)
    assert kind == "image/jpeg"
    assert cv2.imdecode(np.frombuffer(still, np.uint8), cv2.IMREAD_COLOR).shape == (140, 200, 3)
    name_clip(run, 1200)  # no new one: nothing is renamed
    assert len(runs.details("one")["clips"]) == 2


def test_of_many_clips_the_first_and_the_newest_are_kept_and_some_are_shown(run: Path, runs: Runs) -> None:
    for step in range(1, 31):
        (run / CLIPS).mkdir(exist_ok=True)
        (run / CLIPS / "newest.webp").write_bytes(b"x")
        name_clip(run, step)
    names = sorted(path.stem for path in (run / CLIPS).iterdir())
    assert [int(name) for name in names] == [1, *range(8, 31)]
    shown = [int(name[:8]) for name in runs.details("one")["clips"]]
    assert len(shown) == 12
    assert (shown[0], shown[-1]) == (1, 30)


def test_a_clip_leads_nowhere_else(run: Path, runs: Runs) -> None:
    (run / CLIPS).mkdir()
    (run / CLIPS / "damaged.webp").write_bytes(b"RIFF")
    (run / CLIPS / "empty.webp").write_bytes(b"")
    (run / CLIPS / "link.webp").symlink_to(run / SETTINGS)
    for name in ("../config.json", "link.webp", "nothing.webp", str(run / SETTINGS), "."):
        with pytest.raises(TrainingError, match="no such clip"):
            runs.clip("one", name, is_still=False)
    for name in ("damaged.webp", "empty.webp"):
        with pytest.raises(TrainingError, match="damaged"):
            runs.clip("one", name, is_still=True)


def test_the_page_answers_for_a_run(run: Path) -> None:
    drive(run, 100)

    async def serve() -> None:
        urls: list[str] = []

        async def until() -> None:
            async with ClientSession() as session:
                await session.get(urls[0] + "shelf")
                async with session.get(urls[0] + "run", params={"run": "one"}) as answer:
                    assert (await answer.json())["clips"] == ["00000100.webp"]
                clip = {"run": "one", "clip": "00000100.webp"}
                for query, kind in ((clip, "image/webp"), (clip | {"still": "1"}, "image/jpeg")):
                    async with session.get(urls[0] + "clip", params=query) as answer:
                        assert (answer.status, answer.content_type) == (200, kind)
                        assert answer.headers["X-Content-Type-Options"] == "nosniff"
                for query, status in (({"run": "two", "clip": "x"}, 404), ({"run": "one"}, 400)):
                    async with session.get(urls[0] + "clip", params=query) as answer:
                        assert answer.status == status

        await serve_folder(run.parent, Address(), urls.append, until)

    asyncio.run(serve())
