"""Paired comparison of two evaluations."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.cli import main
from agent.contract.errors import ReportError
from agent.contract.profile import ReturnMarks
from agent.sessions.comparison import compare_reports, load_report
from agent.sessions.evaluation import EvaluationReport, TrackResult


def report(
    returns: Sequence[float], start: int = 10, engine: str = "openvino", period_s: float = 0.04
) -> EvaluationReport:
    tracks = tuple(TrackResult(start + k, value, 1.0, "lap", 20.0, 50.0, 0.0) for k, value in enumerate(returns))
    return EvaluationReport("tiny", engine, "carracing", period_s, tracks)


def test_tracks_are_paired_by_seed_not_by_position() -> None:
    comparison = compare_reports([report([900, 800, 700])], [report([805, 701, 5], start=11)])
    assert comparison.tracks == 2
    assert (comparison.first_mean, comparison.second_mean) == (750, 753)
    assert comparison.difference == 3
    assert (comparison.worst_seed, comparison.worst_difference) == (12, 1)


def test_a_driver_may_come_in_several_files() -> None:
    halves = [report([900, 800]), report([700], start=12)]
    assert compare_reports(halves, [report([901, 801, 701])]).difference == 1


def test_the_interval_holds_the_true_difference_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(100):
        base = rng.normal(900, 100, 60)  # tracks differ far more than drivers do: pairing takes that out
        comparison = compare_reports([report(base)], [report(base + rng.normal(5, 10, 60))])
        held += comparison.low <= 5 <= comparison.high
    assert 88 <= held <= 100


def test_the_interval_is_as_wide_as_the_mean_of_so_many_tracks_varies() -> None:
    """One that is too wide also holds the true difference, only more often than it says."""
    for tracks in (20, 80):
        differences = np.random.default_rng(2).normal(5, 10, tracks)
        comparison = compare_reports([report(np.full(tracks, 900.0))], [report(900 + differences)])
        normal = 2 * 1.96 * differences.std() / np.sqrt(tracks)
        assert comparison.high - comparison.low == pytest.approx(normal, rel=0.1)


def test_sameness_is_judged_by_the_whole_interval() -> None:
    base = np.full(40, 900.0)
    noise = np.tile([-60.0, 60.0], 20)
    assert compare_reports([report(base)], [report(base + 1)]).same_within(0.01)
    assert not compare_reports([report(base)], [report(base + noise)]).same_within(0.01)
    assert not compare_reports([report(base)], [report(base + 10)]).same_within(0.01)
    assert not compare_reports([report(base)], [report(base - 10)]).same_within(0.01)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([report([1, 2])], [report([1, 2], start=50)], "0 tracks were driven by both"),
        ([report([1, 2])], [report([1, 2], period_s=0.1)], "differ in game or rate"),
        ([report([1, 2]), report([1, 2], start=20, engine="other")], [report([1, 2])], "are of 2 drivers"),
        ([report([1, 2]), report([1, 2])], [report([1, 2])], "track 10 comes twice"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    first: list[EvaluationReport], second: list[EvaluationReport], message: str
) -> None:
    with pytest.raises(ReportError, match=message):
        compare_reports(first, second)


def test_a_report_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(report([900, 800]).to_json())
    assert load_report(path) == report([900, 800])
    with_marks = replace(report([900, 800]), marks=ReturnMarks(900.0, 600.0))
    path.write_text(with_marks.to_json())
    assert load_report(path) == with_marks


def test_reports_of_versions_without_marks_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    old = json.loads(report([900, 800]).to_json())
    del old["marks"]
    old["summary"] |= {"share_above_900": 0.0, "count_below_600": 0}
    path.write_text(json.dumps(old))
    assert compare_reports([load_report(path)], [report([901, 801])]).difference == 1
    old["marks"] = {"good": 1, "poor": 2}
    path.write_text(json.dumps(old))
    with pytest.raises(ReportError, match="cannot be read as an evaluation"):
        load_report(path)


def test_the_command_prints_the_paired_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    first.write_text(report([900, 800]).to_json())
    second.write_text(report([903, 801]).to_json())
    assert main(["compare", str(first), "--with", str(second), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["difference"] == 2
    assert main(["compare", str(first), "--with", str(second)]) == 0
    assert "+2.0" in capsys.readouterr().out
    assert main(["compare", str(first), "--with", str(tmp_path / "missing.json")]) == 1
    assert "missing.json cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"tracks": [{}]}', '{"tracks": 3}', '{"tracks": [{"problems": []}]}']
)
def test_another_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ReportError, match=r"other\.json cannot be read as an evaluation"):
        load_report(path)
