"""Tracks shared out over a cluster give the table and the episodes of one process, track for track."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.contract.episodes.reading import Episode
from agent.games.registry import Game
from agent.sessions import evaluate as evaluation
from agent.sessions import evaluate_far
from agent.sessions.evaluate import evaluate
from agent.settings.evaluate import EvaluateSettings
from training.collecting import collect as collecting
from training.collecting.collect import collect
from training.collecting.config import CollectConfig

pytestmark = pytest.mark.thorough

SEEDS = 3


class Here:
    """A cluster that does the work here, the last piece first."""

    cores, nodes = 2, 2

    def share_out(
        self, work: Callable[[Any, int], Any], shared: Any, items: Iterable[int]
    ) -> Iterator[tuple[int, Any]]:
        for item in reversed(list(items)):
            yield item, work(shared, item)


@contextmanager
def here(address: str) -> Iterator[Here]:
    assert address == "local"
    yield Here()


def short_carracing() -> Any:
    from agent.games.carracing import CarRacing

    return CarRacing(episode_ticks=60)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    from agent.games.carracing import PROFILE

    game = Game(PROFILE, short_carracing)
    for module in (evaluation, evaluate_far):
        monkeypatch.setattr(module, "find_game", lambda name: game)
    monkeypatch.setattr(evaluate_far, "connected", here)


def test_an_evaluation_is_the_same_track_for_track(short: None) -> None:
    settings = EvaluateSettings(tracks=SEEDS, seed_start=7, engine="constant", threads=1)
    alone = evaluate(settings)
    told: list[int] = []
    far = evaluate(replace(settings, ray="local"), lambda result, tracks: told.append(result.seed))
    assert told == [9, 8, 7]
    assert far.report == alone.report
    assert far.rate_used_hz == alone.rate_used_hz


def test_episodes_are_the_same_and_those_that_are_there_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "connected", here)
    config = CollectConfig(folder=tmp_path / "alone", episodes=2, decisions=12, workers=1)
    collecting.record_episode(config, 0)
    collecting.record_episode(config, 1)
    far = replace(config, folder=tmp_path / "far", ray="local")
    told: list[int] = []
    paths = collect(far, lambda seed, episode_return: told.append(seed))
    assert told == [1, 0]
    assert [path.name for path in paths] == ["carracing-0000000.parquet", "carracing-0000001.parquet"]
    for path in paths:
        episode, other = Episode.open(path), Episode.open(tmp_path / "alone" / path.name)
        assert asdict(episode.header) == asdict(other.header)
        assert np.array_equal(episode.controls, other.controls)
        assert np.array_equal(episode.frame(5).pixels, other.frame(5).pixels)
    assert collect(far, lambda seed, episode_return: told.append(seed)) == paths
    assert told == [1, 0], "nothing is recorded twice"


@pytest.mark.slow
def test_two_nodes_on_this_machine_and_one_of_them_killed(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="needs `pip install '.[ray]'`")
    from ray.cluster_utils import Cluster

    settings = EvaluateSettings(tracks=6, seed_start=7, engine="constant", threads=1)
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = nodes.add_node(num_cpus=1)
        nodes.wait_for_nodes()
        alone = evaluate(settings)
        told: list[int] = []

        def progress(result: Any, tracks: int) -> None:
            told.append(result.seed)
            if len(told) == 2:
                nodes.remove_node(second, allow_graceful=False)

        far = evaluate(replace(settings, ray=nodes.address), progress)
        assert far.report == alone.report
        assert sorted(told) == list(range(7, 13))
    finally:
        ray.shutdown()
        nodes.shutdown()
