"""`python -m training balance`: what it prints, draws and refuses."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agent.contract.controls import Controls
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.observation import Frame
from agent.contract.spec import STEERING_THROTTLE_BRAKE, OutputSpec
from training.cli import main
from training.data.balance_report import report_balance
from training.data.balancing.registry import RULE_NAMES

DATA = Path("tests/data")


def record(path: Path, controls: list[tuple[float, float, float]]) -> Path:
    pixels = np.zeros((4, 6, 3), np.uint8)
    with EpisodeWriter(path, EpisodeHeader(game="carracing", driver="test", rate_hz=25.0)) as writer:
        for tick, (steering, throttle, brake) in enumerate(controls):
            label = Controls(steering, throttle, brake)
            writer.write(EpisodeRow(Frame(pixels, tick * 40_000_000, tick), label, label))
    return path


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["balance", "--json", *arguments]) == 0
    parsed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return parsed


def error_line(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["balance", *arguments]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_json_holds_what_each_rule_feeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    controls = [(0.0, 1.0, 0.0)] * 70 + [(-0.35, 0.0, 0.5)] * 20 + [(1.0, 0.25, 0.5)] * 10
    record(tmp_path / "drive.parquet", controls)
    found = report(capsys, str(tmp_path))
    assert (found["episodes"], found["samples"]) == (1, 100)
    assert list(found["rules"]) == list(RULE_NAMES)

    bins = found["bins"]["steering"]
    assert len(found["empty"]["steering"]) == 20
    assert not {"{0}", "(-0.4, -0.3]", "{1}"} & set(found["empty"]["steering"])

    def steering(rule: str) -> dict[str, float]:
        shares = found["rules"][rule]["outputs"]["steering"]["shares"]
        return {name: share for name, share in zip(bins, shares, strict=True) if share}

    assert steering("none") == pytest.approx({"{0}": 0.7, "(-0.4, -0.3]": 0.2, "{1}": 0.1})
    for rule in ("v1", "v2"):
        assert steering(rule) == pytest.approx({"{0}": 1 / 3, "(-0.4, -0.3]": 1 / 3, "{1}": 1 / 3})

    # Thirty-three draws of each bin: 33 of 70 once; 20 samples, 13 of them twice; 10 samples, three of them four times.
    kish = 99**2 / (33 + 7 + 13 * 4 + 7 * 9 + 3 * 16)
    outputs = found["rules"]["v2"]["outputs"]
    assert outputs["steering"]["effective_samples"] == pytest.approx(kish)
    assert outputs["steering"]["effective_bins"] == pytest.approx(3)
    assert outputs["brake"]["effective_bins"] == pytest.approx(2)
    assert found["rules"]["none"]["outputs"]["steering"]["effective_samples"] == pytest.approx(100)
    # Count times its inverse square root, as the three lie farther apart than the kernel reaches.
    weights = np.array([20, 70, 10]) ** 0.5
    assert list(steering("reweight").values()) == pytest.approx((weights / weights.sum()).tolist(), rel=1e-4)

    pedals = found["rules"]["none"]["pedals"]
    assert pedals == pytest.approx({"neither": 0, "throttle_only": 0.7, "brake_only": 0.2, "both": 0.1})
    assert found["rules"]["v2"]["pedals"] is None
    assert found["rules"]["v1"]["pedals"]["both"] == pytest.approx(1 / 3)
    assert found["rules"]["v3"]["pedals"]["both"] > 0.2


def test_the_tables_name_the_empty_bins_and_the_pedals(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["balance", str(DATA), "--rule", "v3"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == "40 samples of 1 episodes; share of each bin in %, data = none"
    headings = [line.split() for line in lines if line.startswith((" steering", " throttle", " brake", " pedals"))]
    names = ["steering", "throttle", "brake", "pedals"]
    assert [heading for heading in headings if heading[0] in names and len(heading) == 3] == [
        [name, "data", "v3"] for name in names
    ]
    (empty,) = (line for line in lines if line.startswith("brake:"))
    assert empty.startswith("brake: 9 of 12 bins are empty: [0.2, 0.3), [0.3, 0.4),")
    assert empty.endswith("{1}")
    for row in ("effective bins", "eff. samples", "neither", "throttle only", "brake only", "both"):
        assert any(line.startswith(f" {row}") for line in lines), row
    assert captured.err == ""


def test_all_rules_fit_eighty_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["balance", str(DATA)]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if "are empty" not in line]
    assert max(map(len, rows)) <= 80
    assert not any("…" in line for line in rows)


def test_none_alone_is_the_data_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(report(capsys, str(DATA), "--rule", "none")["rules"]) == ["none"]


@pytest.mark.thorough
def test_the_picture_has_a_row_for_the_data_and_for_each_rule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heights = []
    for rule in ("none", "v2"):
        path = tmp_path / "new" / f"{rule}.png"
        assert main(["balance", str(DATA), "--rule", rule, "--out", str(path)]) == 0
        assert f"wrote {path}" in capsys.readouterr().err
        picture = cv2.imread(str(path))
        assert picture is not None
        assert picture.shape[1] == 1560
        assert picture.std(axis=(0, 1)).min() > 10  # not blank
        heights.append(picture.shape[0])
    assert heights[1] == heights[0] + 190


def test_episodes_may_be_named_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drive = record(tmp_path / "drive.parquet", [(0.1, 1, 0), (0, 0, 1)])
    found = report(capsys, str(drive), str(DATA), "--rule", "none")
    assert (found["episodes"], found["samples"]) == (2, 42)


def test_a_folder_without_episodes_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "holds no episodes" in error_line(capsys, str(tmp_path))


def test_an_output_that_never_varies_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "drive.parquet", [(0.1, 1, 0), (0, 0.5, 0)] * 5)
    for rule in (*(name for name in RULE_NAMES if name != "none"), "all"):
        line = error_line(capsys, str(tmp_path), "--rule", rule)
        assert line.startswith("error: brake is 0 in all 10 samples, expected an output that varies")
        assert "add episodes in which brake is used" in line


def test_data_as_they_are_may_have_an_output_that_never_varies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "drive.parquet", [(0.1, 1, 0), (0, 0.5, 0)] * 5)
    brake = report(capsys, str(tmp_path), "--rule", "none")["rules"]["none"]["outputs"]["brake"]
    assert brake["shares"][0] == 1.0


def test_a_label_out_of_range_is_refused_with_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "a.parquet", [(0.1, 1, 0), (0, 0, 1)])
    bad = record(tmp_path / "b.parquet", [(0.1, 1, 0), (0, 0, 1), (0, 1.5, 0)])
    line = error_line(capsys, str(tmp_path))
    assert line.startswith(f"error: {bad}: throttle is 1.5 in row 2 (1 such rows), expected [0, 1]")


def test_nan_is_refused_with_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = record(tmp_path / "drive.parquet", [(0.1, 1, 0), (0, 0, 1)])
    table = pq.read_table(path)
    column = table.schema.get_field_index("brake")
    values = pa.array([0.0, float("nan")], pa.float32())
    changed = table.set_column(column, table.schema.field(column), values)
    pq.write_table(changed, path, compression="NONE", use_dictionary=False)
    line = error_line(capsys, str(tmp_path))
    assert str(path) in line
    assert "not finite numbers" in line


def test_a_disk_that_takes_no_picture_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in error_line(capsys, str(DATA), "--json", "--out", str(tmp_path / "file" / "a.png"))


def test_other_outputs_are_reported_without_new_code() -> None:
    outputs = (STEERING_THROTTLE_BRAKE[0], OutputSpec("throttle_brake", -1.0, 1.0))
    labels = np.random.default_rng(0).uniform(-1, 1, (200, 2)).astype(np.float32)
    found = report_balance(labels, outputs, RULE_NAMES, episodes=1)
    for fed in found.rules.values():
        assert list(fed.outputs) == ["steering", "throttle_brake"]
        assert fed.pedals is None
        assert all(sum(output.shares) == pytest.approx(1) for output in fed.outputs.values())


def test_neither_tensorflow_nor_keras_nor_the_simulator_is_imported() -> None:
    probe = (
        "import sys; from training.cli import main; main(['balance', 'tests/data', '--json']); "
        "sys.exit(', '.join({'tensorflow', 'keras', 'matplotlib', 'gymnasium', 'openvino'} & set(sys.modules)) or 0)"
    )
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert run.returncode == 0, f"pulled in too much: {run.stderr.strip()}"
