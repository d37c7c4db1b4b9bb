"""Weights are looked at number by number, and are exactly what the graph says."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_model
from safetensors.numpy import save_file

from agent.contract.errors import WeightsError
from agent.contract.spec import GRAPH_FILE, WEIGHTS_FILE
from agent.engines.model_folder.graph import ExternalTensor, read_graph
from agent.engines.model_folder.weights import check_weights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small_model.write_model(tmp_path)


@pytest.fixture
def wanted(folder: Path) -> dict[str, ExternalTensor]:
    return read_graph(folder / GRAPH_FILE, (folder / GRAPH_FILE).read_bytes(), WEIGHTS_FILE).weights


def check(folder: Path, wanted: dict[str, ExternalTensor]) -> None:
    check_weights(folder / WEIGHTS_FILE, (folder / WEIGHTS_FILE).read_bytes(), wanted)


def refusal(folder: Path, wanted: dict[str, ExternalTensor]) -> str:
    with pytest.raises(WeightsError) as raised:
        check(folder, wanted)
    said = str(raised.value).replace(str(folder), "")
    assert said.startswith(f"{os.sep}weights.safetensors ")
    assert said.isprintable()
    assert len(said) < 1000
    return said


def test_weights_as_the_graph_says_are_accepted(folder: Path, wanted: dict[str, ExternalTensor]) -> None:
    check(folder, wanted)


@pytest.mark.parametrize("name", ["kernel", "scale"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_refused(
    folder: Path, wanted: dict[str, ExternalTensor], name: str, value: float
) -> None:
    tensors = small_model.make_tensors()
    tensors[name].flat[-1] = value
    save_file(tensors, folder / WEIGHTS_FILE)
    assert f"has a number in {name!r} that is NaN or infinite" in refusal(folder, wanted)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda tensor: None, "as nothing"),
        (lambda tensor: tensor.reshape(3, 4, 3, 3), "as float16 (3, 4, 3, 3)"),
        (lambda tensor: tensor.astype("f4"), "as float32 (4, 3, 3, 3)"),
        (lambda tensor: tensor[:2], "as float16 (2, 3, 3, 3)"),
    ],
    ids=["missing", "shape", "type", "size"],
)
def test_another_tensor_is_refused(
    folder: Path, wanted: dict[str, ExternalTensor], change: Callable[[Any], Any], found: str
) -> None:
    tensors = small_model.make_tensors()
    changed = change(tensors.pop("kernel"))
    save_file(
        tensors if changed is None else {**tensors, "kernel": np.ascontiguousarray(changed)}, folder / WEIGHTS_FILE
    )
    said = refusal(folder, wanted)
    assert "but the graph says" in said
    assert found in said or "kernel" not in said  # or one that lies elsewhere now


def test_tensors_in_one_anothers_place_are_refused(folder: Path, wanted: dict[str, ExternalTensor]) -> None:
    # Same shape and type: nothing but the place tells them apart, and it is the place that a runtime reads.
    tensors = small_model.make_tensors()
    small_model.write_weights(folder / WEIGHTS_FILE, {**tensors, "aside": np.ones(7, "f2")})
    assert "bytes from" in refusal(folder, wanted)


def test_types_that_no_network_here_has_are_refused(folder: Path, wanted: dict[str, ExternalTensor]) -> None:
    for kind in ("BF16", "F64", "I64", "BOOL", "F8_E4M3"):
        size = {"BF16": 2, "F64": 8, "I64": 8}.get(kind, 1)
        header = json.dumps({"kernel": {"dtype": kind, "shape": [1], "data_offsets": [0, size]}}).encode()
        (folder / WEIGHTS_FILE).write_bytes(len(header).to_bytes(8, "little") + header + bytes(size))
        assert f"has numbers of type {kind}, expected F32, F16, I8, U8" in refusal(folder, wanted)


class Bomb:
    """Writes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return (Path.write_text, (self._path, "executed"))


def test_pickles_are_refused_and_not_executed(folder: Path, wanted: dict[str, ExternalTensor]) -> None:
    canary = folder / "canary"
    for data in (pickle.dumps(Bomb(canary)), pickle.dumps(Bomb(canary), 0)):
        (folder / WEIGHTS_FILE).write_bytes(data)
        assert "cannot be read as safetensors" in refusal(folder, wanted) or "its header has" in refusal(folder, wanted)
    np.save(folder / "array.npy", np.array([Bomb(canary)], object), allow_pickle=True)
    (folder / "array.npy").replace(folder / WEIGHTS_FILE)
    refusal(folder, wanted)
    assert not canary.exists()


def test_a_header_larger_than_any_is_refused_before_it_is_read(folder: Path, wanted: dict[str, ExternalTensor]) -> None:
    with (folder / WEIGHTS_FILE).open("wb") as file:
        file.write((50_000_000).to_bytes(8, "little"))
        file.truncate(60_000_000)
    assert "its header has 50000000 bytes, expected 2000000 at most" in refusal(folder, wanted)


@pytest.mark.parametrize("data", [b"", b"\x08", b"\x02" + bytes(7) + b"{}", b"\xff" * 8, bytes(8), b"\x01" + bytes(8)])
def test_bytes_that_are_no_weights_are_refused(folder: Path, wanted: dict[str, ExternalTensor], data: bytes) -> None:
    (folder / WEIGHTS_FILE).write_bytes(data)
    refusal(folder, wanted)


def test_more_axes_than_an_array_can_have_are_refused(folder: Path, wanted: dict[str, ExternalTensor]) -> None:
    for axes, said in ((8, "as nothing"), (9, "has 'wide' with 9 axes, expected 8 at most"), (100, "with 100 axes")):
        header = json.dumps({"wide": {"dtype": "F16", "shape": [1] * axes, "data_offsets": [0, 2]}}).encode()
        (folder / WEIGHTS_FILE).write_bytes(len(header).to_bytes(8, "little") + header + bytes(2))
        assert said in refusal(folder, wanted)
