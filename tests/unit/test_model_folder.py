"""A model folder is opened only if spec, graph and weights are whole and belong together."""

import ast
import hashlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import small_model
from onnx import ModelProto
from safetensors.numpy import save_file

from agent.contract.errors import AgentError, EngineError, SpecError, WeightsError
from agent.contract.spec import GRAPH_FILE, PROBE_FILE, SPEC_FILE, WEIGHTS_FILE, ModelSpec, Quantization
from agent.engines.model_folder.opening import MAX_PROBE_BYTES, OpenModel, check_probe, open_model_folder
from agent.engines.onnxruntime import OnnxRuntimeEngine
from agent.engines.openvino import OpenVinoEngine

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small_model.write_model(tmp_path)


def refuse(folder: Path, error: type[AgentError], message: str) -> None:
    """Assert that nothing opens the folder, and that all say the same."""
    for open_it in (open_model_folder, OpenVinoEngine, OnnxRuntimeEngine):
        with pytest.raises(error, match=message) as raised:
            open_it(folder)
        assert str(folder) in str(raised.value)
        assert str(raised.value).isprintable()


def test_a_whole_folder_is_opened_and_runs(folder: Path) -> None:
    opened = open_model_folder(folder)
    assert (opened.spec, opened.graph_path) == (ModelSpec.load(folder), folder / GRAPH_FILE)
    assert opened.graph == (folder / GRAPH_FILE).read_bytes()
    assert opened.weights == (folder / WEIGHTS_FILE).read_bytes()
    observation = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    predicted = [load(folder).infer(observation) for load in (OpenVinoEngine, OnnxRuntimeEngine)]
    np.testing.assert_allclose(*predicted, rtol=1e-4)


@pytest.mark.parametrize("size", [{"width_px": 13}, {"height_px": 7}])
def test_a_spec_of_another_size_is_refused(folder: Path, size: dict[str, int]) -> None:
    small_model.seal(folder, replace(small_model.SPEC, **size))
    refuse(folder, WeightsError, "they come from different exports")


def test_a_spec_with_another_number_of_outputs_is_refused(folder: Path) -> None:
    small_model.seal(folder, replace(small_model.SPEC, outputs=small_model.SPEC.outputs[:2]))
    refuse(folder, WeightsError, "they come from different exports")


def test_weights_that_are_not_finite_are_refused(folder: Path) -> None:
    tensors = small_model.make_tensors()
    tensors["bias"][0] = np.nan
    save_file(tensors, folder / WEIGHTS_FILE)
    refuse(small_model.seal(folder), WeightsError, "in 'bias' that is NaN or infinite")


def test_a_graph_that_reads_elsewhere_is_refused(folder: Path) -> None:
    data = (folder / GRAPH_FILE).read_bytes()
    (folder / GRAPH_FILE).write_bytes(data.replace(b"weights.safetensors", b"/tmp/../etc/passwd!"))
    refuse(small_model.seal(folder), WeightsError, "it takes weights from '/tmp/../etc/passwd!'")


@pytest.mark.parametrize("name", [GRAPH_FILE, WEIGHTS_FILE])
def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / name
    (folder / name).rename(elsewhere)
    (folder / name).symlink_to(elsewhere)
    refuse(folder, WeightsError, "expected a file in the model's own folder")


@pytest.mark.parametrize("name", [GRAPH_FILE, WEIGHTS_FILE, SPEC_FILE])
def test_a_large_file_is_refused_before_it_is_read(folder: Path, name: str) -> None:
    with (folder / name).open("r+b") as file:
        file.truncate(2**40)
    refuse(folder, SpecError if name == SPEC_FILE else WeightsError, "1099511627776 bytes, more than the")


def test_a_graph_of_other_code_is_refused(folder: Path) -> None:
    model = ModelProto.FromString((folder / GRAPH_FILE).read_bytes())
    model.graph.node[-1].domain = "com.example"
    (folder / GRAPH_FILE).write_bytes(model.SerializeToString())
    refuse(small_model.seal(folder), WeightsError, "it wants operations of 'com.example'")


# --- the picture whose answer is known --------------------------------------------------------------------------------

PROBED = replace(
    small_model.SPEC,
    quantization=Quantization(8, *[dict.fromkeys(small_model.SPEC.output_names, 0.5)] * 3),
)


def probed(folder: Path) -> OpenModel:
    """Return a model with the picture that lies in a folder."""
    path = folder / PROBE_FILE
    checksum = hashlib.sha256(path.read_bytes()).hexdigest() if path.stat().st_size < 2**30 else "0" * 64
    picture = replace(PROBED, sha256={PROBE_FILE: checksum}).read_file(folder, PROBE_FILE, MAX_PROBE_BYTES)
    return OpenModel(PROBED, folder / GRAPH_FILE, WEIGHTS_FILE, b"", b"", picture, 0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not a picture: a picture cannot be decoded: it is not a PNG"),
        (b"\xff\xd8\xff\xe0", "it is not a PNG"),
        (None, "bytes, more than the 50000000 that are read"),
    ],
)
def test_a_probe_that_is_no_picture_is_refused(folder: Path, data: bytes | None, message: str) -> None:
    with (folder / PROBE_FILE).open("wb") as file:
        file.write(data or b"")
        file.truncate(2**40 if data is None else len(data))
    with pytest.raises(WeightsError, match=message):
        check_probe(probed(folder), lambda _: np.zeros(3, np.float32), "none")


def test_a_prediction_that_is_no_number_fails_the_probe(folder: Path) -> None:
    picture = np.zeros((8, 12, 3), np.uint8)
    (folder / PROBE_FILE).write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    check_probe(probed(folder), lambda _: np.full(3, 0.5, np.float32), "right")
    with pytest.raises(EngineError, match="wrong computes int8 wrongly on this machine: steering nan"):
        check_probe(probed(folder), lambda _: np.full(3, np.nan, np.float32), "wrong")


# --- code -------------------------------------------------------------------------------------------------------------

EXECUTING = {
    "pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "torch", "h5py", "load_model",
    "model_from_json", "enable_unsafe_deserialization", "register_custom_ops_library",
    "load_library", "load_op_library", "add_extension", "eval", "exec", "compile_command", "read_pickle", "CDLL",
}  # fmt: skip


INSTALLED = {
    ("agent/games/supertuxkart/simulator.py", "CDLL"),
    ("agent/system/priority.py", "CDLL"),
    ("agent/system/process.py", "CDLL"),
    ("training/collecting/experts/supertuxkart.py", "CDLL"),
}
"""Where a library is opened that is loaded already: C's own, and the installed binding of SuperTuxKart."""


@pytest.mark.parametrize("package", ["agent", "training"])
def test_nothing_that_can_load_code_is_used(package: str) -> None:
    """No format that carries code is read anywhere: no name of such a reader occurs, whatever it is called on."""
    for path in (ROOT / package).rglob("*.py"):
        for found in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match found:
                case ast.Import(names=names) | ast.ImportFrom(names=names):
                    used = {part for name in names for part in name.name.split(".")}
                    used |= set((getattr(found, "module", None) or "").split("."))
                case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
                    used = {name}
                case _:
                    continue
            used -= {name for place, name in INSTALLED if path == ROOT / place}
            assert not used & {*EXECUTING, "allow_pickle", "trust_remote_code"}, f"{path}:{found.lineno}"
