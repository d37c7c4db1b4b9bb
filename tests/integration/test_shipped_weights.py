"""The weights in the repository on a real recording: any change of preprocessing, engine or weights shows here."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from deferred import Deferred
from safetensors import safe_open

from agent.cli import main
from agent.contract.episodes.reading import Episode
from agent.contract.errors import EngineError
from agent.contract.spec import ModelSpec
from agent.engines.base import Engine
from agent.sessions.replay import compare_with_reference, replay

pytestmark = pytest.mark.thorough

OnnxRuntimeEngine = Deferred("agent.engines.onnxruntime:OnnxRuntimeEngine")
OpenVinoEngine = Deferred("agent.engines.openvino:OpenVinoEngine")
TensorFlowEngine = Deferred("training.engines.keras_network:TensorFlowEngine")

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "model_weights" / "carracing"
EPISODE = ROOT / "tests" / "data" / "carracing-0031000.parquet"
REFERENCE = EPISODE.with_suffix(".reference.json")


def test_the_shipped_network_is_the_one_described() -> None:
    spec = ModelSpec.load(MODEL)
    assert (spec.backbone, spec.width_px, spec.height_px) == ("xception", 480, 270)
    assert spec.output_names == ("steering", "throttle", "brake")
    with safe_open(MODEL / "weights.safetensors", framework="numpy") as file:
        count = sum(int(np.prod(file.get_slice(name).get_shape())) for name in file.keys())  # noqa: SIM118
    assert count == 23_799_371
    assert all(path.stat().st_size < 95e6 for path in MODEL.iterdir())
    assert (MODEL / "CARD.md").is_file()


ENGINES: dict[str, Callable[[], Engine]] = {
    "openvino": lambda: OpenVinoEngine(MODEL),
    "openvino-bf16": lambda: OpenVinoEngine(MODEL, "bf16"),
    "openvino-int8": lambda: OpenVinoEngine(MODEL, "int8"),
    "onnxruntime": lambda: OnnxRuntimeEngine(MODEL),
    "onnxruntime-int8": lambda: OnnxRuntimeEngine(MODEL, "int8"),
    "tensorflow": lambda: TensorFlowEngine(MODEL),
}


@pytest.mark.parametrize("name", ENGINES)
def test_the_shipped_weights_predict_what_they_always_did(name: str) -> None:
    try:
        engine = ENGINES[name]()
    except EngineError as exc:
        if name != "openvino-bf16":
            raise
        pytest.skip(f"no bfloat16 here: {exc}")
    report = replay(Episode.open(EPISODE), engine)
    engine.close()
    assert report.engine == name
    comparison = compare_with_reference(REFERENCE, report)
    assert comparison.passed, comparison.message
    assert (comparison.max_difference > 1e-3) == name.endswith(("-bf16", "-int8")), "computed in what it says"
    assert report.predictions.std(axis=0).min() > 0.01, "the recording must make every output move"


def test_replay_exits_with_1_where_predictions_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference = json.loads(REFERENCE.read_text())
    reference["predictions"][7][0] += 0.2
    changed = tmp_path / "reference.json"
    changed.write_text(json.dumps(reference))
    assert main(["replay", str(EPISODE), "--engine", "openvino", "--reference", str(changed)]) == 1
    assert "steering" in capsys.readouterr().out
