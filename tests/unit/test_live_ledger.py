"""What a live training writes down: `training report` reads it, another network does not go on with it."""

from pathlib import Path

import numpy as np
import pytest

from agent.contract.controls import NEUTRAL
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.reading import Episode
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.errors import TrainingError
from agent.contract.observation import Frame
from agent.contract.spec import ModelSpec, outputs_named
from training.fitting.report import load_runs
from training.live.config import LiveSettings
from training.live.evaluator import Judged
from training.live.ledger import Ledger
from training.live.trainer import RoundEnd

SPEC = ModelSpec("pond", "pilotnet", "pond", width_px=32, height_px=16, outputs=outputs_named(("steering", "throttle")))


def ledger(folder: Path, said: list[str] | None = None, spec: ModelSpec = SPEC, **changes: int) -> Ledger:
    settings = LiveSettings(game="pond", out=folder, **{"width_px": 32, "height_px": 16, **changes})
    return Ledger(settings, spec, (said if said is not None else []).append)


def round_end(number: int, loss: float = 0.5) -> RoundEnd:
    row = {"step": 100.0 * number, "samples": 3300.0, "training_seconds": 10.0, "samples_per_second": 330.0}
    metrics = {f"{name}_{kind}": 0.1 for name in SPEC.output_names for kind in ("mae", "rmse", "correlation")}
    return RoundEnd(number, row | {"loss": loss, "validation_loss": loss} | metrics, None)


def judged(number: int, *returns: float) -> Judged:
    return Judged(number, 100 * number, 5000, returns, 9.0, True)


def test_the_report_of_runs_shows_a_live_training(tmp_path: Path) -> None:
    with ledger(tmp_path) as written:
        for number in (1, 2, 3):
            written.end_round(round_end(number))
        written.judge(judged(2, 700.0, 800.0))
        written.judge(judged(3, 650.0))
        assert written.rounds == 3
    (run,) = load_runs([tmp_path])
    assert run.outputs == ("steering", "throttle")
    assert run.best == 1
    assert run.figures(1)["return"] == 750.0
    assert run.figures(0)["return"] is None
    assert run.figures(2)["samples"] == 9900.0


def test_a_round_that_is_done_again_after_a_kill_is_written_once(tmp_path: Path) -> None:
    with ledger(tmp_path) as written:
        for number in (1, 2, 3, 2):
            written.end_round(round_end(number, 0.1 * number))
    with ledger(tmp_path) as again:
        assert again.rounds == 2
        again.end_round(round_end(3))
    (run,) = load_runs([tmp_path])
    assert run.columns["step"].tolist() == [100.0, 200.0, 300.0]


def test_another_network_does_not_go_on_in_the_folder(tmp_path: Path) -> None:
    with ledger(tmp_path):
        pass
    with ledger(tmp_path, start=20):  # the same network
        pass
    with pytest.raises(TrainingError, match="width_px 32, not 64"), ledger(tmp_path, width_px=64):
        pass


def test_a_run_of_fit_is_not_taken_for_a_live_one(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"game": "pond"}')
    with pytest.raises(TrainingError, match="holds another run"), ledger(tmp_path):
        pass


def test_two_trainings_do_not_share_a_folder(tmp_path: Path) -> None:
    with ledger(tmp_path), pytest.raises(TrainingError, match="is being trained in"), ledger(tmp_path):
        pass


def test_what_a_killed_collector_left_is_sealed_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "episodes" / "pond-0.parquet"
    with EpisodeWriter(path, EpisodeHeader("pond", "expert", 20.0)) as writer:
        for number in range(25):
            frame = Frame(np.full((4, 6, 3), number, np.uint8), number * 50_000_000, number)
            writer.write(EpisodeRow(frame, NEUTRAL, NEUTRAL))
        left = path.with_suffix(".recording").read_bytes()
    path.unlink()
    path.with_suffix(".recording").write_bytes(left)
    said: list[str] = []
    with ledger(tmp_path, said):
        pass
    assert len(Episode.open(path)) == 20
    assert any("sealed as pond-0.parquet" in line for line in said)
