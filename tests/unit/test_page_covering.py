"""Occlusion maps that a viewer of the page asks for."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from small_model import write_model

from agent.contract.observation import Observation
from agent.contract.spec import ModelSpec, Stack
from agent.engines.base import Prediction
from agent.engines.occlusion import PASSES
from agent.page.covering import Coverer, open_engine
from agent.page.records import Facts, Weights
from agent.page.viewers import OCCLUSION

AXES = ("steering", "throttle", "brake")
FACTS = Facts("", "carracing", "small", "openvino", "", 25.0, AXES, AXES, (36, 64, 3), "folder")
WEIGHTS = Weights("policy:small", "openvino", "folder")
SEEN = (6, 13)  # row and column of the one part that brakes


class CornerEngine:
    """Brakes by the red of one part of the picture, and waits in every pass until it may go on."""

    name = "corner"
    spec = ModelSpec("test", "none", "carracing", width_px=64, height_px=36)

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.passes = 0
        self.is_closed = False
        self._answer = np.zeros(3, np.float32)  # one for all passes, as engines have it

    def infer(self, observation: Observation) -> Prediction:
        assert self.may_go_on.wait(20)
        self.passes += 1
        row, column = SEEN
        self._answer[:] = 0.1, 0.5, observation[4 * row : 4 * row + 4, 4 * column : 4 * column + 4, 0].mean() / 255
        return self._answer

    def close(self) -> None:
        self.is_closed = True


class Looker:
    """Stands in for a viewer."""

    def __init__(self) -> None:
        self.is_there = True
        self.said: list[dict[str, Any]] = []
        self.pictures: list[tuple[int, float, bytes]] = []

    def say(self, message: dict[str, Any]) -> None:
        self.said.append(message)

    def show(self, kind: int, stamp: float, picture: bytes) -> None:
        self.pictures.append((kind, stamp, picture))

    @property
    def problem(self) -> str:
        return str(self.said[-1].get("problem", ""))


def seen(at: int | None) -> tuple[int, Observation] | None:
    if at is not None and at < 3:
        return None
    picture = np.random.default_rng(at).integers(0, 60, (36, 64, 3), np.uint8)
    picture[24:28, 52:56] = 250
    return at or 9, picture


def cover(engine: CornerEngine, act: Callable[[Coverer], Any]) -> list[float]:
    """Act on a coverer, and wait until it has done everything; return for how long it rested."""
    rests: list[float] = []

    async def run() -> None:
        coverer = Coverer(
            FACTS, seen, lambda at: WEIGHTS, lambda looker: looker.is_there, lambda weights: engine, rests.append
        )
        await act(coverer)
        async with asyncio.timeout(20):
            while coverer._job is not None:
                await asyncio.sleep(0.002)
        coverer.close()

    asyncio.run(run())
    return rests


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not met():
            await asyncio.sleep(0.002)


def test_the_map_is_bright_where_the_network_looks_and_tells_by_how_much() -> None:
    engine, looker = CornerEngine(), Looker()

    async def ask(coverer: Coverer) -> None:
        coverer.hear(looker, 5, "brake")  # type: ignore[arg-type]

    rests = cover(engine, ask)
    assert engine.passes == len(rests) == PASSES
    assert engine.is_closed
    assert looker.said[0] == {"type": "occlusion", "done": 0, "of": PASSES}
    told = looker.said[-1]
    assert (told["done"], told["at"], told["output"], told["weights"]) == (PASSES, 5, "brake", "small")
    assert told["largest"] == pytest.approx((250 - seen(5)[1].mean(axis=(0, 1))[0]) / 255, abs=0.01)  # type: ignore[index]
    ((kind, stamp, picture),) = looker.pictures
    assert (kind, stamp) == (OCCLUSION, 5)
    grey = cv2.cvtColor(cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2GRAY)
    assert grey[390, 810] > 2 * grey[100, 100]


def test_only_one_is_computed_at_a_time_and_who_asked_for_it_can_end_it() -> None:
    engine, first, second = CornerEngine(), Looker(), Looker()
    engine.may_go_on.clear()

    async def ask(coverer: Coverer) -> None:
        coverer.hear(first, 5, "brake")  # type: ignore[arg-type]
        coverer.hear(second, 6, "brake")  # type: ignore[arg-type]
        assert second.problem.startswith(f"a map is being computed already (0 of {PASSES} passes are done)")
        coverer.hear(second, False, None)  # type: ignore[arg-type]
        engine.may_go_on.set()
        await until(lambda: engine.passes > 3)
        engine.may_go_on.clear()
        assert engine.passes < PASSES, "the second one cannot end it"
        coverer.hear(first, False, None)  # type: ignore[arg-type]
        engine.may_go_on.set()

    cover(engine, ask)
    assert first.problem == "stopped"
    assert engine.passes < PASSES
    assert engine.is_closed
    assert not first.pictures + second.pictures


def test_one_whose_viewer_has_gone_is_ended() -> None:
    engine, looker = CornerEngine(), Looker()

    async def ask(coverer: Coverer) -> None:
        looker.is_there = False
        coverer.hear(looker, 5, "brake")  # type: ignore[arg-type]

    cover(engine, ask)
    assert engine.passes == 1


@pytest.mark.parametrize(
    ("wish", "problem"),
    [(None, "expected the page to be paused"), ("5", "paused"), (True, "paused"), (1, "there is no picture")],
)
def test_what_cannot_be_covered_is_refused(wish: object, problem: str) -> None:
    engine, looker = CornerEngine(), Looker()

    async def ask(coverer: Coverer) -> None:
        coverer.hear(looker, wish, "brake")  # type: ignore[arg-type]

    cover(engine, ask)
    assert problem in looker.problem
    assert engine.passes == 0


def test_a_network_of_several_pictures_and_one_without_a_folder_are_refused() -> None:
    engine, looker = CornerEngine(), Looker()
    engine.spec = replace(engine.spec, stack=Stack(4))

    async def ask(coverer: Coverer) -> None:
        coverer.hear(looker, 5, "brake")  # type: ignore[arg-type]

    cover(engine, ask)
    assert "sees 4 pictures at once" in looker.problem
    with pytest.raises(Exception, match="the folder of round-3 is not known"):
        open_engine(Weights("policy:round-3", "openvino"))


def test_the_engine_computes_as_the_drive_does(tmp_path: Path) -> None:
    folder = str(write_model(tmp_path))
    for name, expected in (("onnxruntime", "openvino"), ("openvino", "openvino")):
        engine = open_engine(Weights("policy:small", name, folder))
        assert engine.name == expected
        engine.close()
