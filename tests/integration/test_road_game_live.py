"""The road game learnt from nothing on a virtual clock: the person drives, lets go, and takes over again."""

from pathlib import Path

import pytest
from road_game.live import by_minute, first_unaided_lap, learn
from road_game.lockstep import Desk

from agent.contract.episodes.reading import Episode
from training.live.config import LiveSettings
from training.live.trainer import EPISODES


class Spell:
    """As ``road_game.figures.Spell``."""

    def __init__(self, from_s: float, until_s: float, cause: str = "off the road") -> None:
        self.from_s, self.until_s, self.cause = from_s, until_s, cause


def test_takeovers_are_told_by_minute_and_the_demonstration_is_none() -> None:
    spells = [Spell(0, 70, "demonstration"), Spell(100, 130), Spell(150, 160)]
    assert by_minute(spells, 0.0, 3.0) == [
        {"alone_s": 0.0, "interventions": 0},
        {"alone_s": 30.0, "interventions": 1},
        {"alone_s": 40.0, "interventions": 1},
    ]


def test_a_lap_counts_as_unaided_only_from_line_to_line() -> None:
    rows = [{"clock_s": float(second), "laps": second // 50} for second in range(260)]
    assert first_unaided_lap(rows, []) == 100.0
    assert first_unaided_lap(rows, [Spell(60, 70)]) == 150.0
    assert first_unaided_lap(rows, [Spell(60, 70), Spell(145, 155)]) == 250.0
    assert first_unaided_lap(rows, [Spell(0, 260)]) is None


@pytest.mark.slow
def test_a_person_drives_lets_the_network_try_and_corrects_it(tmp_path: Path) -> None:
    settings = LiveSettings(
        game="my-road", out=tmp_path, width_px=80, height_px=45, start=300, steps_per_round=60, warmup_steps=20
    )
    told = learn(Desk(0), settings, minutes=2.0, steps_per_s=8.0)
    assert 15.0 < told["first_weights_s"] < 45.0
    assert told["rounds"] >= 6
    assert told["swaps"] >= 3, "newer weights take over"
    alone_s = [minute["alone_s"] for minute in told["by_minute"]]
    assert alone_s[0] < 45.0, "the person drove first"
    assert sum(alone_s) > 15.0, "the network drove, too"
    episodes = [Episode.open(path) for path in sorted((tmp_path / EPISODES).glob("*.parquet"))]
    assert [episode.header.driver for episode in episodes[:2]] == ["human", "policy:my-road"]
    corrections = sum(int(episode.intervention.sum()) for episode in episodes[1:])
    assert corrections > 20, "nobody's first weights drive without help"
