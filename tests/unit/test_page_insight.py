"""What the page computes of a network, and for whom."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from small_model import SPEC, write_model

from agent.engines.inside import Evidence, InsideNetwork
from agent.page.insight import Insight, mosaic, overlay
from agent.page.live import encode
from agent.page.records import Facts, Weights
from agent.page.viewers import EVIDENCE, MAPS

AXES = ("steering", "throttle", "brake")


class Looker:
    """Stands in for a viewer."""

    def __init__(self, *wants: str) -> None:
        self.wants = frozenset(wants)
        self.at: int | None = None
        self.output = self.layer = ""
        self.said: list[dict[str, Any]] = []
        self.shown: list[tuple[int, float]] = []
        self.pictures: dict[int, bytes] = {}

    def say(self, message: dict[str, Any]) -> None:
        self.said.append(message)

    def show(self, kind: int, stamp: float, picture: bytes) -> None:
        self.shown.append((kind, stamp))
        self.pictures[kind] = picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("small"))


@pytest.fixture
def insight(folder: Path) -> Iterator[Insight]:
    return make(str(folder))


def make(folder: str, weights: Callable[[int | None], Weights] | None = None) -> Insight:
    facts = Facts("", "carracing", "small", "openvino", "", 25.0, AXES, AXES, (8, 12, 3), folder)
    drives = weights or (lambda at: Weights("policy:small", "openvino", folder))
    return Insight(
        facts, lambda at: (at or 9, np.random.default_rng(at).integers(0, 256, (8, 12, 3), np.uint8)), drives
    )


def serve(insight: Insight, *lookers: Looker) -> bool:
    return asyncio.run(insight._serve_once(list(lookers)))  # type: ignore[arg-type]


def test_nothing_is_loaded_or_computed_while_nobody_looks(insight: Insight) -> None:
    assert insight.is_possible
    assert not serve(insight)
    assert not insight._networks


def test_each_viewer_gets_what_it_asked_for_once(insight: Insight) -> None:
    both, one = Looker("evidence", "maps", "game"), Looker("evidence")
    one.at, one.output = 5, "brake"
    assert serve(insight, both, one)
    assert sorted(both.shown) == [(EVIDENCE, 9), (MAPS, 9)]
    assert one.shown == [(EVIDENCE, 5)]
    assert both.said == [{"type": "layers", "names": ("normal", "third"), "outputs": AXES, "weights": "small"}]
    evidence = cv2.imdecode(np.frombuffer(both.pictures[EVIDENCE], np.uint8), cv2.IMREAD_COLOR)
    assert evidence.shape == (SPEC.height_px, SPEC.width_px, 3)
    assert not serve(insight, both, one), "nothing has changed"
    one.at = 6
    both.layer = "normal"
    assert serve(insight, both, one)
    assert one.shown[1:] == [(EVIDENCE, 6)]
    assert len(both.shown) == 4


def test_after_a_swap_maps_are_of_the_weights_that_drove_at_their_tick(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = write_model(tmp_path_factory.mktemp("other"), seed=6)
    old, new = Weights("policy:small", "openvino", str(folder)), Weights("policy:small-12", "openvino", str(other))
    insight = make(str(folder), lambda at: new if at is None or at >= 8 else old)
    live, back = Looker("maps"), Looker("maps")
    live.at, back.at = 9, 5
    assert serve(insight, live, back)
    for looker, weights in ((live, other), (back, folder)):
        seen = np.random.default_rng(looker.at).integers(0, 256, (8, 12, 3), np.uint8)
        network = InsideNetwork(weights)
        expected = encode(mosaic(list(network.look(seen, network.layers[-2:]).maps.values())), 88)
        assert looker.pictures[MAPS] == expected
    assert [looker.said[-1]["weights"] for looker in (live, back)] == ["small-12", "small"]
    back.at = 8
    assert serve(insight, live, back)
    assert back.said[-1]["weights"] == "small-12"


def test_weights_of_no_known_folder_are_not_mistaken_for_those_before(folder: Path) -> None:
    now = Weights("policy:small", "openvino", str(folder))
    insight, looker = make(str(folder), lambda at: now), Looker("evidence")
    assert serve(insight, looker)
    now = Weights("policy:unknown", "fake", "")
    looker.at = 7
    assert not serve(insight, looker)
    assert not serve(insight, looker)
    assert looker.said[1:] == [
        {"type": "insight", "problem": "the folder of unknown is not known: what they see is not shown"}
    ]
    assert len(looker.shown) == 1


def test_weights_that_come_later_can_be_looked_into(folder: Path) -> None:
    now = Weights("human", "nobody", "")
    insight, looker = make("", lambda at: now), Looker("evidence")
    assert not insight.is_possible
    assert not serve(insight, looker)
    now = Weights("policy:small-1", "openvino", str(folder))
    assert insight.is_possible
    assert serve(insight, looker)


def test_a_layer_that_does_not_exist_is_told_and_others_are_served(insight: Insight) -> None:
    wrong, right = Looker("maps"), Looker("maps")
    wrong.layer = "fourth"
    serve(insight, wrong, right)
    assert "no layer or output 'fourth'" in wrong.said[-1]["problem"]
    assert right.shown == [(MAPS, 9)]


def test_a_network_that_cannot_be_looked_into_is_told_once(tmp_path: Path) -> None:
    insight, looker = make(str(tmp_path)), Looker("maps")
    assert not serve(insight, looker)
    assert not serve(insight, looker)
    assert [message["type"] for message in looker.said] == ["insight"]
    assert "spec.json" in looker.said[0]["problem"]
    assert not make("").is_possible


def test_evidence_is_red_where_it_speaks_for_more_and_blue_where_for_less() -> None:
    picture = np.full((60, 100, 3), 100, np.uint8)
    parts = np.array([[0.4, 0.0, -0.2]], np.float32)
    seen = overlay(picture, Evidence(parts, 0.0, 0.2)).astype(int)
    more, none, less = seen[30, 2], seen[30, 50], seen[30, 97]
    assert more[2] > more[0] + 80
    assert less[0] > less[2] + 30
    assert np.abs(none - 100).max() <= 8
    assert np.array_equal(overlay(picture, Evidence(0 * parts, 0.0, 0.0)), picture)


def test_every_map_of_a_layer_has_a_tile() -> None:
    for count, rows, columns in ((2048, 9, 15), (64, 132, 237), (1, 5, 7), (3, 40, 2)):
        maps = np.zeros((count, rows, columns), np.float32)
        dark = mosaic([maps])
        assert dark.shape[1] <= 1280
        assert dark.shape[0] <= 724
        background = dark[0, 0]
        maps[count - 1] = 1  # the last one must be seen, too
        assert (mosaic([maps]) != background).any()
        assert mosaic([maps, maps]).shape[1] == dark.shape[1]
