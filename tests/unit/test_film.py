"""Several drives in one film."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.cli import main
from agent.contract.controls import Controls
from agent.contract.errors import AgentError
from agent.contract.observation import Pixels
from agent.contract.spec import ModelSpec
from agent.engines.constant import ConstantEngine
from agent.games.carracing import CarRacing
from agent.policies.network import NetworkPolicy
from agent.sessions.film import drive_for_film, side_by_side


def film(value: int, length: int) -> list[Pixels]:
    return [np.full((4, 6, 3), value + tick, np.uint8) for tick in range(length)]


def test_three_films_make_a_square_with_a_gap() -> None:
    pictures = list(side_by_side([film(10, 3), film(100, 3), film(200, 3)]))
    assert [picture.shape for picture in pictures] == [(8, 12, 3)] * 3
    assert [pictures[2][row, column, 0] for row, column in [(0, 0), (0, 11), (7, 0), (7, 11)]] == [12, 102, 202, 0]


def test_a_film_that_has_ended_stays_darker_on_its_last_picture() -> None:
    pictures = list(side_by_side([film(10, 3), film(100, 1)]))
    assert [picture[0, 6, 0] for picture in pictures] == [100, 50, 50]
    assert [picture[0, 0, 0] for picture in pictures] == [10, 11, 12]


def test_fewer_pictures() -> None:
    assert [picture[0, 0, 0] for picture in side_by_side([film(10, 5)], every=2)] == [10, 12, 14]


def test_a_drive_is_filmed_from_its_first_decision_to_its_last() -> None:
    spec = ModelSpec(name="constant", backbone="none", game="carracing")
    game = CarRacing()
    pictures = drive_for_film(
        game, NetworkPolicy(ConstantEngine(spec, Controls(1.0, 1.0, 0.0))), 7, 2, "round", limit_s=2.0
    )
    game.close()
    assert len(pictures) == 50
    top = pictures[-1][:20]
    assert top.max() > 128  # the caption
    assert {picture.shape for picture in pictures} == {pictures[0].shape}


@pytest.mark.thorough
def test_the_command_films_models_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shipped = Path(__file__).parents[2] / "model_weights" / "carracing"
    path = tmp_path / "two.mp4"
    command = ["film", str(shipped), str(shipped), "--seed", "31000", "--seconds", "0.4", "--out", str(path)]
    assert main([*command, "--engine", "openvino"]) == 0
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 10
    assert video.get(cv2.CAP_PROP_FRAME_WIDTH) == 2 * 250
    assert "carracing" in capsys.readouterr().out
    assert [each.name for each in tmp_path.iterdir()] == ["two.mp4"]


def test_the_command_refuses_another_kind_of_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["film", "a", "--out", "a.txt"])
    assert ".mp4 or .webp or .gif" in capsys.readouterr().err


def test_a_film_of_no_decision_is_refused() -> None:
    game, spec = CarRacing(), ModelSpec(name="constant", backbone="none", game="carracing")
    with closing(game), pytest.raises(AgentError, match="no decision in the time given"):
        drive_for_film(game, NetworkPolicy(ConstantEngine(spec, Controls(0.0, 0.0, 0.0))), 7, 2, "round", limit_s=0.005)


def test_more_pictures_than_an_animated_one_holds_are_refused_before_the_drive(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shipped = Path(__file__).parents[2] / "model_weights" / "carracing"
    assert main(["film", str(shipped), "--seconds", "26", "--out", str(tmp_path / "a.webp")]) == 1
    assert "up to 650 pictures, an animated one holds 625" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_models_of_other_rates_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "model_weights" / "carracing"
    spec = ModelSpec.load(shipped)
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "spec.json").write_text(replace(spec, rate_hz=10.0).to_json())
    assert main(["film", str(shipped), str(tmp_path / "slow"), "--out", str(tmp_path / "a.webp")]) == 1
    assert "decide at 10, 25 Hz, expected one rate" in capsys.readouterr().err
