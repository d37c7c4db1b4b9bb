"""Closed-loop evaluation: the real game in lockstep, and the figures over tracks."""

import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from agent.contract.controls import Controls
from agent.contract.errors import ControlsError
from agent.contract.observation import Observation
from agent.contract.profile import ReturnMarks
from agent.contract.spec import ModelSpec
from agent.engines.base import Prediction
from agent.games.base import Outcome
from agent.games.carracing import CarRacing
from agent.observers.base import TickObserver, TickRecord
from agent.policies.expert import ExpertPolicy
from agent.policies.network import NetworkPolicy
from agent.sessions.evaluation import EvaluationReport, TrackResult, evaluate_policy


class PictureEngine:
    """Steers by the picture's brightness, so that a change in what it is shown changes the drive."""

    name = "picture"
    spec = ModelSpec("fake", "none", "carracing", width_px=60, height_px=40)

    def infer(self, observation: Observation) -> Prediction:
        left, right = observation[:, :30].mean(), observation[:, 30:].mean()
        return np.array((float(left - right) / 50, 0.2, 0.1), np.float32)

    def close(self) -> None:
        pass


class ShortGame(CarRacing):
    """The real game, 20 ticks long, that says whether it was closed."""

    open_games = 0

    def __init__(self) -> None:
        super().__init__(episode_ticks=20)
        type(self).open_games += 1

    def close(self) -> None:
        super().close()
        type(self).open_games -= 1


def test_two_evaluations_are_equal_to_the_bit_and_the_tracks_differ() -> None:
    seen: list[TrackResult] = []
    first = evaluate_policy(ShortGame, NetworkPolicy(PictureEngine()), [5_000, 5_001], progress=seen.append)
    second = evaluate_policy(ShortGame, NetworkPolicy(PictureEngine()), [5_000, 5_001])
    assert first == second
    assert first.to_json() == second.to_json()
    assert tuple(seen) == first.tracks
    assert [track.seed for track in first.tracks] == [5_000, 5_001]
    assert first.tracks[0].episode_return != first.tracks[1].episode_return
    assert ShortGame.open_games == 0


def test_a_track_does_not_depend_on_those_before_it() -> None:
    both = evaluate_policy(ShortGame, NetworkPolicy(PictureEngine()), [5_000, 5_001])
    alone = evaluate_policy(ShortGame, NetworkPolicy(PictureEngine()), [5_001])
    assert both.tracks[1] == alone.tracks[0]


def test_a_decision_is_held_for_two_physics_ticks() -> None:
    class Counter:
        records: list[TickRecord]

        def __enter__(self) -> "Counter":
            self.records = []
            return self

        def __exit__(self, *reason: object) -> None:
            pass

        def on_tick(self, record: TickRecord) -> None:
            self.records.append(record)

    counters: dict[int, Counter] = {}

    def observers_for(seed: int) -> list[TickObserver]:
        counters[seed] = Counter()
        return [counters[seed]]

    report = evaluate_policy(ShortGame, NetworkPolicy(PictureEngine()), [5_000], observers_for=observers_for)
    records = counters[5_000].records
    assert [record.frame.index for record in records] == list(range(0, 20, 2))
    assert [record.frame.captured_ns for record in records] == list(range(0, 400_000_000, 40_000_000))
    (track,) = report.tracks
    assert (report.decision_period_s, track.outcome, track.seconds, track.co_pressed_share) == (
        0.04,
        "timeout",
        0.4,
        1.0,
    )
    assert track.mean_speed > 0


def test_the_game_is_closed_when_the_network_fails() -> None:
    class Broken(PictureEngine):
        def infer(self, observation: Observation) -> Prediction:
            return np.array((math.nan, 0, 0), np.float32)

    with pytest.raises(ControlsError, match="steering is nan"):
        evaluate_policy(ShortGame, NetworkPolicy(Broken()), [5_000])
    assert ShortGame.open_games == 0


def test_an_evaluation_needs_a_track() -> None:
    with pytest.raises(ValueError, match="at least one seed"):
        evaluate_policy(ShortGame, NetworkPolicy(PictureEngine()), [])


def report_of(returns: list[float], outcomes: list[Outcome]) -> EvaluationReport:
    tracks = tuple(
        TrackResult(seed, value, 1.0, outcome, 20.0, 50.0, 0.0)
        for seed, (value, outcome) in enumerate(zip(returns, outcomes, strict=True))
    )
    return EvaluationReport("fake", "picture", "carracing", 0.04, tracks, ReturnMarks(900.0, 600.0))


def test_the_figures_over_all_tracks() -> None:
    report = report_of([900.0, 901.0, 600.0, 599.0], ["lap", "lap", "left", "timeout"])
    assert report.summary() == {
        "mean": 750.0,
        "sd": pytest.approx(math.sqrt((150**2 + 151**2 + 150**2 + 151**2) / 3)),
        "minimum": 599.0,
        "percentile_10": pytest.approx(599.3),
        "share_above_900": 0.25,
        "count_below_600": 1,
        "share_unfinished": 0.5,
    }


def test_a_game_without_marks_shows_none() -> None:
    report = replace(report_of([900.0, 10.0], ["lap", "left"]), marks=None)
    assert list(report.summary()) == ["mean", "sd", "minimum", "percentile_10", "share_unfinished"]
    console = Console(file=io.StringIO(), width=200)
    console.print(report.table())
    text = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "10th percentile 99.0, left or not finished: 50%" in text
    assert "above" not in text


def test_carracing_is_measured_by_the_marks_of_its_profile() -> None:
    report = evaluate_policy(ShortGame, NetworkPolicy(PictureEngine()), [5_000])
    assert report.marks == ReturnMarks(900.0, 600.0)
    assert report.summary()["count_below_600"] == 1


def test_a_single_track_has_no_spread_and_stays_valid_json() -> None:
    report = report_of([900.0], ["lap"])
    raw = json.loads(report.to_json())
    assert raw["summary"]["sd"] is None
    assert raw["tracks"][0]["episode_return"] == 900.0


def test_the_table_names_every_track_and_the_figures() -> None:
    console = Console(file=io.StringIO(), width=200)
    console.print(report_of([912.5, 480.0], ["lap", "left"]).table())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for expected in ("912.5", "480.0", "left", "mean 696.2 ± 305.8", "minimum 480.0", "below 600: 1", "finished: 50%"):
        assert expected in text
    assert "2 tracks at 25 Hz" in text


def test_named_tracks_are_told_with_their_steps_and_the_game_s_own_figures() -> None:
    tracks = (
        TrackResult(
            0, 800.0, 1.0, "lap", 37.0, 22.0, 0.0, track="lighthouse", figures={"rescues": 2.0, "a_share": 0.1}
        ),
        TrackResult(
            1, -50.0, 0.3, "timeout", 70.0, 9.0, 0.0, track="hacienda", figures={"rescues": 0.0, "a_share": 0.0}
        ),
    )
    report = EvaluationReport("fake", "picture", "supertuxkart", 0.1, tracks)
    console = Console(file=io.StringIO(), width=200)
    console.print(report.table())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    lighthouse, hacienda = (line.split() for line in text.splitlines() if "lap" in line or "timeout" in line)
    assert lighthouse == ["0", "lighthouse", "800.0", "100.0%", "lap", "370", "0.0%", "2", "10.0%"]
    assert hacienda == ["1", "hacienda", "-50.0", "30.0%", "timeout", "700", "0.0%", "0", "0.0%"]
    assert "2 tracks at 10 Hz: 1 of 2 finished" in text
    assert "900" not in text
    assert json.loads(report.to_json())["tracks"][0]["figures"] == {"rescues": 2.0, "a_share": 0.1}


def test_a_row_of_the_longest_track_s_name_fits_into_eighty_characters() -> None:
    figures = {"rescues": 10.0, "off_track_share": 1.0}
    track = TrackResult(1048, -1000.0, 1.0, "timeout", 1000.0, 22.0, 1.0, track="gran_paradiso_island", figures=figures)
    console = Console(file=io.StringIO(), width=80)
    console.print(EvaluationReport("fake", "picture", "supertuxkart", 0.1, (track,)).table())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\u2026" not in text  # nothing is cut short
    row = next(line.split() for line in text.splitlines() if "timeout" in line)
    assert row == [*("1048", "gran_paradiso_island", "-1000.0", "100.0%", "timeout", "10000", "100.0%", "10", "100.0%")]


def test_an_expert_studies_every_track_before_it_drives() -> None:
    class Studious:
        planned: list[float]

        def __init__(self) -> None:
            self.planned = []

        def plan(self) -> None:
            self.planned.append(game.state.time_s)

        def decide(self) -> Controls:
            return Controls(0.0, 0.2, 0.0)

    game = ShortGame()
    expert = Studious()
    report = evaluate_policy(lambda: game, ExpertPolicy(expert, game), [5_000, 5_001])
    assert expert.planned == [0.0, 0.0]
    assert (report.model, len(report.tracks)) == ("expert", 2)
