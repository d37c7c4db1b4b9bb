"""What a session begins with: the model folder that is meant, or what to do without one."""

from pathlib import Path

import pytest

from agent.contract.errors import SpecError
from agent.sessions.opening import best_of_a_run, open_engine
from agent.settings.shared import EngineSettings


def test_a_trainings_folder_means_its_best_model(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "best").mkdir(parents=True)
    assert best_of_a_run(run) == run, "nothing in it yet: the error names what was given"
    (run / "best" / "spec.json").write_text("{}")
    assert best_of_a_run(run) == run / "best"
    (run / "spec.json").write_text("{}")
    assert best_of_a_run(run) == run, "a model's own folder"


def test_a_game_without_weights_is_told_where_they_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `pip install` of the package, in an empty folder; and for a game of one's own before its training."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("agent.sessions.opening.shipped_weights", lambda game: tmp_path / "model_weights" / game)
    with pytest.raises(SpecError, match=r"no weights for my-road here, .* none are published") as caught:
        open_engine(EngineSettings(), "my-road")
    assert "python -m training fit --game my-road" in str(caught.value)
