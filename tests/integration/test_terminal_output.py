"""What is printed: text from elsewhere steers no terminal, and a terminal that lacks a character gets its number."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agent.cli import main
from agent.contract.controls import NEUTRAL
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.observation import Frame
from agent.contract.untrusted import printable

ESCAPES = "\x1b]0;owned\x07\x1b[2J[/red]"


def record(path: Path, game: str = "game", driver: str = "human") -> None:
    with EpisodeWriter(path, EpisodeHeader(game, driver, 20.0)) as writer:
        for index in range(20):
            writer.write(EpisodeRow(Frame(np.zeros((6, 8, 3), np.uint8), index * 50_000_000, index), NEUTRAL, NEUTRAL))


def evaluation(path: Path, model: str, returns: tuple[float, ...] = (900.0, 800.0), **changes: object) -> str:
    track = {"progress": 1.0, "outcome": "lap", "seconds": 10.0, "mean_speed": 1.0, "co_pressed_share": 0.0}
    tracks = [{"seed": seed, "episode_return": value, "problems": [], **track} for seed, value in enumerate(returns)]
    raw = {"model": model, "engine": "e", "game": "carracing", "decision_period_s": 0.04, "tracks": tracks, **changes}
    path.write_text(json.dumps(raw))
    return str(path)


def assert_harmless(text: str) -> None:
    assert "\x1b" not in text
    assert "\x07" not in text


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such file names")
def test_file_names_and_headers_steer_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / f"x{ESCAPES.replace('/', '')}.parquet", game=ESCAPES, driver=ESCAPES)
    (tmp_path / f"bad{ESCAPES.replace('/', '')}.parquet").write_bytes(b"PAR1")
    for command in ("info", "verify"):
        main(["episodes", command, str(tmp_path)])
        printed = capsys.readouterr()
        assert_harmless(printed.out + printed.err)
        assert "?]0;owned?" in printed.out


def test_a_models_name_is_neither_markup_nor_an_escape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = evaluation(tmp_path / "a.json", ESCAPES), evaluation(tmp_path / "b.json", "run[/2]", (910.0, 805.0))
    assert main(["compare", first, "--with", second]) == 0
    printed = capsys.readouterr()
    assert_harmless(printed.out + printed.err)
    assert "run[/2]" in printed.out


@pytest.mark.parametrize("value", [10**400, "much", None, True])
def test_a_report_with_a_strange_return_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: object
) -> None:
    first, second = evaluation(tmp_path / "a.json", "a", (value, 1.0)), evaluation(tmp_path / "b.json", "b")  # type: ignore[arg-type]
    assert main(["compare", first, "--with", second]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_drivers_that_return_nothing_can_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = evaluation(tmp_path / "a.json", "a", (0.0, 0.0)), evaluation(tmp_path / "b.json", "b", (1.0, 1.0))
    assert main(["compare", first, "--with", second]) == 0
    assert "+1.0, 95 % sure" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_lacks_a_character_gets_its_number(tmp_path: Path, encoding: str) -> None:
    record(tmp_path / "star.parquet", driver="star ★")
    done = subprocess.run(
        [sys.executable, "-m", "agent", "episodes", "info", str(tmp_path)],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert rb"\u2605" in done.stdout


def test_printable_keeps_lines_and_every_alphabet() -> None:
    assert printable("Ärger\n車 ★") == "Ärger\n車 ★"
    assert printable(f"a{ESCAPES}\tb\r\u200b\udc80") == "a?]0;owned??[2J[/red]?b???"
