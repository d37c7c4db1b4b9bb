"""SuperTuxKart through its binding: it waits, repeats itself to the bit, and its own driver labels what others do."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.episodes.reading import Episode
from agent.contract.errors import GameError, TrainingError
from agent.games.supertuxkart.data import DEBIAN_DATA
from agent.games.supertuxkart.races import KARTS
from agent.policies.expert import ExpertPolicy
from agent.sessions.evaluation import evaluate_policy

pytest.importorskip("pystk2", reason="needs `pip install '.[supertuxkart]'`", exc_type=ImportError)
if not DEBIAN_DATA.is_dir() and shutil.which("supertuxkart") is None:
    pytest.skip("needs `apt install supertuxkart` (700 MB)", allow_module_level=True)

from agent.games.supertuxkart.simulator import TICK_S, SuperTuxKart
from training.collecting.collect import CollectConfig, collect, record_episode
from training.collecting.experts.supertuxkart import SuperTuxKartExpert, SuperTuxKartRoadFollower

pytestmark = [pytest.mark.game, pytest.mark.slow]

TENTH = 3  # ticks of a tenth of a second
LEFT, RIGHT = Controls(-1.0, 1.0), Controls(1.0, 1.0)


@pytest.fixture
def game() -> Iterator[SuperTuxKart]:
    simulator = SuperTuxKart(["lighthouse", "hacienda"], KARTS, both_directions=True)
    yield simulator
    simulator.close()


def drive(game: SuperTuxKart, seed: int, decisions: int, ticks: int = TENTH) -> list[tuple[float, ...]]:
    """Let the built-in driver drive; return what it did and where that led."""
    game.reset(seed)
    expert = SuperTuxKartExpert(game)
    expert.plan()
    rows = []
    for _ in range(decisions):
        controls = expert.decide()
        game.advance(controls, ticks)
        rows.append((*controls.to_array().tolist(), *game.kart.location, game.state.progress))
    return rows


def test_the_built_in_driver_finishes_within_the_grader_s_limit() -> None:
    simulator = SuperTuxKart(["lighthouse"])
    report = evaluate_policy(lambda: simulator, ExpertPolicy(SuperTuxKartExpert(simulator), simulator), [0, 1], TENTH)
    assert [(track.track, track.outcome, track.progress) for track in report.tracks] == [("lighthouse", "lap", 1.0)] * 2
    assert all(30 < track.seconds < 45 and track.figures["rescues"] == 0 for track in report.tracks)  # 37 s measured
    assert all(track.figures["off_track_share"] < 0.05 for track in report.tracks)


def test_a_race_is_the_same_every_time_whatever_was_driven_before(game: SuperTuxKart) -> None:
    first = drive(game, 7, 100)
    assert drive(game, 2, 20) != drive(game, 7, 20)
    assert drive(game, 7, 100) == first


def test_thirty_decisions_a_second_lead_where_ten_do(game: SuperTuxKart) -> None:
    tenths, thirtieths = drive(game, 0, 100), drive(game, 0, 300, ticks=1)
    assert tenths[-1][-1] == pytest.approx(thirtieths[-1][-1], abs=0.02)
    assert game.state.time_s == pytest.approx(300 * TICK_S)


def test_pictures_are_new_ones_of_the_present(game: SuperTuxKart) -> None:
    game.reset(0)
    before = game.render()
    assert before.shape == (270, 480, 3)
    assert before.dtype == np.uint8
    assert np.array_equal(before, game.render())
    kept = before.copy()
    game.advance(Controls(0.0, 1.0), 10 * TENTH)
    assert np.array_equal(before, kept)
    assert np.abs(game.render().astype(int) - before).mean() > 5
    sky, ground = kept[:60].mean(axis=(0, 1)), kept[180:, 150:330].mean(axis=(0, 1))
    assert sky[0] > sky[2]  # blue leads: BGR
    assert ground[2] > ground[0]


def test_the_built_in_driver_labels_what_others_do(game: SuperTuxKart) -> None:
    game.reset(0)
    expert = SuperTuxKartExpert(game)
    expert.plan()
    labels = {}
    for name, controls in (("left", LEFT), ("right", RIGHT)):
        game.reset(0)
        expert.plan()
        for _ in range(22):
            expert.decide()
            game.advance(Controls(0.0, 1.0), TENTH)
        for _ in range(3):
            expert.decide()
            game.advance(controls, TENTH)
        labels[name] = expert.decide().steering
        assert game.kart.speed > 10
    assert labels["left"] > 0.3  # back to the right
    assert labels["right"] < -0.3


def test_a_kart_at_a_stand_is_put_back_on_the_road_and_that_is_counted(game: SuperTuxKart) -> None:
    game.reset(0)
    game.advance(Controls(0.0, 1.0), 50 * TENTH)  # straight on, into the field
    carried = 0
    for _ in range(100):
        game.advance(NEUTRAL, TENTH)
        carried += not game.state.in_control
    assert game.state.figures["rescues"] >= 1
    assert carried >= 5
    assert game.state.figures["off_track_share"] > 0.2


def test_a_lap_not_finished_in_time_is_over(game: SuperTuxKart) -> None:
    simulator = SuperTuxKart(["lighthouse"], limit_s=1.0)
    simulator.reset(0)
    simulator.advance(NEUTRAL, 31)
    assert simulator.state.outcome == "timeout"
    assert simulator.state.time_s == pytest.approx(1.0)
    simulator.close()


def test_two_races_in_one_process_and_unknown_names_are_refused(game: SuperTuxKart) -> None:
    game.reset(0)
    other = SuperTuxKart(["hacienda"])
    with pytest.raises(GameError, match="another race runs in this process"):
        other.reset(0)
    with pytest.raises(GameError, match=r"track 'monza' is unknown, expected one of: .*lighthouse"):
        SuperTuxKart(["monza"])
    with pytest.raises(GameError, match="kart 'herbie' is unknown"):
        SuperTuxKart(["lighthouse"], ["herbie"])


def test_an_episode_keeps_label_and_execution_apart_and_names_its_track(tmp_path: Path) -> None:
    config = CollectConfig(tmp_path, 8, 1, noise=3.0, decisions=60, game="supertuxkart", tracks=("lighthouse",))
    record_episode(config, 8)
    episode = Episode.open(tmp_path / "supertuxkart-0000008.parquet")
    assert (episode.header.track, episode.header.rate_hz, len(episode)) == ("lighthouse", 10.0, 60)
    assert 0 < np.any(episode.controls != episode.executed, axis=1).sum() < 60
    assert {"lateral_offset", "bearing_20", "yaw_rate"} <= episode.telemetry.keys()
    assert np.diff(episode.captured_ns).tolist() == [100_000_000] * 59
    assert episode.frame(0).pixels.shape == (270, 480, 3)


def test_the_road_follower_finishes_as_fast_as_the_built_in_driver_and_labels_the_way_back(game: SuperTuxKart) -> None:
    simulator = SuperTuxKart(["lighthouse"])
    report = evaluate_policy(
        lambda: simulator, ExpertPolicy(SuperTuxKartRoadFollower(simulator), simulator), [0, 1], TENTH
    )
    assert [track.outcome for track in report.tracks] == ["lap", "lap"]
    assert all(30 < track.seconds < 45 and track.figures["rescues"] == 0 for track in report.tracks)  # 37 s measured
    follower = SuperTuxKartRoadFollower(game)
    for controls, sign in ((LEFT, 1.0), (RIGHT, -1.0)):
        game.reset(0)
        follower.plan()
        game.advance(Controls(0.0, 1.0), 22 * TENTH)
        assert abs(follower.decide().steering) < 0.3
        game.advance(controls, 4 * TENTH)
        assert sign * follower.decide().steering > 0.5


def test_a_disguise_changes_the_pictures_and_nothing_else(tmp_path: Path) -> None:
    """Seeds 2 and 3 lie in two disguises, so in two processes."""
    episodes = []
    for disguise in (False, True):
        config = CollectConfig(
            tmp_path / str(disguise),
            seed_start=2,
            episodes=2,
            workers=1,
            decisions=20,
            game="supertuxkart",
            tracks=("lighthouse",),
            disguise=disguise,
        )
        episodes.append([Episode.open(path) for path in collect(config)])
        assert sorted(file.name for file in config.folder.iterdir()) == ["collect.json"] + [
            f"supertuxkart-000000{seed}.parquet" for seed in (2, 3)
        ]
    seen = []
    for plain, disguised in zip(*episodes, strict=True):
        assert np.array_equal(plain.controls, disguised.controls)
        assert np.array_equal(plain.telemetry["bearing_20"], disguised.telemetry["bearing_20"])
        assert np.abs(plain.frame(10).pixels.astype(int) - disguised.frame(10).pixels).mean() > 15
        seen.append(disguised.frame(10).pixels[180:, 150:330].mean(axis=(0, 1)))  # the road before the kart
    assert np.abs(seen[0] - seen[1]).max() > 15


def test_a_folder_from_before_there_was_a_choice_of_experts_goes_on_with_the_built_in_one(tmp_path: Path) -> None:
    old = CollectConfig(tmp_path, 0, 1, game="supertuxkart", expert="built-in")
    settings = old.settings()
    assert settings.pop("expert") == "built-in"
    (tmp_path / "collect.json").write_text(json.dumps(settings))
    (tmp_path / "supertuxkart-0000000.parquet").touch()
    assert collect(old) == [tmp_path / "supertuxkart-0000000.parquet"]
    with pytest.raises(TrainingError, match="recorded with expert built-in, not road"):
        collect(replace(old, expert=""))
    with pytest.raises(TrainingError, match="disguise None, not True"):
        collect(replace(old, disguise=True))
