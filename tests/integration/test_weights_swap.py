"""New weights where a network is running: it is all old until it is loaded again, and then all new or refused."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deferred import Deferred

from agent.contract.errors import AgentError
from agent.contract.spec import WEIGHTS_FILE, ModelSpec
from agent.engines.base import Engine
from agent.engines.model_folder.weights import check_weights

pytestmark = pytest.mark.thorough

keras = Deferred("keras")
OnnxRuntimeEngine = Deferred("agent.engines.onnxruntime:OnnxRuntimeEngine")
OpenVinoEngine = Deferred("agent.engines.openvino:OpenVinoEngine")
TensorFlowEngine = Deferred("training.engines.keras_network:TensorFlowEngine")
export_model = Deferred("training.exporting.export:export_model")
build_network = Deferred("training.network.build:build_network")

SPEC = ModelSpec(name="tiny", backbone="pilotnet", game="carracing", width_px=97, height_px=54)
PICTURE = np.random.default_rng(0).integers(0, 256, (SPEC.height_px, SPEC.width_px, 3), np.uint8)
ENGINES: tuple[Callable[[Path], Engine], ...] = (OpenVinoEngine, OnnxRuntimeEngine, TensorFlowEngine)


def export(seed: int, folder: Path) -> Path:
    keras.utils.set_random_seed(seed)
    export_model(build_network("pilotnet", SPEC.height_px, SPEC.width_px), SPEC, folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("swap")
    return export(1, folder / "old"), export(2, folder / "new")


def overwrite(path: Path, content: bytes) -> None:
    """Change a file in place: whoever has it open or mapped sees the change."""
    with path.open("r+b") as file:
        file.write(content)
        file.truncate(len(content))


@pytest.mark.parametrize("engine_type", ENGINES)
def test_a_running_network_stays_all_old(
    engine_type: Callable[[Path], Engine], folders: tuple[Path, Path], tmp_path: Path
) -> None:
    old, new = folders
    folder = shutil.copytree(old, tmp_path / "model")
    engine = engine_type(folder)
    before = engine.infer(PICTURE).tolist()
    for path in folder.iterdir():
        overwrite(path, bytes(path.stat().st_size))
    assert engine.infer(PICTURE).tolist() == before
    for path in folder.iterdir():
        overwrite(path, b"")
    assert engine.infer(PICTURE).tolist() == before
    for path in new.iterdir():
        overwrite(folder / path.name, path.read_bytes())
    assert engine.infer(PICTURE).tolist() == before
    engine.close()
    again, other = engine_type(folder), engine_type(new)
    assert again.infer(PICTURE).tolist() == other.infer(PICTURE).tolist() != before
    again.close()
    other.close()


@pytest.mark.parametrize("engine_type", ENGINES)
def test_files_that_have_changed_since_they_were_checked_are_without_effect(
    engine_type: Callable[[Path], Engine],
    folders: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Whoever swapped them between check and use had unchecked weights driven with, NaN among them.
    old, new = folders
    folder = shutil.copytree(old, tmp_path / "model")
    undisturbed = engine_type(folder)
    expected = undisturbed.infer(PICTURE).tolist()
    undisturbed.close()

    def swap(*arguments: Any) -> None:
        check_weights(*arguments)
        for path in new.iterdir():
            overwrite(folder / path.name, path.read_bytes())

    monkeypatch.setattr("agent.engines.model_folder.opening.check_weights", swap)
    engine = engine_type(folder)
    assert engine.infer(PICTURE).tolist() == expected
    assert engine.spec == ModelSpec.load(old)
    engine.close()


SHIPPED = Path(__file__).parents[2] / "model_weights" / "carracing"
PROGRAM = """
import sys
from pathlib import Path
from typing import Any

import numpy as np

from agent.engines.onnxruntime import OnnxRuntimeEngine
from agent.engines.openvino import OpenVinoEngine

folder = Path(sys.argv[2])
engine = {"openvino-int8": OpenVinoEngine, "onnxruntime-int8": OnnxRuntimeEngine}[sys.argv[1]](folder, "int8", 1)
picture = np.random.default_rng(0).integers(0, 256, (engine.spec.height_px, engine.spec.width_px, 3), np.uint8)
before = engine.infer(picture).tolist()
for path in folder.iterdir():
    with path.open("r+b") as file:
        file.truncate(0)
assert engine.infer(picture).tolist() == before
"""


@pytest.mark.parametrize("engine", ["openvino-int8", "onnxruntime-int8"])
def test_the_shipped_weights_are_not_looked_at_again(engine: str, tmp_path: Path) -> None:
    # Both runtimes mapped the file: cut short in mid-drive, as `cp` does to what it overwrites, it killed the process.
    folder = shutil.copytree(SHIPPED, tmp_path / "model")
    run = subprocess.run([sys.executable, "-c", PROGRAM, engine, str(folder)], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("engine_type", ENGINES)
def test_half_new_weights_are_refused(
    engine_type: Callable[[Path], Engine], folders: tuple[Path, Path], tmp_path: Path
) -> None:
    old, new = folders
    for name in (path.name for path in old.iterdir() if path.name != "CARD.md"):
        if (old / name).read_bytes() == (new / name).read_bytes():
            continue  # the graph is the same for both
        folder = shutil.copytree(old, tmp_path / name)
        overwrite(folder / name, (new / name).read_bytes())
        with pytest.raises(AgentError, match="SHA-256"):
            engine_type(folder)
    half = shutil.copytree(new, tmp_path / "half")
    overwrite(
        half / WEIGHTS_FILE, (new / WEIGHTS_FILE).read_bytes()[:10_000] + (old / WEIGHTS_FILE).read_bytes()[10_000:]
    )
    with pytest.raises(AgentError, match="SHA-256"):
        engine_type(half)
