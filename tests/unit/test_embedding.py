"""A graph with its weights inside is the same graph."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import small_model
from onnx.external_data_helper import load_external_data_for_model

from agent.contract.spec import GRAPH_FILE, INT8_GRAPH_FILE, INT8_WEIGHTS_FILE, WEIGHTS_FILE
from agent.engines.model_folder.embedding import embed_weights

SHIPPED = Path(__file__).parents[2] / "model_weights" / "carracing"


def check(folder: Path, graph: str, weights: str) -> None:
    embedded = onnx.ModelProto.FromString(embed_weights((folder / graph).read_bytes(), (folder / weights).read_bytes()))
    expected = onnx.load(folder / graph, load_external_data=False)
    load_external_data_for_model(expected, str(folder))
    for tensor in expected.graph.initializer:  # onnx keeps the place beside the numbers
        del tensor.external_data[:]
        tensor.ClearField("data_location")
    assert len(expected.graph.initializer) > 0
    assert embedded.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


def test_a_small_graph(tmp_path: Path) -> None:
    check(small_model.write_model(tmp_path), GRAPH_FILE, WEIGHTS_FILE)


@pytest.mark.parametrize(("graph", "weights"), [(GRAPH_FILE, WEIGHTS_FILE), (INT8_GRAPH_FILE, INT8_WEIGHTS_FILE)])
def test_the_shipped_graphs(graph: str, weights: str) -> None:
    check(SHIPPED, graph, weights)


def test_a_tensor_without_numbers_stays_one(tmp_path: Path) -> None:
    folder = small_model.write_model(tmp_path)
    model = onnx.load(folder / GRAPH_FILE, load_external_data=False)
    model.graph.initializer.append(small_model.external("nothing", np.empty((0, 4), "f2"), 0))
    embedded = onnx.ModelProto.FromString(
        embed_weights(model.SerializeToString(), (folder / WEIGHTS_FILE).read_bytes())
    )
    assert embedded.graph.initializer[-1].raw_data == b""
    assert list(embedded.graph.initializer[-1].dims) == [0, 4]
