"""Driving for hours: no memory is taken that is not given back, and nothing large is allocated from tick to tick.

The full-size network, whose peak memory after 100,000 decisions should be that after 10 (half an hour an engine)::

    python -m agent bench --engines openvino-bf16 --rounds 10000
"""

import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from deferred import Deferred

from agent.contract.controls import Controls
from agent.contract.spec import ModelSpec
from agent.controllers.memory import MemoryController
from agent.engines.base import Engine

pytestmark = pytest.mark.thorough

keras = Deferred("keras")
OnnxRuntimeEngine = Deferred("agent.engines.onnxruntime:OnnxRuntimeEngine")
OpenVinoEngine = Deferred("agent.engines.openvino:OpenVinoEngine")
export_model = Deferred("training.exporting.export:export_model")
build_network = Deferred("training.network.build:build_network")

SPEC = ModelSpec(name="tiny", backbone="pilotnet", game="carracing", width_px=97, height_px=54)
LOADERS: dict[str, Callable[[Path], Engine]] = {"openvino": OpenVinoEngine, "onnxruntime": OnnxRuntimeEngine}

# Prints the resident memory in kB after 20,000 and after 100,000 inferences, of pictures that differ.
PROGRAM = """
import sys
from pathlib import Path

import numpy as np

from agent.engines.{module} import {name}

engine = {name}(Path(sys.argv[1]), threads=1)
pictures = np.random.default_rng(0).integers(0, 256, (7, 54, 97, 3), np.uint8)
for done in range(1, 100_001):
    engine.infer(pictures[done % len(pictures)])
    if done in (20_000, 100_000):
        print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS:")))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny untrained network's folder."""
    keras.utils.set_random_seed(1)
    folder = tmp_path_factory.mktemp("tiny")
    export_model(build_network("pilotnet", SPEC.height_px, SPEC.width_px), SPEC, folder)
    return folder


@pytest.fixture(params=LOADERS)
def engine(request: pytest.FixtureRequest, folder: Path) -> Iterator[Engine]:
    made = LOADERS[request.param](folder)
    yield made
    made.close()


def largest_allocation(act: Callable[[], object]) -> int:
    """Return how far Python's and numpy's memory rises, in bytes, during an act that has been done before."""
    act()
    tracemalloc.start()
    try:
        act()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        act()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize("engine_class", LOADERS.values(), ids=LOADERS)
def test_memory_does_not_grow_over_many_inferences(folder: Path, engine_class: type) -> None:
    program = PROGRAM.format(module=engine_class.__module__.rpartition(".")[2], name=engine_class.__name__)
    run = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    early_kb, late_kb = map(int, run.stdout.split())
    # 80,000 inferences apart: 13 bytes lost in each would show. ONNX Runtime takes a block of 700 kB once, about the
    # 10,000th (1.32).
    assert late_kb - early_kb < 1_000, f"resident memory went from {early_kb} to {late_kb} kB"


def test_an_inference_copies_no_picture(engine: Engine) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (SPEC.height_px, SPEC.width_px, 3), np.uint8)
    assert largest_allocation(lambda: engine.infer(picture)) < picture.nbytes / 2


def test_mapping_and_sending_allocate_next_to_nothing() -> None:
    controller = MemoryController(remembered=1)
    prediction = np.array([0.3, 1.2, 0.4], np.float32)

    def act() -> None:
        controller.send(Controls.from_prediction(prediction).clip().arbitrate())

    assert largest_allocation(act) < 2_000
    assert controller.current == Controls(float(prediction[0]), 1.0, 0.0)
