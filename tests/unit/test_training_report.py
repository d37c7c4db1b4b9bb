"""Runs laid over each other: what is read from their folders, what is shown of it, and what is refused."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agent.contract.errors import TrainingError
from training.cli import main
from training.fitting.config import FitConfig
from training.fitting.report import differing_settings, load_runs, notes, to_dict
from training.fitting.report_output import print_report, write_report

OLD_COLUMNS = ("step", "loss", "steering_loss", "validation_loss", "steering_mae", "steering_correlation", "return")


def write_run(folder: Path, rows: list[dict[str, float]], **settings: Any) -> Path:
    """A run's folder as ``fit`` leaves it."""
    folder.mkdir(parents=True)
    values = json.loads(FitConfig((Path("data"),), folder).to_json()) | settings
    (folder / "config.json").write_text(json.dumps(values))
    with (folder / "log.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def row(step: int, loss: float, **changes: float) -> dict[str, float]:
    new = {"training_seconds": 10.0, "samples": 64.0, "samples_per_second": 6.4, "co_pressed": 0.25, "score": -loss}
    values = [step, 2 * loss, loss, loss, loss / 10, 1 - loss / 10, math.nan]
    return dict(zip(OLD_COLUMNS, map(float, values), strict=True)) | new | changes


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Three rounds, the second one the best."""
    return write_run(tmp_path / "first", [row(100, 3.0), row(200, 1.0), row(300, 2.0)])


def text_of(*folders: Path) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    print_report(load_runs(folders), console)
    return console.export_text()


def test_last_and_best_round_with_sums_since_the_start(run: Path) -> None:
    (found,) = to_dict(load_runs([run]))["runs"]
    assert (found["last"]["step"], found["last"]["samples"], found["last"]["seconds"]) == (300, 192, 30)
    assert (found["best"]["round"], found["best"]["samples"], found["best"]["seconds"]) == (2, 128, 20)
    assert found["best"]["validation_loss"] == 1.0
    assert found["best"]["return"] is None  # never driven: JSON knows no NaN
    json.dumps(found, allow_nan=False)


def test_the_best_driver_is_the_best_round(tmp_path: Path) -> None:
    rows = [row(100, 3.0, **{"return": 800.0, "score": 800.0}), row(200, 1.0, **{"return": 500.0, "score": 500.0})]
    (found,) = load_runs([write_run(tmp_path / "driven", rows)])
    assert found.best == 0


def test_tables_fit_a_terminal_and_show_what_differs(run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "second", [row(100, 0.5)], balance="reweight")
    text = text_of(run, other)
    assert "…" not in text
    for expected in ("first", "second", "best", "both", "25.0%", "reweight", "none", "valid."):
        assert expected in text
    assert "note: training losses" in text


def test_runs_of_earlier_versions_lack_columns(tmp_path: Path) -> None:
    old = write_run(tmp_path / "old", [{name: row(100, 1.0)[name] for name in OLD_COLUMNS}])
    settings = json.loads((old / "config.json").read_text())
    del settings["balance"]
    (old / "config.json").write_text(json.dumps(settings))
    assert "pedals" not in text_of(old)
    (found,) = load_runs([old])
    assert found.settings["balance"] == "none"
    assert list(found.positions("step")) == [100]
    with pytest.raises(TrainingError, match="does not say how many seconds its rounds took"):
        found.positions("seconds")


def test_only_settings_that_differ_are_shown(run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "second", [row(100, 0.5)], batch_size=3, data=["elsewhere"])
    runs = load_runs([run, other])
    assert differing_settings(runs) == {"batch_size": [16, 3], "data": [["data"], ["elsewhere"]]}
    assert notes(runs) == ["validation is over different episodes: returns compare, losses and MAE do not"]


def test_a_name_is_no_markup(tmp_path: Path) -> None:
    assert "run[v2]" in text_of(write_run(tmp_path / "run[v2]", [row(1, 1.0)]))


def test_notes_do_not_contradict_each_other(run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "second", [row(100, 0.5)], balance="v3", data=["elsewhere"])
    first, second = notes(load_runs([run, other]))
    assert first.endswith("do not compare")
    assert second.startswith("validation is over different episodes")


def test_runs_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / parent / "run", [row(1, 1.0)]) for parent in ("a", "b")]
    assert [found.name for found in load_runs([*folders, folders[0]])] == [str(Path("a/run")), str(Path("b/run"))]


@pytest.mark.parametrize("by", ["step", "samples", "seconds"])
def test_the_curves_are_a_picture(run: Path, tmp_path: Path, by: str) -> None:
    write_report(load_runs([run]), tmp_path / "new" / "report.png", by)
    assert (tmp_path / "new" / "report.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.png"]


def test_a_page_needs_no_other_file_and_escapes_names(run: Path, tmp_path: Path) -> None:
    odd = write_run(tmp_path / "a<b>$x$", [row(100, 0.5)])
    write_report(load_runs([run, odd]), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert "a&lt;b&gt;$x$" in page
    assert "a<b>" not in page
    assert "http" not in page


def damage(run: Path, name: str, text: str | None) -> None:
    if text is None:
        (run / name).unlink()
    else:
        (run / name).write_text(text)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.json", None, "is no run: it has no config.json"),
        ("config.json", "{", r"config\.json is damaged"),
        ("config.json", "[]", "it holds a list instead of settings"),
        ("log.csv", None, "has finished no round yet"),
        ("log.csv", "step,loss\n", "it holds no round"),
        ("log.csv", "step,loss\n1\n", "line 2 has 1 fields instead of 2"),
        ("log.csv", "step,loss\n1,x\n", "line 2: could not convert"),
        ("log.csv", "step,loss\n1,2\n", "it has no column validation_loss"),
        ("log.csv", "step,loss,validation_loss\n1,2,3\n", "it has no column <output>_mae"),
        ("log.csv", "step,loss,validation_loss,a_mae\n2,2,3,1\n1,2,3,1\n", "its steps do not rise"),
    ],
)
def test_a_damaged_run_is_told_in_one_line(run: Path, name: str, text: str | None, message: str) -> None:
    damage(run, name, text)
    with pytest.raises(TrainingError, match=message) as caught:
        load_runs([run])
    assert "\n" not in str(caught.value)


def test_runs_of_other_outputs_are_refused(run: Path, tmp_path: Path) -> None:
    values = {name: value for name, value in row(1, 1.0).items() if not name.startswith("steering_")}
    other = write_run(tmp_path / "other", [values | {"wing_mae": 1.0}])
    with pytest.raises(TrainingError, match=r"predicts wing, but .* predicts steering"):
        load_runs([run, other])


def test_the_command_prints_json_and_writes_a_picture(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outputs"] == ["steering"]
    assert main(["report", str(run), "--out", str(tmp_path / "curves.png")]) == 0
    assert f"wrote {tmp_path / 'curves.png'}" in capsys.readouterr().err


def test_the_command_refuses_another_kind_of_file(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["report", str(run), "--out", "report.pdf"])
    assert "'report.pdf' should end in .png or .html" in capsys.readouterr().err
