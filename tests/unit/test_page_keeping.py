"""Keeping the last 30 s of a drive: an episode that replays and trains as what the network saw."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.contract.controls import AXIS_NAMES
from agent.contract.episodes.reading import Episode
from agent.contract.errors import EpisodeError
from agent.contract.observation import Frame, Observation
from agent.contract.preprocess import preprocess
from agent.contract.profile import Rectangle
from agent.contract.spec import ModelSpec
from agent.page.keeping import keep
from agent.page.live import Remembered
from agent.page.records import KINDS, STUCK_STATES, Facts

SPEC = ModelSpec("model", "small", "game", width_px=48, height_px=27, masks=(Rectangle(0.0, 0.8, 0.3, 0.2),))
AXES = ("steering", "throttle", "brake")


def facts(folder: Path) -> Facts:
    return Facts("A game", "game", "model", "engine", "policy:model", 25.0, AXES, AXES, (27, 48, 3), keep=str(folder))


def tick(about: Facts, number: int, kind: str = "driven", **numbers: float) -> Remembered:
    values = dict.fromkeys(about.columns, np.nan) | {"index": number, "kind": KINDS.index(kind), "stuck": 0}
    values |= {"intervention": 0, "started_s": number * 0.04, "capture_s": 0.001, "speed": float(number)}
    values |= {f"sent_{name}": value for name, value in zip(AXIS_NAMES, (number / 100, 0.5, 0.0, 0.0), strict=True)}
    return Remembered(np.array(list((values | numbers).values())), lambda: seen(number))


def seen(number: int) -> Observation:
    game = np.random.default_rng(number).integers(0, 256, (90, 160, 3), np.uint8)
    return preprocess(Frame(game, 0), SPEC)


def test_the_kept_episode_has_exactly_what_the_network_saw_and_what_was_sent(tmp_path: Path) -> None:
    about = facts(tmp_path / "new")
    kept = keep(about, 7, [tick(about, number) for number in range(1, 6)])
    assert kept.episode.name.startswith("game-7-")
    assert kept.seconds == pytest.approx(0.16)
    episode = Episode.open(kept.episode)
    assert (episode.header.game, episode.header.driver, episode.header.seed) == ("game", "policy:model", 7)
    assert episode.labels(AXES) == pytest.approx(np.array([[number / 100, 0.5, 0.0] for number in range(1, 6)]))
    assert episode.speed.tolist() == [1, 2, 3, 4, 5]
    for number, frame in enumerate(episode.frames(), 1):
        assert np.array_equal(preprocess(frame, SPEC), seen(number)), "preprocessing changes nothing any more"
    film = cv2.VideoCapture(str(kept.film))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    film.release()


def test_only_ticks_that_something_can_be_learnt_from_are_kept(tmp_path: Path) -> None:
    about = facts(tmp_path)
    stuck = STUCK_STATES.index("recovering")
    ticks = [
        *(tick(about, 1), tick(about, 2, "late"), tick(about, 3, "blind"), tick(about, 4, stuck=stuck)),
        *(tick(about, 5, stuck=stuck, intervention=1), tick(about, 6)),
    ]
    episode = Episode.open(keep(about, None, ticks).episode)
    assert (episode.tick.tolist(), episode.intervention.tolist()) == ([1, 5, 6], [False, True, False])


def test_a_persons_drive_has_no_stages_and_is_kept_all_the_same(tmp_path: Path) -> None:
    about = facts(tmp_path)
    ticks = [tick(about, number, capture_s=np.nan, intervention=1) for number in range(1, 4)]
    episode = Episode.open(keep(about, None, ticks).episode)
    assert (episode.captured_ns / 1e9).tolist() == pytest.approx([0.04, 0.08, 0.12])


def test_where_there_is_nothing_to_keep_it_says_so(tmp_path: Path) -> None:
    about = facts(tmp_path)
    with pytest.raises(EpisodeError, match="nothing to keep yet"):
        keep(about, None, [tick(about, 1, "blind")])
    assert list(tmp_path.iterdir()) == []


def test_what_is_kept_while_the_clock_is_set_back_takes_nothings_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.contract.episodes.columns.time.strftime", lambda *_: "20261025-020000")
    ticks = [tick(facts(tmp_path), number) for number in range(1, 6)]
    names = [keep(facts(tmp_path), 7, ticks).episode.name for _ in range(2)]
    assert names == ["game-7-20261025-020000-kept.parquet", "game-7-20261025-020000-kept-2.parquet"]
    assert len(list(tmp_path.glob("*.mp4"))) == 2
