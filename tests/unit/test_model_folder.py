"""A graph may take its weights from one file only."""

import hashlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper

from agent.contract.errors import WeightsError
from agent.contract.spec import GRAPH_FILE, SPEC_FILE, WEIGHTS_FILE, ModelSpec
from agent.engines.model_folder import _check_external_data, open_model_folder


def external(*entries: tuple[str, str]) -> TensorProto:
    tensor = TensorProto(name="kernel", dims=[2], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in entries:
        tensor.external_data.add(key=key, value=value)
    return tensor


def graph(*initializers: TensorProto, constant: TensorProto | None = None) -> ModelProto:
    nodes = [helper.make_node("Relu", ["kernel"], ["controls"])]
    if constant is not None:
        nodes.append(helper.make_node("Constant", [], ["more"], value=constant))
    return helper.make_model(helper.make_graph(nodes, "network", [], [], list(initializers)))


GOOD = external(("location", WEIGHTS_FILE), ("offset", "8"), ("length", "8"))


def write(folder: Path, content: bytes) -> Path:
    (folder / GRAPH_FILE).write_bytes(content)
    (folder / WEIGHTS_FILE).write_bytes(b"weights")
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (GRAPH_FILE, WEIGHTS_FILE)}
    spec = ModelSpec(name="tiny", backbone="pilotnet", game="carracing", sha256=sums)
    (folder / SPEC_FILE).write_text(spec.to_json())
    return folder


@pytest.mark.parametrize("model", [graph(), graph(GOOD), graph(GOOD, GOOD)])
def test_weights_beside_the_graph_are_accepted(tmp_path: Path, model: ModelProto) -> None:
    folder = write(tmp_path, model.SerializeToString())
    assert open_model_folder(folder) == (ModelSpec.load(folder), folder / GRAPH_FILE)


@pytest.mark.parametrize(
    "model",
    [
        graph(external(("location", "/etc/passwd"))),
        graph(external(("location", "../weights.safetensors"))),
        graph(GOOD, external(("location", "weights.bin"))),
        graph(external(("location", WEIGHTS_FILE), ("location", "/etc/passwd"))),
        graph(GOOD, constant=external(("location", "/etc/passwd"))),
    ],
    ids=["absolute", "above", "second", "twice", "constant"],
)
def test_weights_from_elsewhere_are_refused(tmp_path: Path, model: ModelProto) -> None:
    with pytest.raises(WeightsError, match=r"network\.onnx mentions [12] weight locations, [01] of them"):
        open_model_folder(write(tmp_path, model.SerializeToString()))


def test_a_second_value_in_one_entry_does_not_slip_through(tmp_path: Path) -> None:
    # Protobuf lets the last of a repeated field win: location = weights.safetensors, then = /etc/passwd.
    entry = GOOD.external_data[0].SerializeToString() + b"\x12\x0b/etc/passwd"
    tensor = TensorProto()
    tensor.MergeFromString(b"\x6a" + bytes([len(entry)]) + entry)
    assert tensor.external_data[0].value == "/etc/passwd"
    with pytest.raises(WeightsError, match="mentions 1 weight locations, 0 of them"):
        open_model_folder(write(tmp_path, graph(tensor).SerializeToString()))


@given(st.data())
def test_any_damage_to_a_graph_is_refused_or_harmless_but_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = graph(GOOD).SerializeToString()
    cut = data.draw(st.integers(0, len(whole)))
    tail = data.draw(st.binary(max_size=20))
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(whole[:cut] + tail)
    with suppress(WeightsError):  # any other exception fails
        _check_external_data(path, WEIGHTS_FILE)


def test_a_truncated_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is not an ONNX graph"):
        open_model_folder(write(tmp_path, graph(GOOD).SerializeToString()[:-3]))
