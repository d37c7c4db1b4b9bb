"""The trainer's command line: bad usage, errors in one line, and export at another size or of a mean."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deferred import Deferred
from safetensors import SafetensorError
from safetensors.numpy import load_file

from agent.contract.controls import Controls
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.observation import Frame
from agent.contract.spec import ModelSpec
from training.cli import main
from training.data.samples import pick_pictures

pytestmark = pytest.mark.thorough

keras = Deferred("keras")
export_model = Deferred("training.exporting.export:export_model")
fit = Deferred("training.fitting.fit")
weights_file = Deferred("training.network.weights_file")
build_network = Deferred("training.network.build:build_network")
load_weights = Deferred("training.network.weights_file:load_weights")

PROFILES = Path(__file__).parents[2] / "agent" / "games" / "profiles"
FIT = ("fit", "--data", "data", "--out", "run")
COLLECT = ("collect", "--out", "data")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ((*COLLECT, "--noise", "nan"), "'nan' is not possible, expected a number from 0 to 100"),
        ((*COLLECT, "--noise", "-1"), "'-1' is not possible, expected a number from 0 to 100"),
        ((*COLLECT, "--expert-share", "1.5"), "'1.5' is not possible, expected a number from 0 to 1"),
        ((*COLLECT, "--episodes", "many"), "'many' is not a whole number"),
        ((*COLLECT, "--workers", "0"), "0 is out of range, expected a whole number of 1 or more"),
        ((*COLLECT, "--seed-start", "1000000"), "1000000 is out of range, expected a whole number from 0 to 999999"),
        ((*FIT, "--learning-rate", "0"), "0 is out of range, expected a number between 0 and 1"),
        ((*FIT, "--learning-rate", "inf"), "'inf' is not possible, expected a number from 0 to 1"),
        ((*FIT, "--ema", "1"), "expected a momentum below 1"),
        ((*FIT, "--ema", "nan"), "'nan' is not possible, expected a number from 0 to 1"),
        ((*FIT, "--seed", "-1"), "-1 is out of range"),
        ((*FIT, "--tracks", "-1"), "-1 is out of range"),
        ((*FIT, "--tracks", "x"), "'x' is not a whole number"),
        ((*FIT, "--patience", "-1"), "-1 is out of range"),
        ((*FIT, "--balance", "v5"), "invalid choice: 'v5'"),
        ((*FIT, "--step", "both"), "invalid choice: 'both'"),
        ((*FIT, "--buffer", "0"), "0 is out of range, expected a whole number of 1 or more"),
        ((*FIT, "--mask", "0,0,2,1"), "leaves the frame"),
        ((*FIT, "--mask", "0,0,nan,1"), "not a finite number"),
        ((*FIT, "--mask", "left"), "left is not LEFT,TOP,WIDTH,HEIGHT"),
    ],
)
def test_bad_usage_is_told_in_one_line(
    command: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(command)
    assert caught.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert message in last
    assert command[-2] in last


def one_error_line(captured: str) -> str:
    lines = captured.splitlines()
    assert len(lines) == 1, captured
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with an episode by its name: whatever it holds, what is tested here does not read it."""
    (tmp_path / "a.parquet").touch()
    return tmp_path


def test_the_line_a_fit_prints_holds_no_nan(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    history = [{"step": 1.0, "return": math.nan, "co_pressed": 0.25}]
    monkeypatch.setattr(fit, "fit", lambda config, *_, **__: fit.FitResult(config.out / "best", history))
    command = ["fit", "--data", str(data), "--out", str(tmp_path / "run"), "--balance", "v2", "--step", "helper"]
    assert main(command) == 0
    line = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert line == {"model": str(tmp_path / "run" / "best"), "last": {"step": 1.0, "co_pressed": 0.25}}
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert main([*command[:-4], "--out", str(tmp_path / "other")]) == 0
    printed = capsys.readouterr()
    assert printed.out == "", "a person reads the lines on stderr"


def test_a_model_is_named_after_its_game(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = []
    monkeypatch.setattr(fit, "fit", lambda config, *_, **__: configs.append(config) or fit.FitResult(config.out, [{}]))
    for game in ("carracing", "supertuxkart"):
        assert main(["fit", "--data", str(data), "--out", str(tmp_path / "run"), "--game", game]) == 0
    assert [config.name for config in configs] == ["carracing", "supertuxkart"]


def test_a_model_is_named_after_the_profile_not_after_the_way_to_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = []
    monkeypatch.setattr(fit, "fit", lambda config, *_, **__: configs.append(config) or fit.FitResult(config.out, [{}]))
    profile = tmp_path / "mine.toml"
    profile.write_text((PROFILES / "torcs.toml").read_text(encoding="utf-8"), encoding="utf-8")
    assert main(["fit", "--data", str(data), "--out", str(tmp_path / "run"), "--game", str(profile)]) == 0
    assert [config.name for config in configs] == ["mine"]


def test_what_stands_at_the_end_is_the_best_rounds(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    history = [{"validation_loss": loss, "score": -loss, "return": math.nan} for loss in (2.0, 1.0, 1.5)]
    monkeypatch.setattr(fit, "fit", lambda config, *_, **__: fit.FitResult(config.out / "best", history, 3.0))
    assert main(["fit", "--data", str(data), "--out", str(tmp_path / "run")]) == 0
    captured = capsys.readouterr()
    figures = json.loads(captured.out)
    assert figures["best_round"] == 2
    assert figures["best"] == {"validation_loss": 1.0, "score": -1.0}
    assert figures["last"] == {"validation_loss": 1.5, "score": -1.5}
    assert f"next: python -m agent drive --game carracing --weights {tmp_path / 'run' / 'best'}" in captured.err


def test_body_and_size_come_with_the_weights_to_begin_from(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = []
    monkeypatch.setattr(fit, "fit", lambda config, *_, **__: configs.append(config) or fit.FitResult(config.out, [{}]))
    command = ["fit", "--data", str(data), "--out", str(tmp_path / "run"), "--init", str(model)]
    assert main(command) == 0
    assert [(each.backbone, each.width_px, each.height_px) for each in configs] == [("pilotnet", 60, 34)]
    assert main([*command, "--backbone", "xception"]) == 1
    assert "is of the backbone pilotnet, and --backbone is xception" in one_error_line(capsys.readouterr().err)


def test_collecting_up_to_the_held_out_tracks_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "data"
    assert main(["collect", "--out", str(out), "--seed-start", "999999", "--episodes", "2"]) == 1
    assert "kept for judging" in one_error_line(capsys.readouterr().err)
    assert not out.exists()


def test_a_folder_that_cannot_be_made_is_told_in_one_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for command in (["fit", "--data", str(data), "--out"], ["collect", "--out"]):
        assert main([*command, str(tmp_path / "file" / "run")]) == 1
        assert str(tmp_path / "file" / "run") in one_error_line(capsys.readouterr().err)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    keras.mixed_precision.set_dtype_policy("float32")
    spec = ModelSpec("small", "pilotnet", "carracing", 60, 34)
    export_model(build_network("pilotnet", 34, 60, spec.outputs), spec, folder)
    return folder


@pytest.fixture(scope="module")
def episode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("episodes") / "0.parquet"
    rng = np.random.default_rng(0)
    with EpisodeWriter(path, EpisodeHeader("carracing", "test", 25.0, seed=0)) as writer:
        for index in range(32):
            frame = Frame(rng.integers(0, 1 + 8 * index, (80, 100, 3), np.uint8), index * 40_000_000, index)
            writer.write(EpisodeRow(frame, Controls(0, 0, 0), Controls(0, 0, 0)))
    return path


def test_export_at_another_size_needs_episodes(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = model.parent / "refused"
    assert main(["export", "--weights", str(model), "--out", str(out), "--width", "120", "--height", "68"]) == 1
    assert "Pass episodes with --data" in one_error_line(capsys.readouterr().err)
    assert not out.exists()


def test_export_under_another_name_needs_none_and_keeps_the_statistics(model: Path) -> None:
    out = model.parent / "renamed"
    assert main(["export", "--weights", str(model), "--out", str(out)]) == 0
    assert ModelSpec.load(out).name == "renamed"
    assert (out / "weights.safetensors").read_bytes() == (model / "weights.safetensors").read_bytes()


def test_export_of_several_models_is_the_mean_of_their_weights_each_as_often_as_it_is_named(model: Path) -> None:
    spec = ModelSpec.load(model)
    other = model.parent / "trained_on"
    built = build_network("pilotnet", 34, 60, spec.outputs)
    export_model(built, spec, other)
    out = model.parent / "mean"
    assert main(["export", "--weights", str(model), str(other), str(other), "--out", str(out)]) == 0
    first, second, mean = (load_file(folder / "weights.safetensors") for folder in (model, other, out))
    key = "common/kernel"
    assert np.abs(first[key] - second[key]).max() > 0.01
    assert mean[key] == pytest.approx((first[key] + 2 * second[key].astype(np.float32)) / 3, abs=1e-4)
    assert ModelSpec.load(out).name == "mean"


def test_models_of_different_pictures_are_not_averaged(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = replace(ModelSpec.load(model), width_px=64)
    other = model.parent / "wider"
    export_model(build_network("pilotnet", 34, 64, spec.outputs), spec, other)
    out = model.parent / "mixed"
    assert main(["export", "--weights", str(model), str(other), "--out", str(out)]) == 1
    assert f"{other} describes another network than {model}" in one_error_line(capsys.readouterr().err)
    assert main(["export", "--weights", str(model), str(other), "--int8"]) == 1
    assert "expected --out DIR for their mean" in one_error_line(capsys.readouterr().err)
    assert not out.exists()


def test_a_full_disk_is_told_in_one_line_and_leaves_nothing(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_up(tensors: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(weights_file, "save_file", fill_up)
    out = model.parent / "full"
    assert main(["export", "--weights", str(model), "--out", str(out)]) == 1
    assert "No space left on device" in one_error_line(capsys.readouterr().err)
    assert not list(out.iterdir())


@pytest.mark.parametrize("option", ["--name", "--width", "--height"])
def test_export_in_place_refuses_what_only_a_new_folder_can_have(
    model: Path, episode: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (model / "spec.json").read_bytes()
    in_place = ["export", "--int8", "--weights", str(model), "--data", str(episode.parent)]
    assert main([*in_place, option, "64"]) == 1
    assert f"{option} is for a new folder, expected --out DIR beside it" in capsys.readouterr().err
    assert (model / "spec.json").read_bytes() == before


def test_export_at_another_size_measures_the_statistics_there(model: Path, episode: Path) -> None:
    out = model.parent / "larger"
    size = ["--width", "120", "--height", "68"]
    assert main(["export", "--weights", str(model), "--out", str(out), *size, "--data", str(episode.parent)]) == 0
    spec = ModelSpec.load(out)
    assert (spec.width_px, spec.height_px) == (120, 68)
    built = build_network("pilotnet", 68, 120, spec.outputs)
    load_weights(built, out / "weights.safetensors")
    body = built.get_layer("pilotnet")
    pictures = built.get_layer("scale")(pick_pictures([episode], spec, 32))
    features = keras.ops.convert_to_numpy(body.get_layer("block0_conv")(pictures))
    statistics = body.get_layer("block0_bn").moving_mean.numpy()
    assert np.abs(statistics).max() > 0.01
    assert statistics == pytest.approx(features.mean(axis=(0, 1, 2)), rel=1e-2, abs=1e-3)
