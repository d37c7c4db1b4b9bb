"""A recorded drive as a policy: the same drive again in lockstep, and the same moments elsewhere."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from agent.contract.controls import Controls
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.reading import Episode
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.observation import Frame, Observation
from agent.contract.spec import ModelSpec
from agent.engines.base import Prediction
from agent.games.carracing import CarRacing
from agent.policies.base import untimed
from agent.policies.network import NetworkPolicy
from agent.policies.replayed import ReplayedPolicy
from agent.sessions.evaluation import evaluate_policy
from agent.sessions.record_simulator import record_episodes

PERIOD_NS = 40_000_000


class PictureEngine:
    """Steers by the picture's brightness and presses both pedals."""

    name = "picture"
    spec = ModelSpec("fake", "none", "carracing", width_px=60, height_px=40)

    def infer(self, observation: Observation) -> Prediction:
        left, right = observation[:, :30].mean(), observation[:, 30:].mean()
        return np.array((float(left - right) / 20 - 0.2, 0.7, 0.1), np.float32)

    def close(self) -> None:
        pass


def short_game() -> CarRacing:
    return CarRacing(episode_ticks=80)


def test_in_lockstep_on_its_track_it_is_the_same_drive_again(tmp_path: Path) -> None:
    with closing(short_game()) as game:
        ((path, recorded),) = record_episodes(game, NetworkPolicy(PictureEngine()), [5_000], 2, tmp_path)
    policy = ReplayedPolicy(Episode.open(path))
    assert (policy.name, policy.driver, policy.spec.game) == ("replayed", "replayed:carracing-5000", "carracing")
    report = evaluate_policy(short_game, policy, [5_000, 5_001, 5_000])
    for again in (report.tracks[0], report.tracks[2]):
        assert (again.episode_return, again.progress, again.seconds) == (
            recorded.episode_return,
            recorded.progress,
            recorded.time_s,
        )
    assert report.tracks[1].episode_return != recorded.episode_return
    assert not policy.finished


@pytest.fixture
def episode(tmp_path: Path) -> Episode:
    """Ten rows at 25 a second; the fifth and sixth ticks were missed, and what was sent is not the label."""
    path = tmp_path / "drive.parquet"
    with EpisodeWriter(path, EpisodeHeader("carracing", "human", 25.0)) as writer:
        for row, tick in enumerate((0, 1, 2, 3, 6, 7, 8, 9, 10, 11)):
            frame = Frame(np.zeros((6, 8, 3), np.uint8), 7_000_000_000 + tick * PERIOD_NS, tick)
            writer.write(EpisodeRow(frame, Controls(-1.0), executed=Controls(row / 10)))
    return Episode.open(path)


def steering_at(policy: ReplayedPolicy, ticks: list[float]) -> list[float]:
    policy.reset()
    frames = (Frame(np.zeros((6, 8, 3), np.uint8), round(500 + tick * PERIOD_NS)) for tick in ticks)
    return [round(float(policy.decide(frame, untimed).prediction[0]), 3) for frame in frames]


def test_it_does_what_was_sent_as_long_after_the_start(episode: Episode) -> None:
    policy = ReplayedPolicy(episode)
    assert steering_at(policy, [0, 1, 2, 3, 4, 5, 6, 7]) == [0.0, 0.1, 0.2, 0.3, 0.3, 0.3, 0.4, 0.5]
    assert steering_at(policy, [0, 0.9, 2.1, 2.9]) == [0.0, 0.1, 0.2, 0.3], "ticks are never quite in time"
    assert steering_at(policy, [0, 2, 7, 9]) == [0.0, 0.2, 0.5, 0.7], "missed ticks do not delay what follows"


def test_after_its_end_it_is_neutral_until_it_begins_again(episode: Episode) -> None:
    policy = ReplayedPolicy(episode)
    assert steering_at(policy, [0, 11, 12, 100]) == [0.0, 0.9, 0.0, 0.0]
    assert policy.finished
    assert steering_at(policy, [0, 1]) == [0.0, 0.1]
    assert not policy.finished
